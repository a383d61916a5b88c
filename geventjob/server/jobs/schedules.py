"""Schedules as data: add, edit, pause, resume and fire them (docs/reference/api.md, "Schedules")."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from geventjob.calendar import stored
from geventjob.cimi.document import Document
from geventjob.clock import cimi_time, now, unix_milliseconds
from geventjob.job.states import FINAL
from geventjob.server.accounts.acl import acl
from geventjob.server.accounts.caller import Caller
from geventjob.server.document import new_document
from geventjob.server.jobs.schedule_schema import MADE, check_whole
from geventjob.server.jobs.service import Jobs
from geventjob.server.problem import Problem, not_found
from geventjob.server.store.base import DuplicateKey, Insert, NoSuchDocument, Store, Update, write_one

AHEAD = 60_000
"""Milliseconds that the clock of a distributor may be ahead of the server's."""


class ScheduleService:
    """The schedules of a server. The caller has checked the rights, but for the right to add the jobs."""

    def __init__(self, store: Store, jobs: Jobs) -> None:
        self._store = store
        self._jobs = jobs

    def add(self, body: Mapping[str, Any]) -> str:
        """Add a schedule from a validated body, and return its id. Raises Problem 409 for a name in use."""
        schedule = new_document(f"schedule/{body['name']}", "Schedule", acl("ROLE", "ADMIN"))
        try:
            write_one(self._store, Insert({**schedule, **body, "since": schedule["created"]}))
        except DuplicateKey:
            raise Problem(409, f"conflict with {schedule['id']}", resource_id=schedule["id"]) from None
        return str(schedule["id"])

    def get(self, id: str) -> Document:
        """Return a schedule. Raises Problem 404."""
        (schedule,) = self._store.get([id])
        if schedule is None:
            raise not_found(id)
        return schedule

    def edit(self, id: str, set: Mapping[str, Any], delete: Sequence[str]) -> Document:
        """Set and delete attributes, and return the schedule. Raises Problem 404, SchemaError."""
        moment = cimi_time(now())

        def change(schedule: Document) -> Document:
            after = {name: value for name, value in schedule.items() if name not in delete}
            after.update(set, name=schedule["name"], updated=moment)
            check_whole(after)
            same = all(after.get(name) == schedule.get(name) for name in stored.TIMING)
            return after if same else after | {"since": moment}

        return self._change(id, change)

    def pause(self, id: str, by: str, why: str | None, until: datetime | None) -> Document:
        """Pause a schedule, paused or not, and return it. Raises Problem 404."""
        moment = cimi_time(now())
        told = {"by": by, "at": moment, "why": why, "until": until and cimi_time(until)}
        paused = {name: value for name, value in told.items() if value is not None}
        return self._change(id, lambda schedule: schedule | {"paused": paused, "updated": moment})

    def resume(self, id: str) -> Document:
        """End the pause of a schedule, and return it. Raises Problem 404, 409 for a schedule that is not paused."""
        moment = cimi_time(now())

        def change(schedule: Document) -> Document:
            if not stored.is_paused(schedule, stored.milliseconds(moment)):
                raise Problem(409, f"{id} is not paused", resource_id=id)
            del schedule["paused"]
            return schedule | {"since": moment, "updated": moment}

        return self._change(id, change)

    def delete(self, id: str) -> None:
        """Delete a schedule. Raises Problem 404."""
        try:
            write_one(self._store, Update(id, lambda schedule: None))
        except NoSuchDocument:
            raise not_found(id) from None

    # --- fire

    def fire_tick(self, id: str, tick: int, caller: Caller) -> str | None:
        """Make the job of a tick, once, and return its id; None where the last job is pending and keeps it away.

        Raises Problem 404; 409 for a tick that must not fire (any more); the problems of an add.
        """
        schedule = self.get(id)
        if _check(schedule, tick, unix_milliseconds()):
            return _last_job(schedule)
        pending = schedule.get("unlessPending") and self._is_pending(_last_job(schedule))
        job = None if pending else self._made(schedule, f"{id}@{tick}", caller)

        def change(schedule: Document) -> Document:
            if schedule.get("tick", -1) == tick:
                return schedule
            told = {"job": job} if job else {"pending": _last_job(schedule)}
            return schedule | {"tick": tick, "fired": {"at": cimi_time(now()), "tick": stored.date_of(tick), **told}}

        self._change(id, change)
        return job

    def fire_now(self, id: str, key: str, caller: Caller) -> str:
        """Make a job now, paused or not, once for each key, and return its id. Raises Problem 404 and those of an add.

        The ticks do not change.
        """
        job = self._made(self.get(id), f"{id}@fire:{key}", caller)
        (made,) = self._store.get([job])
        fired = {"at": made["created"] if made else "", "by": caller.username, "job": job}

        def change(schedule: Document) -> Document:
            is_last = fired["at"] > schedule.get("fired", {}).get("at", "")
            return schedule | {"fired": fired} if is_last else schedule

        self._change(id, change)
        return job

    def _made(self, schedule: Document, key: str, caller: Caller) -> str:
        """Add a job of a schedule, unless there is one with this key, and return its id. Raises Problem."""
        job = {name: schedule[name] for name in MADE if name in schedule}
        body = job | {"name": schedule["name"], "idempotencyKey": key}
        (added,) = self._jobs.add([body], caller)
        if isinstance(added, Problem) and added.status == 409 and added.resource_id:
            return added.resource_id  # made before the schedule was edited
        if isinstance(added, Exception):
            raise added
        return added

    def _is_pending(self, job: str | None) -> bool:
        """Return whether a job is there and not final."""
        (found,) = self._store.get([job]) if job else [None]
        return found is not None and found["state"] not in FINAL

    def _change(self, id: str, change: Callable[[Document], Document]) -> Document:
        """Change a schedule, and return it. Raises Problem 404 and the errors of the change."""
        try:
            changed = write_one(self._store, Update(id, change))
        except NoSuchDocument:
            raise not_found(id) from None
        assert changed is not None
        return changed


def _last_job(schedule: Document) -> str | None:
    """Return the job that a schedule made last, or that kept its last firing away."""
    fired: Mapping[str, str] = schedule.get("fired", {})
    return fired.get("job") or fired.get("pending")


def _check(schedule: Document, tick: int, moment: int) -> bool:
    """Return whether this tick is the last one that fired. Raises Problem 409 for a tick that must not fire."""
    id, fired = schedule["id"], schedule.get("tick")
    if tick == fired:
        return True
    if tick > moment + AHEAD:
        why = "the tick lies in the future"
    elif stored.is_paused(schedule, moment):
        why = "the schedule is paused"
    elif tick <= stored.begin(schedule):
        why = "the tick is older than the schedule, its last edit or the end of its pause"
    elif fired is not None and tick < fired <= moment + AHEAD:
        why = "a later tick has fired"
    else:
        return False
    raise Problem(409, f"{id}: {why}", resource_id=id)
