"""`schedule`: schedules as data. Administrators write them; callers who see everything read them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import falcon

from geventjob.calendar import stored
from geventjob.cimi.document import Document
from geventjob.clock import unix_milliseconds
from geventjob.server.accounts.acl import acl
from geventjob.server.accounts.caller import Caller
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.document import operation, public
from geventjob.server.http.decode import decode, decode_as
from geventjob.server.http.errors import problem_of
from geventjob.server.http.request_body import read_body
from geventjob.server.http.response import result_of, set_json, set_result
from geventjob.server.jobs.schedule_schema import deletable, validate_schedule, validate_schedule_edit
from geventjob.server.jobs.schedules import ScheduleService, Tick
from geventjob.server.problem import Problem
from geventjob.server.resources.bodies import Body, BulkFireBody, FireBody, PauseBody
from geventjob.server.resources.collection import collection, one
from geventjob.server.resources.moments import future
from geventjob.server.resources.search_parameters import parameters, search_query, selection
from geventjob.server.store.base import Store

_ACL = acl("ROLE", "ADMIN")
ACTIONS = ("pause", "resume", "fire")
"""The operations on a schedule besides edit and delete."""


class ScheduleResource:
    """Requests for schedules."""

    def __init__(self, store: Store, schedules: ScheduleService, sessions: Sessions) -> None:
        self._store = store
        self._schedules = schedules
        self._sessions = sessions

    def on_post_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Add a schedule."""
        self._sessions.admin_of(req)
        set_result(resp, self._schedules.add(validate_schedule(decode(read_body(req)))), "created", 201)

    def on_get_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Search the schedules."""
        caller = self._sessions.reader_of(req)
        given, wanted = search_query(req, caller)
        if wanted.select is not None:
            wanted = replace(wanted, select=[*wanted.select, *stored.NEEDED])
        page = self._store.search("schedule", wanted)
        page.documents[:] = map(_shown, page.documents)
        answer = collection(
            "schedule",
            page,
            acl=_ACL,
            operations=[operation("add", "schedule")] if caller.is_admin else [],
            item_operations=lambda schedule: _operations(schedule, caller),
            select=selection(given),
        )
        set_json(resp, answer)

    on_put_all = on_get_all

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Respond with one schedule."""
        caller = self._sessions.reader_of(req)
        schedule = _shown(self._schedules.get(f"schedule/{name}"))
        set_json(resp, one(req, schedule, _operations(schedule, caller)))

    def on_put(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Edit a schedule, and respond with it; attributes that `$select` names and the body lacks are deleted."""
        self._sessions.admin_of(req)
        change = validate_schedule_edit(decode(read_body(req)))
        named = deletable([path for path in selection(parameters(req)) or () if path not in change])
        set_json(resp, public(_shown(self._schedules.edit(f"schedule/{name}", change, named))))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Delete a schedule. Its jobs stay."""
        self._sessions.admin_of(req)
        self._schedules.delete(f"schedule/{name}")
        set_result(resp, f"schedule/{name}", "deleted")

    def on_post_action(self, req: falcon.Request, resp: falcon.Response, name: str, action: str) -> None:
        """Pause, resume or fire a schedule."""
        caller = self._sessions.admin_of(req)
        if action not in ACTIONS:
            message = f'undefined action (post, ["schedule" "{action}"]) for {req.path}'
            raise Problem(404, message, resource_id=req.path)
        set_json(resp, getattr(self, f"_{action}")(f"schedule/{name}", read_body(req) or b"{}", caller))

    def _pause(self, id: str, body: bytes, caller: Caller) -> Document:
        given = decode_as(PauseBody, body)
        why = given.why if isinstance(given.why, str) else None
        until = future("until", given.until) if isinstance(given.until, str) else None
        return public(_shown(self._schedules.pause(id, caller.username or "", why, until)))

    def _resume(self, id: str, body: bytes, caller: Caller) -> Document:
        decode_as(Body, body)
        return public(_shown(self._schedules.resume(id)))

    def _fire(self, id: str, body: bytes, caller: Caller) -> dict[str, Any]:
        job = self._schedules.fire_now(id, decode_as(FireBody, body).idempotency_key, caller)
        return _fired(id, job)

    def on_post_fire(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make the jobs of ticks: `{"ticks": […]}`."""
        caller = self._sessions.admin_of(req)
        ticks = [Tick(each.id, each.tick) for each in decode_as(BulkFireBody, read_body(req)).ticks]
        results = self._schedules.fire_ticks(ticks, caller)
        answers = [
            problem_of(result).body() if isinstance(result, Exception) else _fired(tick.id, result)
            for tick, result in zip(ticks, results, strict=True)
        ]
        set_json(resp, {"results": answers})


def _fired(id: str, job: str | None) -> dict[str, Any]:
    """Return the result of a firing."""
    return result_of(id, "fired", 200) | {"jobs": [job] if job else []}


def _shown(schedule: Document) -> Document:
    """Return a schedule with its next moment. A pause that is over shows as `since` alone."""
    present = unix_milliseconds()
    if "paused" in schedule and not stored.is_paused(schedule, present):
        begin = stored.date_of(stored.begin(schedule))
        schedule = {name: value for name, value in schedule.items() if name != "paused"} | {"since": begin}
    next = stored.next_moment(schedule, present)
    return schedule if next is None else schedule | {"next": stored.date_of(next)}


def _operations(schedule: Document, caller: Caller) -> list[dict[str, str]]:
    id = schedule["id"]
    own = [operation(rel, id) for rel in ("edit", "delete")]
    return [*own, *(operation(rel, f"{id}/{rel}") for rel in ACTIONS)] if caller.is_admin else []
