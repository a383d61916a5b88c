"""The spans of runs: one for each attempt, current in the code of the action (docs/how-to/traces.md)."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from geventjob.executor.decision import OUTCOMES, Decision, Fail, LetGo, TryAgain
from geventjob.executor.work import Work
from geventjob.traceparent import HEADER
from geventjob.traces import parent_of

MESSAGE_LENGTH, TRACE_LENGTH = 1_000, 8_000
"""Characters of the message of a failure, and of the end of its traceback."""


class RunTraces:
    """Hooks that begin and end the span of a run."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._spans: WeakKeyDictionary[Work, Span] = WeakKeyDictionary()

    def started(self, work: Work) -> None:
        """Begin the span of a run, and make it the current one of this greenlet, which runs nothing else."""
        job = work.job
        assert job
        span = self._spans[work] = self._tracer.start_span(
            f"run {job['action']}",
            parent_of(job.get(HEADER)),
            SpanKind.CONSUMER,
            {
                "geventjob.job": job.id,
                "geventjob.action": job["action"],
                "geventjob.attempt": job.attempt,
                "geventjob.executor": str(job.get("executor")),
            },
        )
        context.attach(trace.set_span_in_context(span))

    def ended(self, work: Work, decision: Decision) -> None:
        """End the span of a run. A failure is its error, and an exception one of its events."""
        span = self._spans.pop(work, None)
        if span is None:
            return
        span.set_attribute("geventjob.outcome", OUTCOMES[type(decision)])
        failure = decision.failure if isinstance(decision, TryAgain) else decision
        if isinstance(failure, Fail):
            _note_failure(span, failure)
        elif isinstance(failure, LetGo):
            span.set_status(StatusCode.ERROR, "the claim was lost")
        span.end()


def _note_failure(span: Span, failure: Fail) -> None:
    """Note a failure; its texts are without secrets (`decide`)."""
    message = (failure.message or "")[:MESSAGE_LENGTH]
    if failure.kind:
        span.set_attribute("error.type", failure.kind)
    if failure.trace:
        exception = {"exception.type": failure.kind, "exception.message": message}
        span.add_event("exception", {**exception, "exception.stacktrace": failure.trace[-TRACE_LENGTH:]})
    span.set_status(StatusCode.ERROR, message)
