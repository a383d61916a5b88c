"""Crontab lines on the clock of a time zone, by the rules of Debian's cron (docs/how-to/schedules.md, "Clock changes").

A line whose minute or hour field begins with `*` fires at each real minute that matches. Any other line has fixed
times: a time that a change of the clock skips fires at the change, and a time that comes twice fires the first time. A
change by more than three hours moves no firing, as the day that Samoa left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from geventjob.calendar.crontab import HORIZON, Crontab
from geventjob.calendar.zones import EPOCH, LAST_YEAR, Stretch, Zone

LARGEST = 180
"""Minutes of the largest change of the clock that moves firings."""
YEARS = HORIZON // 365
"""Years within which every line fires that ever does."""


@dataclass(frozen=True)
class LocalCrontab:
    """The minutes of UTC at which a line fires on the clock of a zone."""

    crontab: Crontab
    zone: Zone

    def following(self, minute: int) -> int | None:
        """Return the first minute after this one at which the line fires; None if it never does."""
        for stretch, reached in self._forwards(minute + 1):
            done = reached if minute < stretch.begin else max(reached, minute + stretch.offset)
            local = self.crontab.following(done)
            if local is not None and local < stretch.end + stretch.offset:
                return max(stretch.begin, local - stretch.offset)
        return None

    def latest(self, minute: int) -> int | None:
        """Return the last minute at or before this one at which the line fires; None if it never does since 1970."""
        for stretch, reached in self._backwards(minute):
            local = self.crontab.latest(min(minute, stretch.end - 1) + stretch.offset)
            if local is not None and local > reached:
                return max(stretch.begin, local - stretch.offset)
        return None

    def _forwards(self, minute: int) -> Iterator[tuple[Stretch, int]]:
        """Yield the stretch of a minute and the stretches after it, each with the local minute that is reached."""
        first = _year(minute)
        for year in range(first, min(first + YEARS, LAST_YEAR)):
            yield from (pair for pair in self._year(year) if pair[0].end > minute)

    def _backwards(self, minute: int) -> Iterator[tuple[Stretch, int]]:
        """Yield the stretch of a minute and the stretches before it, each with the local minute that is reached."""
        last = _year(minute)
        for year in range(last, max(last - YEARS, EPOCH.year - 1), -1):
            yield from (pair for pair in reversed(self._year(year)) if pair[0].begin <= minute)

    def _year(self, year: int) -> list[tuple[Stretch, int]]:
        return _reached(self.zone, year, self.crontab.starred)


@lru_cache(1024)
def _reached(zone: Zone, year: int, starred: bool) -> list[tuple[Stretch, int]]:
    """Return the stretches of a year, each with the local minute up to which all firings lie before the stretch.

    For a starred line this is the minute before the stretch on its own clock; for other lines the latest minute that
    any clock before has shown.
    """
    found: list[tuple[Stretch, int]] = []
    shown: int | None = None
    for stretch in (*zone.year(year - 1)[-2:], *zone.year(year)):
        before = stretch.begin + stretch.offset - 1
        ahead = 0 if shown is None else before - shown
        reached = before if shown is None or starred or not -LARGEST <= ahead < LARGEST else shown
        found.append((stretch, reached))
        shown = max(reached, stretch.end - 1 + stretch.offset)
    return [pair for pair in found if _year(pair[0].begin) == year]


def _year(minute: int) -> int:
    """Return the year of UTC of a minute."""
    return (EPOCH + timedelta(minutes=minute)).year
