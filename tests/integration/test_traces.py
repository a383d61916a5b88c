"""The trace of a job through real processes, exported to a collector by OTLP over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from tests.support.collector import Collector, Exported
from tests.support.fleet import fleet, until

CALLER = SpanContext(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, True, TraceFlags(1))
SECRET = "hunter2-hunter2"
ACTIONS = """
import gevent
from opentelemetry import trace
from geventjob import Backoff, action

def inner():
    with trace.get_tracer("mine").start_as_current_span("inner"):
        pass

@action("outer", retries=1, retry_on=OSError, backoff=Backoff(first=0.01))
def outer(job, password: str):
    gevent.spawn(gevent.spawn, inner).get().get()
    if job.attempt == 1:
        raise OSError(f"no log-in with {password}")
    job.client.submit("leaf")
    job.client.submit("apart")

@action("apart", isolation="process")
def apart(job):
    job.client.submit("of_a_process")

@action("leaf")
async def leaf(job):
    with trace.get_tracer("mine").start_as_current_span("in a coroutine"):
        pass
"""

DISTRIBUTOR = """
from geventjob import Distributor, distributor

@distributor("ticks")
class Ticks(Distributor):
    interval = 1

    def jobs(self):
        yield {"action": "of_a_tick"}
"""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    made = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    yield made
    made.close()


def test_traces_of_a_caller_and_of_a_distributor(collector: Collector, tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        (made.actions_dir / "mine.py").write_text(ACTIONS)
        (tmp_path / "distributors").mkdir()
        (tmp_path / "distributors" / "ticks.py").write_text(DISTRIBUTOR)
        server = made.server("--traces")
        executor = made.executor("e", "--traces")
        made.distributor("d", "ticks", "--distributors-dir", str(tmp_path / "distributors"), "--traces")
        client = made.client()
        with trace.use_span(NonRecordingSpan(CALLER)):
            id = client.submit("outer", {"password": SECRET})
        client.wait(id, timeout=30)
        until(lambda: client.search("job", filter="action='leaf' and state='SUCCESS'")["count"])
        until(lambda: client.search("job", filter="action='of_a_process'")["count"])
        until(lambda: collector.named("fire ticks") and collector.named("add of_a_tick"))
        assert (executor.stop(), server.stop()) == (0, 0)  # the last spans are exported at the end

    assert SECRET.encode() not in collector.raw
    assert len({span.id for span in collector.spans}) == len(collector.spans)
    is_whole(collector, id)
    children_go_on(collector)
    add, fire = collector.named("add of_a_tick")[0], collector.named("fire ticks")[0]
    assert (add.parent, add.trace) == (fire.id, fire.trace)
    assert (fire.service, fire.parent) == ("geventjob-distributor", "")


def is_whole(collector: Collector, id: str) -> None:
    """See the spans of the job that the caller has added: it is tried again once."""
    (add,) = collector.named("add outer")
    assert (add.service, add.trace) == ("geventjob-server", f"{CALLER.trace_id:032x}")
    assert (add.parent, add.attributes["geventjob.job"]) == (f"{CALLER.span_id:016x}", id)
    first, second = runs(collector)
    (outcome,) = collector.named("outcome outer")
    waits = collector.named("wait outer")
    assert len(waits) == 2
    assert {span.parent for span in (first, second, outcome, *waits)} == {add.id}
    assert (first.service, outcome.service) == ("geventjob-executor", "geventjob-server")
    assert [run.attributes["geventjob.outcome"] for run in (first, second)] == ["tried_again", "success"]
    assert outcome.attributes["geventjob.state"] == "SUCCESS"
    assert first.span.status.code == Status.STATUS_CODE_ERROR
    (event,) = first.span.events
    told = {each.key: each.value.string_value for each in event.attributes}
    assert (event.name, told["exception.type"]) == ("exception", "OSError")
    assert "no log-in with ***" in told["exception.message"]


def children_go_on(collector: Collector) -> None:
    """See the spans of greenlets, of a job that the action has added, and of its coroutine."""
    first, second = runs(collector)
    assert sorted(span.parent for span in collector.named("inner")) == sorted([first.id, second.id])
    (leaf,) = collector.named("add leaf")
    assert (leaf.parent, leaf.trace) == (second.id, second.trace)
    (run_leaf,) = collector.named("run leaf")
    assert run_leaf.parent == leaf.id
    (in_coroutine,) = collector.named("in a coroutine")
    assert in_coroutine.parent == run_leaf.id
    (run_apart,), (of_a_process,) = collector.named("run apart"), collector.named("add of_a_process")
    assert of_a_process.parent == run_apart.id


def runs(collector: Collector) -> list[Exported]:
    return sorted(collector.named("run outer"), key=lambda run: int(run.attributes["geventjob.attempt"]))
