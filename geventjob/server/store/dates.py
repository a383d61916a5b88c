"""Dates in filters: any precision, and the date math of Elasticsearch (`now-7d/d`, `2019-04-02||+1M`).

Instants are texts in the form of documents, `2019-04-02T08:15:30.123Z`: UTC, in whole milliseconds. The order of these
texts is the order of the instants.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import datetime, timedelta, timezone

from geventjob.clock import cimi_time
from geventjob.server.filter import Date, FilterError

_DATE = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:T(?P<hour>\d\d)(?::(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d+))?)?)?"
    r"(?P<zone>Z|[+-]\d\d(?::?\d\d)?)?)?)?)?",
    re.ASCII,
)
_MATH = re.compile(r"([+-])(\d{0,9})([yMwdhHms])|/([yMwdhHms])", re.ASCII)
_UNITS = {"year": "y", "month": "M", "day": "d", "hour": "H", "minute": "m", "second": "s"}
_STEPS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "H": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}
_MILLISECOND = timedelta(milliseconds=1)


def period(value: str | Date, now: datetime) -> tuple[str, str]:
    """Return the first and the last instant of a date in a filter.

    A bare date means the instant at which the day, month or second begins: both instants are equal. A quoted date means
    the whole day, month or minute, and so does a rounded date (`now/d`). Raises FilterError.
    """
    text = value.text if isinstance(value, Date) else value
    try:
        first = _instant(text, now, last=False)
        return first, first if isinstance(value, Date) else _instant(text, now, last=True)
    except (ValueError, OverflowError) as error:
        if isinstance(error, FilterError):
            raise
        raise FilterError(f"{text[:60]!r} is not a possible date: {error}") from None


def milliseconds(instant: str) -> int:
    """Return the milliseconds from 1970 to an instant of a document."""
    return (datetime.fromisoformat(instant[:-1] + "+00:00") - datetime(1970, 1, 1, tzinfo=timezone.utc)) // _MILLISECOND


def _instant(text: str, now: datetime, *, last: bool) -> str:
    anchor, bars, math = text.partition("||")
    if bars:
        moment = _date(anchor, last=False)
    elif text.startswith("now"):
        moment, math = now, text[3:]
    else:
        moment = _date(text, last=last)
    return cimi_time(_calculated(moment, math, text, last=last))


def _date(text: str, *, last: bool) -> datetime:
    match = _DATE.fullmatch(text)
    if not match:
        raise FilterError(
            f"{text[:60]!r} is not a date: expected a date such as 2019-04-02, "
            "'2019-04-02T08:15:30Z', 'now-7d' or '2019-04-02||+1M/d'"
        )
    parts = {name: int(match[name]) for name in _UNITS if match[name] is not None}
    finest = list(parts)[-1]
    moment = datetime(**{"month": 1, "day": 1, **parts}, tzinfo=_zone(match["zone"]))
    if match["fraction"]:
        return moment + int(match["fraction"][:3].ljust(3, "0")) * _MILLISECOND
    return _ended(moment, _UNITS[finest]) if last else moment


def _zone(text: str | None) -> timezone:
    if text is None or text == "Z":
        return timezone.utc
    minutes = int(text[1:3]) * 60 + int(text[-2:] if len(text) > 3 else 0)
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def _calculated(moment: datetime, math: str, text: str, *, last: bool) -> datetime:
    place = 0
    while place < len(math):
        step = _MATH.match(math, place)
        if not step:
            raise FilterError(
                f"{text[:60]!r}: {math[place : place + 10]!r} is not date math: expected steps such as -7d, +1M "
                "or /d, with the units y M w d h m s"
            )
        sign, count, unit, rounding = step.groups()
        if rounding:
            moment = _begun(moment, rounding)
            moment = _ended(moment, rounding) if last else moment
        else:
            moment = _added(moment, int(sign + (count or "1")), unit)
        place = step.end()
    return moment


def _added(moment: datetime, count: int, unit: str) -> datetime:
    """Add units to a moment; years and months cut the day to the length of the month (January 31 + 1M: February 28)."""
    if unit not in ("y", "M"):
        return moment + count * _STEPS[unit]
    months = moment.year * 12 + moment.month - 1 + count * (12 if unit == "y" else 1)
    year, month = divmod(months, 12)
    if not 1 <= year <= 9999:
        raise ValueError(f"year {year} is out of range")
    return moment.replace(year=year, month=month + 1, day=min(moment.day, monthrange(year, month + 1)[1]))


def _ended(begun: datetime, unit: str) -> datetime:
    """Return the last millisecond of the unit that begins at a moment."""
    try:
        return _added(begun, 1, unit) - _MILLISECOND
    except (ValueError, OverflowError):  # the year 9999, which stands for "never"
        return datetime.max.replace(tzinfo=timezone.utc)


def _begun(moment: datetime, unit: str) -> datetime:
    """Return the beginning of the year, month, week (Monday), day … of a moment."""
    if unit == "w":
        moment, unit = moment - timedelta(days=moment.weekday()), "d"
    zero = {"month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0, "microsecond": 0}
    kept = {"y": 0, "M": 1, "d": 2, "h": 3, "H": 3, "m": 4, "s": 5}[unit]
    return moment.replace(**dict(list(zero.items())[kept:]))  # type: ignore[arg-type]
