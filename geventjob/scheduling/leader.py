"""The election of a distributor: of all processes that run it, only the leader creates jobs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

import gevent

from geventjob.coordination.base import Coordination, CoordinationAway, Leadership

log = logging.getLogger(__name__)

LOOK = 0.1
"""Seconds between two checks whether this process still leads."""
RESIGNING = 1.0
"""Seconds for the resignation to reach the others; otherwise they see the end of the session."""
ENDING = 10.0
"""Seconds for a distributor's code to end once this process leads no longer."""


class Leader:
    """A candidate in an election, again after each leadership, that works while it leads."""

    def __init__(
        self, election: str, coordination: Coordination, work: Callable[[Leadership], None], name: str | None = None
    ) -> None:
        """Set the work. `name`: of the distributor, by default the name of the election."""
        self._election = election
        self._name = name or election
        self._coordination = coordination
        self._work = work
        self.leads = False
        """Whether this process leads the election."""

    def run(self) -> None:
        """Be a candidate or the leader until killed, then resign. Errors of `work` are raised."""
        while True:
            leadership = self._coordination.lead(self._election)
            if leadership is None:
                continue
            log.info("%s: %s leads", self._name, self._coordination.name)
            self.leads = True
            try:
                self._work_while(leadership)
            finally:
                self.leads = False
                with suppress(CoordinationAway):
                    gevent.with_timeout(RESIGNING, leadership.resign, timeout_value=None)
                log.info("%s: %s leads no longer", self._name, self._coordination.name)

    def _work_while(self, leadership: Leadership) -> None:
        """Work until the leadership ends. Errors of `work` are raised."""
        work = gevent.spawn(self._work, leadership)
        work.name = f"distributor {self._name}"
        try:
            while leadership.held and not work.ready():
                work.join(LOOK)
            if work.ready():
                work.get()
        finally:
            work.kill(timeout=ENDING)
            if not work.ready():
                log.error("%s: its code swallows its end; further jobs of it are not added", self._name)
