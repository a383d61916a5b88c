"""Schedules as data: add, edit, pause, resume and fire them (docs/reference/api.md, "Schedules")."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from geventjob.server.problem import Problem, not_found, unavailable
from geventjob.server.store.base import DuplicateKey, Insert, NoSuchDocument, Store, Update, write_one

AHEAD = 60_000
"""Milliseconds that the clock of a distributor may be ahead of the server's."""


@dataclass(frozen=True)
class Tick:
    """A tick of a schedule."""

    id: str
    """The id of the schedule."""
    tick: int
    """Unix milliseconds."""


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

    def fire_ticks(self, ticks: Sequence[Tick], caller: Caller) -> list[str | Exception | None]:
        """Make the job of each tick, once; return its id, or None where the last job is pending and keeps it away.

        An error of one tick is its result: Problem 404, Problem 409 for a tick that must not fire (any more), the
        errors of an add. Raises StoreAway, CoordinationAway.
        """
        schedules = self._store.get([tick.id for tick in ticks])
        last = self._pending([schedule for schedule in schedules if schedule and schedule.get("unlessPending")])
        results: dict[int, str | Exception | None] = {}
        to_make: list[tuple[int, Document]] = []
        for index, (tick, schedule) in enumerate(zip(ticks, schedules, strict=True)):
            refusal = not_found(tick.id) if schedule is None else _refusal(schedule, tick.tick, unix_milliseconds())
            if schedule is None or refusal:
                results[index] = refusal
            elif tick.tick == schedule.get("tick"):
                results[index] = _last_job(schedule)
            elif _last_job(schedule) in last:
                results[index] = None
            else:
                to_make.append((index, _job(schedule, f"{tick.id}@{tick.tick}")))
        made = self._made([job for _, job in to_make], caller)
        results |= zip([index for index, _ in to_make], made, strict=True)
        keepers = {index: keeper for index, result in results.items() if (keeper := _keeper(result))}
        results |= dict.fromkeys(keepers)
        pending = [
            keepers.get(index) or (_last_job(schedule) if schedule else None)
            for index, schedule in enumerate(schedules)
        ]
        return self._noted(ticks, [results[index] for index in range(len(ticks))], pending)

    def _noted(
        self, ticks: Sequence[Tick], results: list[str | Exception | None], pending: Sequence[str | None]
    ) -> list[str | Exception | None]:
        """Note the ticks that have fired, and return the results; `pending`: the jobs that keep others away.

        Raises StoreAway.
        """
        moment = cimi_time(now())

        def note(tick: int, job: str | None, pending: str | None) -> Callable[[Document], Document]:
            def change(schedule: Document) -> Document:
                if schedule.get("tick") == tick:
                    return schedule
                told = {"job": job} if job else {"pending": pending}
                return schedule | {"tick": tick, "fired": {"at": moment, "tick": stored.date_of(tick), **told}}

            return change

        fired = {index: job for index, job in enumerate(results) if not isinstance(job, Exception)}
        updates = [
            Update(ticks[index].id, note(ticks[index].tick, job, pending[index])) for index, job in fired.items()
        ]
        for index, written in zip(fired, self._store.write(updates) if updates else [], strict=True):
            if isinstance(written, Exception):
                results[index] = not_found(ticks[index].id) if isinstance(written, NoSuchDocument) else written
        return results

    def fire_now(self, id: str, key: str, caller: Caller) -> str:
        """Make a job now, paused or not, once for each key, and return its id. Raises Problem 404 and those of an add.

        The ticks do not change.
        """
        (job,) = self._made([_job(self.get(id), f"{id}@fire:{key}")], caller)
        if isinstance(job, Exception):
            raise job
        (made,) = self._store.get([job])
        fired = {"at": made["created"] if made else "", "by": caller.username, "job": job}

        def change(schedule: Document) -> Document:
            is_last = fired["at"] > schedule.get("fired", {}).get("at", "")
            return schedule | {"fired": fired} if is_last else schedule

        self._change(id, change)
        return job

    def _made(self, jobs: Sequence[Document], caller: Caller) -> list[str | Exception]:
        """Add jobs, unless there is one with the key, and return the id or the error of each."""
        added = self._jobs.add(jobs, caller) if jobs else []
        return [_existing(each) or each for each in added]

    def _pending(self, schedules: Sequence[Document]) -> set[str]:
        """Return which of the last jobs of these schedules are there and not final."""
        ids = [job for schedule in schedules if (job := _last_job(schedule))]
        return {job["id"] for job in self._store.get(ids) if job and job["state"] not in FINAL} if ids else set()

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


def _job(schedule: Document, key: str) -> Document:
    """Return the body of a job of a schedule."""
    job = {name: schedule[name] for name in MADE if name in schedule}
    return job | {"name": schedule["name"], "idempotencyKey": key}


def _existing(added: str | Exception) -> str | None:
    """Return the job that has the key already: it was made before the schedule was edited."""
    made = isinstance(added, Problem) and added.status == 409 and added.reason is None
    return added.resource_id if isinstance(added, Problem) and made else None


def _keeper(result: str | Exception | None) -> str | None:
    """Return the job with the same unique values that keeps the job of a tick away."""
    return result.resource_id if isinstance(result, Problem) and result.reason == "unique" else None


def _refusal(schedule: Document, tick: int, moment: int) -> Problem | None:
    """Return the 409 for a tick that must not fire, and the 503 for one that is too early.

    None for a tick that may fire, and for the last one that fired.
    """
    id, fired = schedule["id"], schedule.get("tick")
    if tick == fired:
        return None
    if tick > moment + AHEAD:
        return unavailable(f"{id}: the tick lies in the future: the clocks differ")
    if stored.is_paused(schedule, moment):
        why = "the schedule is paused"
    elif tick <= stored.begin(schedule):
        why = "the tick is older than the schedule, its last edit or the end of its pause"
    elif fired is not None and tick < fired <= moment + AHEAD:
        why = "a later tick has fired"
    else:
        return None
    return Problem(409, f"{id}: {why}", resource_id=id)
