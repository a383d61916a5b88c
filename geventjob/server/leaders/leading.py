"""Work that one server does for all: rounds at intervals, while this server leads an election."""

from __future__ import annotations

from collections.abc import Callable

from gevent.event import Event

from geventjob.backoff import Trouble
from geventjob.clock import boottime
from geventjob.coordination.base import Coordination, CoordinationError, Leadership
from geventjob.server.store.base import StoreError

LOOK = 1.0
"""Most seconds between two checks of the leadership during a pause."""


def at_intervals(work: Callable[[], object], seconds: float) -> Callable[[], float]:
    """Return the work of a LeaderTask whose rounds follow each other at a fixed interval."""

    def round() -> float:
        work()
        return seconds

    return round


class LeaderTask:
    """Rounds of work while this server leads an election."""

    def __init__(self, coordination: Coordination, election: str, work: Callable[[], float], trouble: Trouble) -> None:
        """Do nothing yet. `work()` does one round, and returns the seconds until the next round.

        After a StoreError or CoordinationError of `work` the next round follows when the pause of `trouble` is over.
        """
        self._coordination = coordination
        self._election = election
        self._work = work
        self._trouble = trouble
        self._leadership: Leadership | None = None
        self._woken = Event()

    @property
    def leads(self) -> bool:
        """Return whether this server leads the election."""
        return self._leadership is not None and self._leadership.held

    @property
    def leadership(self) -> Leadership | None:
        """The last leadership of this server; None before the first."""
        return self._leadership

    def keep(self) -> None:
        """Do rounds for ever. Does not return."""
        while True:
            try:
                if not self.leads:
                    self._leadership = self._coordination.lead(self._election)
                    continue
                self._woken.clear()
                pause = self._work()
                self._trouble.end()
            except (StoreError, CoordinationError) as error:
                pause = self._trouble.pause(str(error))
            self._rest(pause)

    def wake(self) -> None:
        """Begin the next round now, if this server leads."""
        self._woken.set()

    def _rest(self, seconds: float) -> None:
        """Wait until the leadership ends at most: its end may mean that coordination has lost its data."""
        until, led = boottime() + seconds, self.leads
        while (left := until - boottime()) > 0 and led == self.leads and not self._woken.wait(min(LOOK, left)):
            pass
