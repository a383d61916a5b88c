"""The trace of a job through real processes, exported to a collector by OTLP over HTTP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from tests.support.collector import Collector
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

@action("leaf")
async def leaf(job):
    with trace.get_tracer("mine").start_as_current_span("in a coroutine"):
        pass
"""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    made = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    yield made
    made.close()


def test_a_trace_goes_from_the_caller_through_retries_to_the_children(collector: Collector, tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        (made.actions_dir / "mine.py").write_text(ACTIONS)
        server = made.server("--traces")
        executor = made.executor("e", "--traces")
        client = made.client()
        with trace.use_span(NonRecordingSpan(CALLER)):
            id = client.submit("outer", {"password": SECRET})
        client.wait(id, timeout=30)
        until(lambda: client.search("job", filter="action='leaf' and state='SUCCESS'")["count"])
        assert (executor.stop(), server.stop()) == (0, 0)  # the last spans are exported at the end

    assert {span.trace for span in collector.spans} == {f"{CALLER.trace_id:032x}"}
    assert len({span.id for span in collector.spans}) == len(collector.spans)
    (add,) = collector.named("add outer")
    assert (add.service, add.parent) == ("geventjob-server", f"{CALLER.span_id:016x}")
    assert add.attributes["geventjob.job"] == id
    first, second = sorted(collector.named("run outer"), key=lambda run: run.attributes["geventjob.attempt"])
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
    assert SECRET.encode() not in collector.raw
    assert {span.parent for span in collector.named("inner")} == {first.id, second.id}
    (leaf,) = collector.named("add leaf")
    assert leaf.parent == second.id
    (run_leaf,) = collector.named("run leaf")
    assert run_leaf.parent == leaf.id
    (in_coroutine,) = collector.named("in a coroutine")
    assert in_coroutine.parent == run_leaf.id
