"""Traces: the header of W3C, the spans of jobs and runs, and their export (docs/how-to/traces.md)."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import gevent
import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, StatusCode, Tracer

from geventjob import traceparent, traces
from geventjob.cimi import transport
from geventjob.clock import moment_of
from geventjob.coordination.base import Claim, Session
from geventjob.executor.decision import Decision, Fail, LetGo, Stop, Succeed, TryAgain
from geventjob.executor.job import Job
from geventjob.executor.traces import RunTraces
from geventjob.executor.work import Work
from geventjob.masking import mask_values
from geventjob.scheduling.traces import span_of_firing
from geventjob.server.watch.traces import JobTraces
from geventjob.traces import Exporting
from tests.support.callers import LocalServer, local_server

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{SPAN}-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = f"00-{TRACE}-{SPAN}-00"


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture(scope="module")
def tracer(exporter: InMemorySpanExporter) -> Tracer:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("test")


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Callable[[], list[ReadableSpan]]:
    exporter.clear()
    return lambda: list(exporter.get_finished_spans())


def of(span: ReadableSpan) -> str:
    found = span.get_span_context()
    return traceparent.written(found.trace_id, found.span_id, found.trace_flags)


def above(span: ReadableSpan) -> str | None:
    parent = span.parent
    return parent and traceparent.written(parent.trace_id, parent.span_id, parent.trace_flags)


# --- the header


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (GIVEN, GIVEN),
        (f" {GIVEN} ", GIVEN),
        (f"01-{TRACE}-{SPAN}-01-more", GIVEN),
        (f"{GIVEN}-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (GIVEN.upper(), None),
        (f"{GIVEN}\n{GIVEN}", None),
        ("", None),
        (None, None),
    ],
)
def test_a_header_is_read_as_w3c_says(header: str | None, expected: str | None) -> None:
    assert traceparent.parsed(header) == expected


def test_a_request_names_the_present_span(tracer: Tracer) -> None:
    request = transport.Request("GET", "/api/job")
    assert "traceparent" not in transport._headers(request, None)
    with tracer.start_as_current_span("here") as span:
        assert isinstance(span, ReadableSpan)
        assert transport._headers(request, None)["traceparent"] == of(span)


# --- the server


@pytest.fixture(scope="module")
def server(tracer: Tracer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with local_server("sqlite", tmp_path_factory.mktemp("traced"), JobTraces(tracer)) as made:
        yield made


def added(server: LocalServer, header: str | None = None, **job: Any) -> dict[str, Any]:
    headers = {"traceparent": header} if header else {}
    answer = server.admin.post("job", {"action": "x", **job}, headers=headers)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = server.admin.get(answer.json()["resource-id"]).json()
    return found


@pytest.mark.parametrize(
    ("header", "job", "parent"),
    [(GIVEN, {}, GIVEN), (GIVEN, {"traceparent": OTHER}, OTHER), ("nonsense", {}, None), (None, {}, None)],
)
def test_an_add_is_a_span_and_the_parent_of_the_job(
    server: LocalServer, spans: Any, header: str | None, job: dict[str, Any], parent: str | None
) -> None:
    made = added(server, header, **job)
    (span,) = spans()
    assert (span.name, dict(span.attributes)) == ("add x", {"geventjob.action": "x", "geventjob.job": made["id"]})
    assert made["traceparent"] == of(span)
    assert above(span) == parent


def test_a_trace_that_is_not_sampled_goes_on_and_is_not_exported(server: LocalServer, spans: Any) -> None:
    made = added(server, UNSAMPLED)
    assert made["traceparent"].startswith(f"00-{TRACE}-")
    assert made["traceparent"].endswith("-00")
    assert spans() == []


def test_each_job_of_a_bulk_add_has_a_span(server: LocalServer, spans: Any) -> None:
    answer = server.admin.post("job/bulk-add", {"jobs": [{"action": "a"}, {"action": "b"}]}).json()
    assert [result["status"] for result in answer["results"]] == [201, 201]
    assert [span.name for span in spans()] == ["add a", "add b"]


def test_a_connection_keeps_no_trace_of_its_last_request(server: LocalServer, spans: Any) -> None:
    added(server, GIVEN)
    added(server)
    assert [span.parent is None for span in spans()] == [False, True]


def test_a_repeated_add_is_known_in_another_trace(server: LocalServer, spans: Any) -> None:
    first = added(server, GIVEN, idempotencyKey="k")
    assert added(server, OTHER, idempotencyKey="k") == first


def test_a_refused_add_is_an_error(server: LocalServer, spans: Any) -> None:
    added(server, idempotencyKey="refused")
    answer = server.admin.post("job", {"action": "y", "idempotencyKey": "refused"})
    assert answer.status_code == 409
    span = spans()[-1]
    assert (span.name, span.attributes["error.type"], span.status.status_code) == ("add y", "409", StatusCode.ERROR)


def test_wait_and_outcome_follow_from_the_states(server: LocalServer, spans: Any) -> None:
    made = added(server, payload={"login": {"password": "hunter2"}})
    server.admin.put(made["id"], {"state": "RUNNING"})
    server.admin.put(made["id"], {"state": "FAILED", "statusMessage": "no log-in with hunter2"})
    add, wait, outcome = spans()
    assert {above(span) for span in (wait, outcome)} == {of(add)}
    assert (wait.name, outcome.name) == ("wait x", "outcome x")
    ended = server.admin.get(made["id"]).json()
    moments = [nanoseconds(ended[name]) for name in ("created", "started", "updated")]
    assert [wait.start_time, wait.end_time, outcome.start_time] == moments
    assert outcome.attributes["geventjob.state"] == "FAILED"
    assert outcome.status.description == "no log-in with ***"


def test_a_job_that_never_runs_has_an_outcome(server: LocalServer, spans: Any) -> None:
    made = added(server)
    server.admin.post(f"{made['id']}/stop")
    assert [(span.name, span.attributes.get("geventjob.state")) for span in spans()[1:]] == [("outcome x", "STOPPED")]
    assert spans()[1].status.status_code == StatusCode.UNSET


def nanoseconds(time: str) -> int:
    return round(moment_of(time).timestamp() * 1000) * 1_000_000


def test_a_wait_begins_with_the_failure_that_is_tried_again(tracer: Tracer, spans: Any) -> None:
    job = {"id": "job/1", "action": "x", "state": "QUEUED", "attempts": 1, "traceparent": GIVEN,
           "created": "2026-01-01T00:00:00.000Z", "updated": "2026-01-01T00:00:09.000Z"}  # fmt: skip
    errors = [{"at": "2026-01-01T00:00:05.000Z", "attempt": 1}]
    after = {**job, "state": "RUNNING", "attempts": 2, "updated": "2026-01-01T00:00:10.000Z"}
    note = JobTraces(tracer).note
    for before in (job | {"errors": errors}, job | {"errors": errors, "attempts": 2}):
        note([(before, after)])  # type: ignore[list-item]
    assert [span.end_time - span.start_time for span in spans()] == [5_000_000_000, 1_000_000_000]
    note([(after, {**after, "interruptions": 1})])  # type: ignore[list-item]
    assert (spans()[-1].name, spans()[-1].status.status_code) == ("interruption x", StatusCode.ERROR)


def test_a_server_without_traces_hands_them_on(tmp_path: Path) -> None:
    with local_server("sqlite", tmp_path) as server:
        assert added(server, GIVEN)["traceparent"] == GIVEN
        assert "traceparent" not in added(server, "nonsense")


# --- the executor


def run(tracer: Tracer, decision: Decision) -> None:
    """Begin and end a run in a greenlet of its own, as an executor does."""
    hooks, work = RunTraces(tracer), Work(Claim("/job/entries/e", "job/1", 1, 0.0, Session("s", 10.0)))
    document = {"id": "job/1", "action": "x", "attempts": 2, "traceparent": GIVEN, "executor": "e"}
    work.job = Job(document, lambda attributes: document, None)  # type: ignore[arg-type]

    def both() -> None:
        hooks.started(work)
        assert trace.get_current_span().is_recording()
        hooks.ended(work, decision)
        hooks.ended(work, decision)

    gevent.spawn(both).get()


@pytest.mark.parametrize(
    ("decision", "outcome", "status"),
    [
        (Succeed(), "success", StatusCode.UNSET),
        (Stop(), "stopped", StatusCode.UNSET),
        (LetGo(), "lost", StatusCode.ERROR),
        (Fail(code=3, kind="ReturnCode"), "failed", StatusCode.ERROR),
        (TryAgain(Fail("timed out", kind="Timeout"), 1.0, 2), "tried_again", StatusCode.ERROR),
    ],
)
def test_a_run_is_a_span_with_its_outcome(
    tracer: Tracer, spans: Any, decision: Decision, outcome: str, status: StatusCode
) -> None:
    run(tracer, decision)
    (span,) = spans()
    assert (span.name, span.parent.span_id, span.status.status_code) == ("run x", int(SPAN, 16), status)
    assert span.attributes["geventjob.outcome"] == outcome
    assert span.attributes["geventjob.attempt"] == 2
    assert span.events == ()


def test_an_exception_is_an_event(tracer: Tracer, spans: Any) -> None:
    run(tracer, Fail("OSError: gone", trace="…OSError: gone", kind="OSError"))
    (event,) = spans()[0].events
    assert event.attributes == {
        "exception.type": "OSError",
        "exception.message": "OSError: gone",
        "exception.stacktrace": "…OSError: gone",
    }


@pytest.mark.parametrize(
    ("payload", "text", "expected"),
    [
        ({"a": {"api_key": ["abcde", 12345]}}, "abcde 12345", "*** ***"),
        ({"password": "abcd", "secret": "abcdef"}, "abcdef abcd", "*** ***"),
        ({"token": "abc", "private": True, "pass": None}, "abc True None", "abc True None"),
        ({"name": "abcde"}, "abcde", "abcde"),
    ],
)
def test_secrets_of_a_payload_are_masked(payload: Any, text: str, expected: str) -> None:
    assert mask_values(text, payload) == expected


# --- greenlets


@pytest.fixture
def handing_on() -> Iterator[None]:
    gevent.Greenlet.add_spawn_callback(traces.hand_on)
    yield
    gevent.Greenlet.remove_spawn_callback(traces.hand_on)


def test_greenlets_inherit_the_span_alone(tracer: Tracer, handing_on: None) -> None:
    other: ContextVar[str] = ContextVar("other", default="own")
    seen: list[tuple[Span, str]] = []

    def look() -> None:
        seen.append((trace.get_current_span(), other.get()))

    def parent() -> None:
        with tracer.start_as_current_span("here") as span:
            other.set("of the parent")
            gevent.spawn(gevent.spawn, look).get().get()
            gevent.get_hub().loop.run_callback(gevent.spawn, look)
        gevent.spawn(look).get()
        assert seen[0] == (span, "own")

    gevent.spawn(parent).get()
    assert [each.get_span_context().is_valid for each, _ in seen] == [True, False, False]


def test_a_firing_is_a_span(tracer: Tracer, spans: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "get_tracer", lambda name: tracer)

    def fire() -> None:
        with span_of_firing("nightly"):
            assert traceparent.current()
            raise OSError("away")

    with pytest.raises(OSError, match="away"):
        fire()
    (span,) = spans()
    assert (span.name, span.status.status_code) == ("fire nightly", StatusCode.ERROR)


# --- the export


class Exporter(SpanExporter):
    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.hangs = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.batches.append([span.name for span in spans])
        if self.hangs:
            gevent.sleep(60)
        return SpanExportResult.SUCCESS


def exporting(monkeypatch: pytest.MonkeyPatch, most: str, batch: str) -> tuple[Exporter, Exporting]:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", most)
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", batch)
    exporter = Exporter()
    made = Exporting(exporter)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(made)
    for name in "abcde":
        provider.get_tracer("test").start_span(name).end()
    provider.get_tracer("test").start_span("unsampled", traces.parent_of(UNSAMPLED)).end()
    return exporter, made


def test_spans_go_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, made = exporting(monkeypatch, "10", "2")
    made.export()
    assert exporter.batches == [["a", "b"], ["c", "d"], ["e"]]


def test_spans_beyond_the_bound_are_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exporter, made = exporting(monkeypatch, "2", "2")
    with caplog.at_level(logging.WARNING):
        made.export()
        made.export()
    assert exporter.batches == [["a", "b"]]
    assert [record.getMessage() for record in caplog.records] == [
        "3 spans were dropped: at most 2 wait for their export"
    ]


def test_the_last_export_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "LAST_EXPORT", 0.01)
    exporter, made = exporting(monkeypatch, "10", "2")
    exporter.hangs = True
    made.close()
    assert exporter.batches == [["a", "b"]]


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "OTEL_TRACES_EXPORTER: expected otlp, console or none, not 'zipkin'"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf, not 'grpc'"),
        ("OTEL_BSP_SCHEDULE_DELAY", "soon", "OTEL_BSP_SCHEDULE_DELAY: expected an integer from 1, not 'soon'"),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=f"^{expected}$"):
        traces.start("geventjob-test")


@pytest.mark.parametrize(("given", "name"), [(None, "geventjob-test"), ("mine", "mine")])
def test_the_environment_names_the_service(monkeypatch: pytest.MonkeyPatch, given: str | None, name: str) -> None:
    if given:
        monkeypatch.setenv("OTEL_SERVICE_NAME", given)
    assert traces._resource("geventjob-test").attributes["service.name"] == name


def test_a_traceparent_is_a_context_and_back() -> None:
    parent = trace.get_current_span(traces.parent_of(GIVEN)).get_span_context()
    assert traceparent.written(parent.trace_id, parent.span_id, parent.trace_flags) == GIVEN
    assert traces.parent_of(None) == context.Context()


WITHOUT = """
import sys
import geventjob.cli.server, geventjob.cli.executor, geventjob.cli.distributor
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
sys.modules["opentelemetry"] = None
sys.argv = ["geventjob-server", "--traces"]
geventjob.cli.server.main()
"""


def test_without_opentelemetry_the_option_is_refused_and_nothing_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "geventjob-server: --traces needs OpenTelemetry: pip install 'geventjob[otel]' (import of opentelemetry"
    )
