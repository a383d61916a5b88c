"""The span of a firing, in which a distributor makes and adds the jobs of a tick (docs/how-to/traces.md)."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any


def span_of_firing(distributor: str) -> AbstractContextManager[Any]:
    """Return a context with the span; an empty context in a process that has not loaded OpenTelemetry."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return nullcontext()
    span: AbstractContextManager[Any] = trace.get_tracer("geventjob").start_as_current_span(
        f"fire {distributor}", attributes={"geventjob.distributor": distributor}
    )
    return span
