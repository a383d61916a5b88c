"""Trace contexts as W3C writes them, `traceparent`: handed on also where OpenTelemetry is not installed.

The format is that of https://www.w3.org/TR/trace-context/, docs/how-to/traces.md tells which spans there are.
"""

from __future__ import annotations

import re
import sys
from contextvars import ContextVar

HEADER = "traceparent"
"""The header of a request, and the attribute of a job."""
INCOMING: ContextVar[str | None] = ContextVar("traceparent of the request", default=None)
"""The traceparent of the request that a server answers in this greenlet, or of the job that a worker runs."""
_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?")


def parsed(header: str | None) -> str | None:
    """Return the traceparent of a header, in version 00; None for a header that W3C has others ignore."""
    found = _FORM.fullmatch(header.strip()) if header else None
    if found is None or (found[1] == "00" and found[3]):
        return None
    return f"00-{found[2]}"


def current() -> str | None:
    """Return the traceparent of this code: of its span in OpenTelemetry, else of the request that is answered.

    A program that has not imported OpenTelemetry has no spans.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return INCOMING.get()
    context = trace.get_current_span().get_span_context()
    return written(context.trace_id, context.span_id, context.trace_flags) if context.is_valid else INCOMING.get()


def written(trace: int, span: int, flags: int) -> str:
    """Return a traceparent from its numbers."""
    return f"00-{trace:032x}-{span:016x}-{flags:02x}"
