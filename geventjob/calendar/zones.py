"""Time zones from the package tzdata, never from the host: two hosts with different data would make two ticks.

`zoneinfo.ZoneInfo(name)` searches the host's data first, so the files of the package are read here
(docs/decisions/0025-local-time-as-debians-cron.md).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from importlib import metadata
from importlib.resources import files
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
DAY = 24 * 60
LAST_YEAR = 9990
"""The last year of which clock changes are searched."""


@dataclass(frozen=True)
class Stretch:
    """A time without a clock change, or the part of the time in one year; minutes since 1970-01-01 00:00 UTC."""

    begin: int
    end: int
    """The first minute after the stretch."""
    offset: int
    """Minutes that the clock is ahead of UTC, rounded down."""


class Zone:
    """The clock of a time zone."""

    def __init__(self, name: str) -> None:
        """Load the zone. Raises ValueError, which names the nearest zones, for a name that tzdata does not have."""
        if name not in names():
            raise ValueError(f"no time zone {name!r}{_nearest(name)}")
        with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
            self._info = ZoneInfo.from_file(file, name)
        self.name = name

    def local(self, moment: datetime) -> datetime:
        """Return an aware moment on the clock of the zone."""
        return moment.astimezone(self._info)

    def year(self, year: int) -> list[Stretch]:
        """Return the stretches of a year of UTC, in order."""
        begin, end = (_minute(datetime(at, 1, 1, tzinfo=timezone.utc)) for at in (year, year + 1))
        found: list[Stretch] = []
        for day in range(begin, end, DAY):
            change = self._change(day, day + DAY)
            if change is not None:
                found.append(Stretch(begin, change, self._offset(change - 1)))
                begin = change
        return [*found, Stretch(begin, end, self._offset(end - 1))]

    def _change(self, begin: int, end: int) -> int | None:
        """Return the first minute with the offset of `end`, if `begin` has another offset: one change at most a day."""
        before, after = self._offset(begin), self._offset(end)
        if before == after:
            return None
        while end - begin > 1:
            middle = (begin + end) // 2
            begin, end = (middle, end) if self._offset(middle) == before else (begin, middle)
        return end

    def _offset(self, minute: int) -> int:
        ahead = self.local(EPOCH + timedelta(minutes=minute)).utcoffset() or timedelta()
        return ahead // timedelta(minutes=1)


@lru_cache(64)
def zone(name: str) -> Zone:
    """Return a zone by its name, as `Europe/Berlin`. Raises ValueError."""
    return Zone(name)


@lru_cache(1)
def names() -> frozenset[str]:
    """Return the names of all zones."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


def version() -> str:
    """Return the version of the data, the same in all processes of a fleet (docs/how-to/schedules.md)."""
    return metadata.version("tzdata")


def _nearest(name: str) -> str:
    """Return `: did you mean …?` with the nearest names, also for a name without its continent or in lower case."""
    wanted = name.replace(" ", "_").lower()
    by_lower = {each.lower(): each for each in names()}
    close = [each for each in by_lower if each.rpartition("/")[2] == wanted]
    close += [each for each in difflib.get_close_matches(wanted, by_lower, n=3) if each not in close]
    found = " or ".join(by_lower[each] for each in close[:3])
    return f": did you mean {found}?" if found else ": expected a name as Europe/Berlin"


def _minute(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(minutes=1)
