"""The ticks of a distributor, fired while this process leads (docs/reference/distributors.md, "Ticks")."""

from __future__ import annotations

import logging
from typing import Any

from gevent.event import Event

from geventjob.calendar.schedule import Plan, reckoned
from geventjob.calendar.stored import date_of
from geventjob.cimi.client import Client
from geventjob.clock import boottime, unix_milliseconds
from geventjob.coordination.base import Coordination, Leadership
from geventjob.coordination.requests import Requests
from geventjob.plugins import Distributor
from geventjob.scheduling.firing import Firing, gathered, without_pending
from geventjob.scheduling.patience import NotLeading, patiently
from geventjob.scheduling.traces import span_of_firing

log = logging.getLogger(__name__)

LONGEST_SLEEP = 1.0
"""Seconds after which the clock is read again, as it may have been stepped, and requests to fire are looked for."""
TIMING = ("interval", "cron", "timezone", "catchup", "jitter")
"""Attributes of a distributor that tell when it fires."""
KEPT = 20
"""Requests whose keys the note keeps, so that a request that is repeated fires no second time."""
NAMED = 5
"""Jobs that the note names."""


class Ticking:
    """The work of one distributor, during one leadership after the other."""

    def __init__(self, plan: Plan, distributor: Distributor, client: Client, coordination: Coordination) -> None:
        self._plan = plan
        self._name = plan.name
        self._distributor = distributor
        self._client = client
        self._coordination = coordination
        self._fired: int | None = None
        self._instead: int | None = None
        self._set_back = False
        self._firing: Firing | None = None
        self._renewal: tuple[Plan, Distributor] | None = None
        self._renewed = Event()
        self._note: dict[str, Any] = {}
        self._requests = Requests(plan.name, coordination)
        self._looked = 0.0

    @property
    def timing(self) -> dict[str, Any]:
        """When the distributor fires, as its process announces."""
        _, distributor = self._renewal or (self._plan, self._distributor)
        found = {name: getattr(distributor, name) for name in TIMING}
        return {name: value for name, value in found.items() if value is not None}

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
                    self._look_for_request(leadership)
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
        self._note = self._coordination.load_note(self._name) or {}
        stored = self._note.get("tick")
        now = unix_milliseconds()
        self._fired = stored if isinstance(stored, int) else reckoned(self._plan.schedule, None, now)
        self._set_back = False

    def _due(self) -> int | None:
        """Return the tick to fire now, if there is one."""
        now = unix_milliseconds()
        return next(iter(self._plan.due(self._last_fired(now), now)), None)

    def _last_fired(self, now: int) -> int | None:
        """Return the tick that fired last.

        While this tick is later than now, as a clock was set, return the tick from which to go on. The later one counts
        again when the clock is right before a tick has fired.
        """
        if self._fired is None or self._fired <= now:
            self._set_back = False
            return self._fired
        if not self._set_back:
            log.warning("%s: the last fired tick %d is later than now, and is ignored", self._name, self._fired)
            self._set_back, self._instead = True, reckoned(self._plan.schedule, self._fired, now)
        return self._instead

    def _until_next(self) -> float:
        """Return the seconds until a tick fires, LONGEST_SLEEP at most."""
        now = unix_milliseconds()
        moment = self._plan.next(now)
        return LONGEST_SLEEP if moment is None else min(LONGEST_SLEEP, (moment - now) / 1000)

    # --- firing

    def _look_for_request(self, leadership: Leadership) -> None:
        """Fire if a request asks for it; look each LONGEST_SLEEP at most. Raises NotLeading."""
        if boottime() - self._looked >= LONGEST_SLEEP:
            patiently(self._name, leadership, lambda: self._fire_on_request(leadership))
            self._looked = boottime()

    def _fire(self, leadership: Leadership) -> None:
        """Try to fire the first tick that is due now. `catchup` says which of the ticks are due that passed before.

        Raises CimiError, CoordinationAway, NotLeading.
        """
        tick = self._due()
        if tick is None:
            return
        with span_of_firing(self._name):
            firing = self._begun(tick, tick)
            added = firing.add(self._client, lambda: leadership.held)
        self._save(leadership, {"tick": tick, "fired": {**told(firing), "tick": date_of(tick)}})
        self._fired, self._set_back = tick, False
        log.info("%s fired its tick %d: %d jobs", self._name, tick, added)

    def _fire_on_request(self, leadership: Leadership) -> None:
        """Fire once for each key of a request. Raises CimiError, CoordinationAway, NotLeading."""
        request = self._requests.look()
        if request is None or request.key in self._note.get("fires", {}):
            return
        with span_of_firing(self._name):
            firing = self._begun(f"fire:{request.key}", request.at)
            firing.add(self._client, lambda: leadership.held)
        fired = {**told(firing), "by": request.by}
        fires = dict([*self._note.get("fires", {}).items(), (request.key, fired)][-KEPT:])
        self._save(leadership, {"fired": fired, "fires": fires})
        log.info("%s fired on request of %s: %d jobs", self._name, request.by, len(firing.made))

    def _begun(self, tick: int | str, moment: int) -> Firing:
        """Return the firing of a tick, or of a request, with the jobs of this moment. Raises CimiError."""
        if self._firing is None or self._firing.tick != tick:
            self._distributor.tick = self._plan.local(moment)
            jobs = gathered(self._name, tick, self._distributor.jobs)
            kept = without_pending(self._client, jobs) if self._distributor.unless_pending else jobs
            self._firing = Firing(self._name, tick, kept)
        return self._firing

    def _save(self, leadership: Leadership, change: dict[str, Any]) -> None:
        """Change the note for the next leader. Raises CoordinationAway, NotLeading."""
        if not leadership.held:  # the next leader may have stored a later tick
            raise NotLeading
        note = self._note | change
        self._coordination.save_note(self._name, note)
        self._note = note


def told(firing: Firing) -> dict[str, Any]:
    """Return what the note tells of a firing: when it was, how many jobs it made, and the first of them."""
    return {"at": date_of(unix_milliseconds()), "made": len(firing.made), "jobs": firing.made[:NAMED]}
