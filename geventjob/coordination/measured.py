"""The time that calls of coordination take, for metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geventjob.clock import boottime
from geventjob.coordination.base import Coordination

CALLS = ("put", "remove", "discard", "holders", "jobs", "stats", "consume", "release", "members", "leaders", "send")
"""The calls that are measured: those that wait for nothing but the queue."""


def measure(coordination: Coordination, took: Callable[[str, float], None]) -> None:
    """Have `took(call, seconds)` called after each call that has succeeded. Do this before the first call."""
    for name in CALLS:
        setattr(coordination, name, _timed(name, getattr(coordination, name), took))


def _timed(name: str, call: Callable[..., Any], took: Callable[[str, float], None]) -> Callable[..., Any]:
    def timed(*arguments: Any, **named: Any) -> Any:
        since = boottime()
        result = call(*arguments, **named)
        took(name, boottime() - since)
        return result

    return timed
