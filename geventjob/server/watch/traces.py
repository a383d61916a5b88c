"""Spans of jobs that a server sees: the add, the wait for an executor, and the outcome (docs/how-to/traces.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from geventjob.cimi.document import Document
from geventjob.clock import moment_of
from geventjob.job.states import FINAL
from geventjob.masking import mask_values
from geventjob.server.accounts.caller import Caller
from geventjob.server.life.failures import MESSAGE_LENGTH
from geventjob.server.problem import Problem
from geventjob.server.store.watched import Written
from geventjob.traceparent import HEADER, written
from geventjob.traces import parent_of

Bodies = Sequence[Mapping[str, Any]]
Add = Callable[[Bodies, Caller], list[str | Exception]]


class JobTraces:
    """The spans of the jobs that this server adds and writes. A job without `traceparent` has none."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def around(self, add: Add) -> Add:
        """Return `add` with a span for each job, which becomes the parent of all other spans of the job."""

        def traced(bodies: Bodies, caller: Caller) -> list[str | Exception]:
            spans = [self._begun(body) for body in bodies]
            results: Sequence[str | BaseException] = ()
            try:
                found = add([_within(body, span) for body, span in zip(bodies, spans, strict=True)], caller)
                results = found
            except BaseException as error:
                results = [error] * len(spans)
                raise
            finally:
                for span, result in zip(spans, results, strict=True):
                    _end_add(span, result)
            return found

        return traced

    def _begun(self, body: Mapping[str, Any]) -> Span:
        action = body["action"]
        return self._tracer.start_span(
            f"add {action}", parent_of(body.get(HEADER)), SpanKind.PRODUCER, {"geventjob.action": action}
        )

    def note(self, written: Sequence[Written]) -> None:
        """Make the spans that end with these writes."""
        for before, after in written:
            if before is not None and after is not None and HEADER in after:
                self._changed(before, after)

    def _changed(self, before: Document, after: Document) -> None:
        if after["state"] == "RUNNING" and before["state"] == "QUEUED":
            self._span("wait", after, _waiting_since(before)).end(_nanoseconds(after["updated"]))
        if after.get("interruptions", 0) > before.get("interruptions", 0):
            span = self._span("interruption", before, after["updated"])
            span.set_status(StatusCode.ERROR, f"lost by {before.get('executor')}")
            span.end(_nanoseconds(after["updated"]))
        if after["state"] in FINAL and before["state"] not in FINAL:
            span = self._span("outcome", after, after["updated"])
            span.set_attribute("geventjob.state", after["state"])
            if after["state"] == "FAILED":
                message = str(after.get("statusMessage", ""))[:MESSAGE_LENGTH]
                span.set_status(StatusCode.ERROR, mask_values(message, after.get("payload", {})))
            span.end()

    def _span(self, name: str, job: Document, since: str) -> Span:
        """Begin a span of a job at a past moment."""
        attributes = {
            "geventjob.job": job["id"],
            "geventjob.action": job["action"],
            "geventjob.attempt": job["attempts"],
        }
        return self._tracer.start_span(
            f"{name} {job['action']}",
            parent_of(job[HEADER]),
            SpanKind.INTERNAL,
            attributes,
            start_time=_nanoseconds(since),
        )


def _within(body: Mapping[str, Any], span: Span) -> Mapping[str, Any]:
    """Return a job that goes on with this span; or as it is, where spans are switched off."""
    context = span.get_span_context()
    if not context.is_valid:
        return body
    return {**body, HEADER: written(context.trace_id, context.span_id, context.trace_flags)}


def _end_add(span: Span, result: str | BaseException) -> None:
    if isinstance(result, str):
        span.set_attribute("geventjob.job", result)
    else:
        kind = str(result.status) if isinstance(result, Problem) else type(result).__name__
        span.set_attribute("error.type", kind)
        span.set_status(StatusCode.ERROR)
    span.end()


def _waiting_since(job: Document) -> str:
    """Return the time from which on a QUEUED job has waited for its next attempt."""
    if not job["attempts"]:
        return str(job["created"])
    errors = job.get("errors")
    return str(errors[-1]["at"] if errors and errors[-1]["attempt"] == job["attempts"] else job["updated"])


def _nanoseconds(time: str) -> int:
    return round(moment_of(time).timestamp() * 1_000) * 1_000_000
