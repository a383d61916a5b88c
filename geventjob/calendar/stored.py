"""A schedule as data: the ticks of a document of `/api/schedule` (docs/reference/api.md, "Schedules").

The server that keeps a schedule and the distributor that fires it come to the same ticks by these functions. Moments
are Unix milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Union

from geventjob.calendar.schedule import Plan, plan
from geventjob.clock import cimi_time, moment_of

Document = Mapping[str, Any]

NEEDED = ("name", "cron", "every", "timezone", "catchup", "jitter", "unlessPending", "paused", "since", "tick")
"""The attributes that the functions of this module read."""
TIMING = ("cron", "every", "timezone")
"""The attributes that decide when a schedule ticks: after an edit of one, earlier ticks never fire."""


def plan_of(schedule: Document) -> Plan:
    """Return the plan of a schedule. Raises ValueError for a line or a zone that does not exist, and for a conflict."""
    return _plan(
        schedule["name"],
        schedule.get("cron"),
        schedule.get("every"),
        schedule.get("timezone"),
        schedule.get("catchup", "last"),
        schedule.get("jitter", 0),
        schedule.get("unlessPending", False),
    )


@lru_cache(10_000)
def _plan(
    name: str,
    cron: str | None,
    every: float | None,
    zone: str | None,
    catchup: Union[str, int],
    jitter: float,
    unless_pending: bool,
) -> Plan:
    settings = SimpleNamespace(
        cron=cron, interval=every, timezone=zone, catchup=catchup, jitter=jitter, unless_pending=unless_pending
    )
    return plan(f"schedule/{name}", settings)


def is_paused(schedule: Document, now: int) -> bool:
    """Return whether a schedule is paused at this moment."""
    until = _until(schedule)
    return "paused" in schedule and (until is None or now < until)


def begin(schedule: Document) -> int:
    """Return the moment after which ticks fire: the add, the last edit of the timing, or the end of the last pause."""
    return max(milliseconds(schedule["since"]), _until(schedule) or 0)


def due(schedule: Document, now: int) -> list[int]:
    """Return the ticks to fire at `now`, in order."""
    if is_paused(schedule, now):
        return []
    made = plan_of(schedule)
    before = made.schedule.latest(begin(schedule))
    fired = schedule.get("tick")
    if fired is not None and (before is None or before < fired <= now):  # later than now: the clock was stepped
        before = fired
    return made.due(before, now)


def next_moment(schedule: Document, now: int) -> int | None:
    """Return the next moment at which a schedule fires; None if it never does, or is paused without an end."""
    until = _until(schedule)
    if "paused" in schedule and until is None:
        return None
    return plan_of(schedule).next(max(now, until or 0))


def milliseconds(date: str) -> int:
    """Return the moment of a date of a document, `2027-01-31T08:15:30.123Z`."""
    return round(moment_of(date).timestamp() * 1000)


def date_of(moment: int) -> str:
    """Return the date of a moment, as documents have it."""
    return cimi_time(datetime.fromtimestamp(moment / 1000, timezone.utc))


def _until(schedule: Document) -> int | None:
    """Return the end of the pause, past or not; None without an end."""
    until = schedule.get("paused", {}).get("until")
    return None if until is None else milliseconds(until)
