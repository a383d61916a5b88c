"""Crontab lines as crontab(5) of Debian reads them: five fields, or a name as `@daily`.

A line has no time zone: it names minutes of a calendar, counted from 1970-01-01 00:00 on the clock of the calendar.
For UTC these are the minutes of Unix time; `local.py` maps them for other zones. docs/reference/distributors.md,
"Crontab lines", has the rules.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

from geventjob.config.nearest import nearest

LONGEST = 1000
"""Characters of a line."""
DAY = 24 * 60
EPOCH = date(1970, 1, 1)
HORIZON = 41 * 366
"""Days within which every line fires that ever does: a weekday on February 29 returns after 40 years at most."""

NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


@dataclass(frozen=True)
class Field:
    """One field of a line: its name and values."""

    name: str
    least: int
    most: int
    words: tuple[str, ...] = ()
    """Names of values, the first for `least`."""


FIELDS = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day-of-month", 1, 31),
    Field("month", 1, 12, tuple(MONTHS)),
    Field("weekday", 0, 7, tuple(WEEKDAYS)),
)
LAYOUT = " ".join(field.name for field in FIELDS)

# --- the calendar


@dataclass(frozen=True)
class Crontab:
    """The minutes at which a line fires."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    both_days: bool
    """Whether day of month and weekday must both match: if one of their fields begins with `*`."""
    starred: bool = False
    """Whether the field of the minute or of the hour begins with `*`, which matters where clocks are changed."""

    @cached_property
    def times(self) -> list[int]:
        """The minutes of a day that fires, sorted."""
        return sorted(60 * hour + minute for hour in self.hours for minute in self.minutes)

    def fires_on(self, day: date) -> bool:
        """Return whether the line fires on this day."""
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (of_month and of_week) if self.both_days else (of_month or of_week)

    def following(self, minute: int) -> int | None:
        """Return the first minute after this one at which the line fires; None if it never does."""
        day, rest = divmod(minute, DAY)
        at = bisect_right(self.times, rest)
        if at < len(self.times) and self.fires_on(_date(day)):
            return day * DAY + self.times[at]
        found = next(self._days(day, 1), None)
        return None if found is None else found * DAY + self.times[0]

    def latest(self, minute: int) -> int | None:
        """Return the last minute at or before this one at which the line fires; None if it never does."""
        day, rest = divmod(minute + 1, DAY)
        at = bisect_left(self.times, rest)
        if at > 0 and self.fires_on(_date(day)):
            return day * DAY + self.times[at - 1]
        found = next(self._days(day, -1), None)
        return None if found is None else found * DAY + self.times[-1]

    def _days(self, day: int, step: int) -> Iterator[int]:
        """Yield the days after or before this one on which the line fires."""
        return (at for at in range(day + step, day + step * HORIZON, step) if self.fires_on(_date(at)))


def _date(day: int) -> date:
    """Return the date of a day since 1970-01-01."""
    return EPOCH + timedelta(days=day)


# --- the line


def parse(line: str) -> Crontab:
    """Return the crontab of a line. Raises ValueError, whose text says what to write instead."""
    if len(line) > LONGEST:
        raise ValueError(f"{len(line)} characters: {LONGEST} at most")
    words = _named(line.strip()).split()
    if len(words) != len(FIELDS):
        raise ValueError(_miscounted(words))
    minutes, hours, days, months, weekdays = (_values(word, field) for word, field in zip(words, FIELDS, strict=True))
    both_days = words[2].startswith("*") or words[4].startswith("*")
    starred = words[0].startswith("*") or words[1].startswith("*")
    found = Crontab(minutes, hours, days, months, frozenset(value % 7 for value in weekdays), both_days, starred)
    if found.following(0) is None:
        raise ValueError("never fires: there is no such day")
    return found


def _named(line: str) -> str:
    """Return a line, with a name as `@daily` replaced by its five fields. Raises ValueError."""
    if line.startswith("@") and line not in NAMED:
        raise ValueError(f"unknown name {line}{nearest(line.lower(), NAMED)}; expected one of {' '.join(NAMED)}")
    return NAMED.get(line, line)


def _miscounted(words: list[str]) -> str:
    """Return the error for a wrong number of fields."""
    told = f"{len(words)} fields: a crontab line has five, {LAYOUT}"
    if words and "=" in words[0]:
        return f"{told}; a time zone does not belong in the line, but into `timezone`"
    if len(words) == 6:
        told += f"; where the first are seconds, write '{' '.join(words[1:])}'"
    if len(words) == 7:
        told += f"; where the first are seconds and the last are years, write '{' '.join(words[1:6])}'"
    return told + ("; below a minute there is `interval`" if len(words) > 5 else "")


def _values(text: str, field: Field) -> frozenset[int]:
    """Return the values of a field. Raises ValueError."""
    found: set[int] = set()
    for item in text.split(","):
        base, slash, step = item.partition("/")
        first, last = _range(base, field, item)
        if slash:
            if not _NUMBER.fullmatch(step) or int(step) == 0:
                raise _wrong(field, item, "a step is a whole number from 1 on")
            if base != "*" and "-" not in base:
                raise _wrong(field, item, f"a step needs a range: write {base}-{field.most}/{step}")
        found.update(range(first, last + 1, int(step) if slash else 1))
    return frozenset(found)


def _range(text: str, field: Field, item: str) -> tuple[int, int]:
    """Return first and last value of a range. Raises ValueError."""
    if text == "*":
        return field.least, field.most
    begin, dash, end = text.partition("-")
    first = _value(begin, field, item)
    last = _value(end, field, item) if dash else first
    if first > last:
        high = 6 if field.words and field.least == 0 else field.most
        parts = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ((first, high), (field.least, last)))
        raise _wrong(field, item, f"a range does not wrap: write {parts}")
    return first, last


def _value(text: str, field: Field, item: str) -> int:
    """Return a single value. Raises ValueError."""
    if _NUMBER.fullmatch(text):
        value = int(text)
        if not field.least <= value <= field.most:
            raise _wrong(field, item, f"expected {field.least} to {field.most}")
        return value
    if text.lower() in field.words:
        return field.least + field.words.index(text.lower())
    raise _wrong(field, item, _instead(item, field))


def _instead(item: str, field: Field) -> str:
    """Return what to write instead of an item that other engines know."""
    if item == "?":
        return "write *"
    if field.name in ("day-of-month", "weekday"):
        if "#" in item:
            return "fire on each of the days, as 8-14 for a second week, and let jobs() look at the weekday"
        if re.fullmatch(r"(?i)l|lw|l-\d+|l\d|\w+l", item):
            return "fire on 28-31, and let jobs() see whether the day is the last"
        if re.fullmatch(r"(?i)\d+w", item):
            return "fire on the days around it, and let jobs() choose one"
    if field.words and text_like(item):
        return f"expected {field.least} to {field.most}, or one of {' '.join(field.words)}"
    return f"expected {field.least} to {field.most}, a range as 1-5, a list as 1,3, a step as */2, or *"


def text_like(item: str) -> bool:
    """Return whether an item consists of letters, and so is meant as a name."""
    return item.replace("-", "").isalpha()


def _wrong(field: Field, item: str, told: str) -> ValueError:
    return ValueError(f"{field.name} {item!r}: {told}")


_NUMBER = re.compile(r"[0-9]{1,9}")
