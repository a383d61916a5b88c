"""The ticks of a distributor, fired while this process leads (docs/reference/distributors.md, "Ticks")."""

from __future__ import annotations

import logging
import time
from typing import Any

from gevent.event import Event

from geventjob.calendar.schedule import Plan, reckoned
from geventjob.cimi.client import Client
from geventjob.coordination.base import Coordination, Leadership
from geventjob.plugins import Distributor
from geventjob.scheduling.firing import Firing, gathered, without_pending
from geventjob.scheduling.patience import NotLeading, patiently

log = logging.getLogger(__name__)

LONGEST_SLEEP = 10.0
"""Seconds after which the clock is read again: it may have been stepped."""


class Ticking:
    """The work of one distributor, during one leadership after the other."""

    def __init__(self, plan: Plan, distributor: Distributor, client: Client, coordination: Coordination) -> None:
        self._plan = plan
        self._name = plan.name
        self._distributor = distributor
        self._client = client
        self._coordination = coordination
        self._fired: int | None = None
        self._firing: Firing | None = None
        self._renewal: tuple[Plan, Distributor] | None = None
        self._renewed = Event()

    def renew(self, other: Ticking) -> None:
        """Go on with the plan and the distributor of another, after the firing that is under way, if there is one."""
        self._renewal = other._plan, other._distributor
        self._renewed.set()

    def __call__(self, leadership: Leadership) -> None:
        """Fire tick after tick until this process leads no longer."""
        self._firing = None
        try:
            self._begin(leadership)
            while leadership.held:
                if self._renewal:
                    self._begin(leadership)
                elif self._due() is None:
                    self._renewed.wait(self._until_next())
                else:
                    patiently(self._name, leadership, lambda: self._fire(leadership))
        except NotLeading:
            log.warning("%s: leadership was lost, nothing more is created", self._name)

    def _begin(self, leadership: Leadership) -> None:
        """Begin with the plan of a renewal, if there was one, and with the tick that fired last. Raises NotLeading."""
        if self._renewal:
            (self._plan, self._distributor), self._renewal = self._renewal, None
            self._renewed.clear()
        patiently(self._name, leadership, self._load_tick)

    # --- ticks

    def _load_tick(self) -> None:
        """Load the tick that the last leader fired. Raises CoordinationAway."""
        note = self._coordination.load_note(self._name) or {}
        stored = note.get("tick")
        self._reckon(stored if isinstance(stored, int) else None)

    def _reckon(self, stored: int | None) -> None:
        """Set the last tick that fired, from a stored one."""
        now = _now()
        if stored is not None and stored > now:
            log.warning("%s: the last fired tick %d is later than now, and is ignored", self._name, stored)
        self._fired = reckoned(self._plan.schedule, stored, now)

    def _due(self) -> int | None:
        """Return the tick to fire now, if there is one."""
        now = _now()
        if self._fired is not None and self._fired > now:
            self._reckon(self._fired)
        return next(iter(self._plan.due(self._fired, now)), None)

    def _until_next(self) -> float:
        """Return the seconds until a tick fires, LONGEST_SLEEP at most."""
        now = _now()
        moment = self._plan.next(now)
        return LONGEST_SLEEP if moment is None else min(LONGEST_SLEEP, (moment - now) / 1000)

    # --- firing

    def _fire(self, leadership: Leadership) -> None:
        """Try to fire the first tick that is due now. `catchup` says which of the ticks are due that passed before.

        Raises CimiError, CoordinationAway, NotLeading.
        """
        tick = self._due()
        if tick is None:
            return
        if self._firing is None or self._firing.tick != tick:
            self._firing = Firing(self._name, tick, self._jobs(tick))
        added = self._firing.add(self._client, lambda: leadership.held)
        if not leadership.held:  # the next leader may have stored a later tick
            raise NotLeading
        self._coordination.save_note(self._name, {"tick": tick})
        self._fired = tick
        log.info("%s fired its tick %d: %d jobs", self._name, tick, added)

    def _jobs(self, tick: int) -> list[Any]:
        """Return the jobs of a tick, without jobs that are pending. Raises CimiError."""
        self._distributor.tick = self._plan.local(tick)
        jobs = gathered(self._name, tick, self._distributor.jobs)
        return without_pending(self._client, jobs) if self._distributor.unless_pending else jobs


def _now() -> int:
    """Return the wall-clock time in Unix milliseconds."""
    return time.time_ns() // 1_000_000
