"""The schedule of a distributor: its ticks, in Unix milliseconds, the same in every process.

Processes of one name come to the same ticks without communication, so an interval is counted from the epoch and a
crontab line is read in UTC.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from geventjob.scheduling import crontab
from geventjob.scheduling.crontab import Crontab

LONGEST_INTERVAL = 10 * 366 * 86_400.0
MINUTE = 60_000
"""Milliseconds."""


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
    """The minutes of a crontab line in UTC. A new distributor waits for its first tick, which may be at night."""

    crontab: Crontab
    at_once = False

    def latest(self, now: int) -> int | None:
        return _tick(self.crontab.latest(now // MINUTE))

    def following(self, now: int) -> int | None:
        return _tick(self.crontab.following(now // MINUTE))


def _tick(minute: int | None) -> int | None:
    """Return the tick of a minute."""
    return None if minute is None else minute * MINUTE


def schedule(interval: object, cron: object) -> Schedule:
    """Return the schedule of a distributor's `interval` (seconds) or `cron`. Raises ValueError."""
    if (interval is None) == (cron is None):
        raise ValueError("expected either `interval`, seconds, or `cron`, a crontab line")
    if cron is not None:
        return _cron(cron)
    if isinstance(interval, bool) or not isinstance(interval, (int, float)) or not 0.001 <= interval < LONGEST_INTERVAL:
        raise ValueError(f"`interval` is seconds from 0.001 to ten years, not {interval!r}")
    return Every(round(interval * 1000))


def _cron(line: object) -> Cron:
    """Return the schedule of a crontab line. Raises ValueError."""
    if not isinstance(line, str):
        raise ValueError(f"`cron` is a crontab line as '0 3 * * *', not {line!r}")
    try:
        return Cron(crontab.parse(line))
    except ValueError as error:
        raise ValueError(f"`cron` {line!r}: {error}") from None


def reckoned(schedule: Schedule, stored: int | None, now: int) -> int | None:
    """Return the tick from which a leader goes on: the stored one, unless it is later than now (a stepped clock)."""
    if stored is not None and stored <= now:
        return stored
    return None if schedule.at_once else schedule.latest(now)


def due(schedule: Schedule, fired: int | None, now: int) -> int | None:
    """Return the tick to fire at `now`, or None; ticks between `fired`, the last one, and this tick collapse."""
    latest = schedule.latest(now)
    return latest if latest is not None and (fired is None or latest > fired) else None
