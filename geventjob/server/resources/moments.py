"""Moments in request bodies."""

from __future__ import annotations

from datetime import datetime

from geventjob.clock import now
from geventjob.job.moments import moment
from geventjob.job.types import SOONEST
from geventjob.server.problem import invalid


def future(name: str, text: str) -> datetime:
    """Return the moment of an attribute: a date, or an offset as `+2h`. Raises Problem 400 for one that is past."""
    present = now()
    try:
        end = moment(text, present)
    except ValueError as error:
        raise invalid(f"{name}: expected {SOONEST.words} ({error})") from None
    if end <= present:
        raise invalid(f"{name}: expected a moment to come, not {text[:60]!r}")
    return end
