"""Moments that clients send: a date with a time zone, or an offset from now."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec

_OFFSET = re.compile(r"\+([0-9]{1,9})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LAST_YEAR = 9000
"""Last year of a moment: a time limit can be added to each moment."""
_Date: Any = Annotated[datetime, msgspec.Meta(tz=True)]


def moment(text: str, now: datetime) -> datetime:
    """Return the moment of a date, as `2026-04-02T08:15:30+02:00`, or of an offset from now, as `+90s`, `+2h`, `+3d`.

    Raises ValueError for another text, and for a date without a time zone.
    """
    offset = _OFFSET.fullmatch(text)
    try:
        found = now + timedelta(**{_UNITS[offset[2]]: int(offset[1])}) if offset else _date(text)
    except (OverflowError, msgspec.ValidationError):
        raise ValueError(f"{text[:60]!r} is no moment") from None
    if found.year > _LAST_YEAR:
        raise ValueError(f"{text[:60]!r} is too far away")
    return found


def _date(text: str) -> datetime:
    found: datetime = msgspec.convert(text, _Date)
    return found
