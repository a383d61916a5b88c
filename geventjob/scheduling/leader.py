"""Of all processes that run a distributor of one name, one leads; only that one creates jobs (DESIGN §8)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

import gevent

from geventjob.coordination.base import Coordination, CoordinationAway, Leadership

log = logging.getLogger(__name__)

LOOK = 0.1
"""Seconds between two looks whether this process still leads."""
RESIGNING = 1.0
"""Seconds for which the others are told so; whom that does not reach sees the end of the session."""
ENDING = 10.0
"""Seconds that a distributor's code gets to end when this process leads no longer."""


class Leader:
    """Stands for election again and again, and does the work while it leads."""

    def __init__(
        self, election: str, coordination: Coordination, work: Callable[[Leadership], None], name: str | None = None
    ) -> None:
        """`name`: of the distributor, where that is not the name of the election."""
        self._election = election
        self._name = name or election
        self._coordination = coordination
        self._work = work

    def run(self) -> None:
        """For ever, until it is killed; resigns then. What `work` raises ends it too."""
        while True:
            leadership = self._coordination.lead(self._election)
            if leadership is None:
                continue
            log.info("%s: %s leads", self._name, self._coordination.name)
            try:
                self._work_while(leadership)
            finally:
                with suppress(CoordinationAway):
                    gevent.with_timeout(RESIGNING, leadership.resign, timeout_value=None)
                log.info("%s: %s leads no longer", self._name, self._coordination.name)

    def _work_while(self, leadership: Leadership) -> None:
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
                log.error("%s: its code swallows its end; what it still creates is not added", self._name)
