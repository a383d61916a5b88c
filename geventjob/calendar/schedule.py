"""The schedule of a distributor: its ticks, in Unix milliseconds, the same in every process.

Processes of one name come to the same ticks without communication, so an interval is counted from the epoch, a crontab
line is read in a named time zone, and jitter is computed from the tick.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from typing import Any, Union
from zlib import crc32

from geventjob.calendar import crontab
from geventjob.calendar.crontab import Crontab
from geventjob.calendar.local import LocalCrontab
from geventjob.calendar.zones import Zone, zone

LONGEST_INTERVAL = 10 * 366 * 86_400.0
LONGEST_JITTER = 86_400.0
MOST_CAUGHT_UP = 1_000
MINUTE = 60_000
"""Milliseconds."""
LATE = 60_000
"""Milliseconds after which a tick has passed where `catchup` is "none": longer than another leader takes to follow."""


class Schedule(ABC):
    """The ticks of one distributor."""

    @abstractmethod
    def latest(self, now: int) -> int | None:
        """Return the last tick at or before `now`; None if there is none."""

    @abstractmethod
    def following(self, now: int) -> int | None:
        """Return the first tick after `now`; None if there is none."""

    at_once: bool
    """Whether a distributor that has never fired fires without waiting for its next tick."""


@dataclass(frozen=True)
class Every(Schedule):
    """A tick each `step` milliseconds."""

    step: int
    at_once = True

    def latest(self, now: int) -> int:
        return now - now % self.step

    def following(self, now: int) -> int:
        return self.latest(now) + self.step


@dataclass(frozen=True)
class Cron(Schedule):
    """The minutes of a crontab line. A new distributor waits for its first tick, which may be at night."""

    crontab: Union[Crontab, LocalCrontab]
    """A line that is read in UTC, or on the clock of a zone."""
    at_once = False

    def latest(self, now: int) -> int | None:
        return _tick(self.crontab.latest(now // MINUTE))

    def following(self, now: int) -> int | None:
        return _tick(self.crontab.following(now // MINUTE))


def _tick(minute: int | None) -> int | None:
    """Return the tick of a minute."""
    return None if minute is None else minute * MINUTE


def schedule(interval: object, cron: object, timezone: object = None) -> Schedule:
    """Return the schedule of a distributor's `interval` (seconds), or `cron` and `timezone`. Raises ValueError."""
    if (interval is None) == (cron is None):
        raise ValueError("expected either `interval`, seconds, or `cron`, a crontab line")
    if cron is not None:
        return _cron(cron, timezone)
    if timezone is not None:
        raise ValueError("`timezone` belongs to `cron`: an `interval` is counted from the epoch")
    return Every(round(_seconds("interval", interval, 0.001, LONGEST_INTERVAL, "from 0.001 to ten years") * 1000))


def _cron(line: object, timezone: object) -> Cron:
    """Return the schedule of a crontab line. Raises ValueError."""
    if not isinstance(line, str):
        raise ValueError(f"`cron` is a crontab line as '0 3 * * *', not {line!r}")
    try:
        parsed = crontab.parse(line)
    except ValueError as error:
        raise ValueError(f"`cron` {line!r}: {error}") from None
    where = zone_of(timezone)
    return Cron(parsed if where is None else LocalCrontab(parsed, where))


def zone_of(timezone: object) -> Zone | None:
    """Return the zone of a distributor's `timezone`; None for None, which is UTC. Raises ValueError."""
    if timezone is None:
        return None
    if not isinstance(timezone, str):
        raise ValueError(f"`timezone` is a name as 'Europe/Berlin', not {timezone!r}")
    try:
        return zone(timezone)
    except ValueError as error:
        raise ValueError(f"`timezone`: {error}") from None


@dataclass(frozen=True)
class Plan:
    """The moments at which the ticks of a schedule fire."""

    name: str
    """The name of the distributor, by which the jitter of two distributors differs."""
    schedule: Schedule
    catchup: int = 1
    """How many of the ticks that passed without a leader fire: the last ones."""
    jitter: int = 0
    """Milliseconds by which a tick fires later at most."""

    def due(self, fired: int | None, now: int) -> list[int]:
        """Return the ticks to fire at `now`, in order. `fired` is the last tick that fired, None if there is none."""
        found: list[int] = []
        for tick in islice(self._ticks(now), 1 if fired is None else max(1, self.catchup)):
            passed = self.catchup == 0 and now - self.moment(tick) > LATE
            if passed or (fired is not None and tick <= fired):
                break
            found.insert(0, tick)
        return found

    def _ticks(self, now: int) -> Iterator[int]:
        """Yield the ticks whose moments have come, the last one first."""
        tick = self.schedule.latest(now)
        if tick is not None and self.moment(tick) > now:
            tick = self.schedule.latest(tick - 1)
        while tick is not None:
            yield tick
            tick = self.schedule.latest(tick - 1)

    def moment(self, tick: int) -> int:
        """Return when a tick fires: by a share of `jitter` later, but never after the next tick."""
        if not self.jitter:
            return tick
        following = self.schedule.following(tick)
        most = self.jitter if following is None else min(self.jitter, following - tick)
        return tick + most * crc32(f"{self.name}@{tick}".encode()) // 2**32

    def next(self, now: int) -> int | None:
        """Return the first moment after `now` at which a tick fires; None if there is none."""
        tick = self.schedule.latest(now)
        if tick is None or self.moment(tick) <= now:
            tick = self.schedule.following(now)
        return None if tick is None else self.moment(tick)

    def local(self, tick: int) -> datetime:
        """Return the time of a tick on the clock of the schedule: UTC without `timezone`."""
        moment = datetime.fromtimestamp(tick / 1000, timezone.utc)
        line = self.schedule.crontab if isinstance(self.schedule, Cron) else None
        return line.zone.local(moment) if isinstance(line, LocalCrontab) else moment


def plan(name: str, settings: Any) -> Plan:
    """Return the plan of an object with `interval`, `cron`, `timezone`, `catchup`, `jitter`. Raises ValueError."""
    ticks = schedule(settings.interval, settings.cron, settings.timezone)
    catchup = _catchup(settings.catchup)
    if catchup > 1 and settings.unless_pending:
        raise ValueError(f"`catchup` {catchup} needs `unless_pending` False: the first job would keep the others away")
    jitter = round(_seconds("jitter", settings.jitter, 0, LONGEST_JITTER, "from 0 to a day") * 1000)
    return Plan(name, ticks, catchup, jitter)


def _catchup(catchup: object) -> int:
    """Return how many ticks `catchup` means. Raises ValueError."""
    if catchup in ("none", "last"):
        return 0 if catchup == "none" else 1
    if isinstance(catchup, bool) or not isinstance(catchup, int) or not 1 <= catchup <= MOST_CAUGHT_UP:
        raise ValueError(f'`catchup` is "none", "last" or a number from 1 to {MOST_CAUGHT_UP}, not {catchup!r}')
    return catchup


def _seconds(name: str, value: object, least: float, most: float, words: str) -> float:
    """Return a number of seconds. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise ValueError(f"`{name}` is seconds {words}, not {value!r}")
    return value


def reckoned(schedule: Schedule, stored: int | None, now: int) -> int | None:
    """Return the tick from which a leader goes on: the stored one, unless it is later than now (a stepped clock)."""
    if stored is not None and stored <= now:
        return stored
    return None if schedule.at_once else schedule.latest(now)
