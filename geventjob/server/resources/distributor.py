"""`distributor`: the distributors of the live processes, when each fires, and what it made last."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import falcon
import gevent

from geventjob.calendar.schedule import plan
from geventjob.calendar.stored import date_of
from geventjob.cimi.document import Document
from geventjob.clock import boottime, unix_milliseconds
from geventjob.coordination.base import Coordination
from geventjob.coordination.requests import Requests
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.http.decode import decode_as
from geventjob.server.http.request_body import read_body
from geventjob.server.http.response import result_of, set_json
from geventjob.server.problem import Problem, not_found, unavailable
from geventjob.server.resources.bodies import FireBody

PATIENCE = 5.0
"""Seconds for the leader to fire: it looks each second, and the jobs take a moment."""
LOOK = 0.1
"""Seconds between two looks for the answer of the leader."""
UNSET_TIMING = {
    "interval": None,
    "cron": None,
    "timezone": None,
    "catchup": "last",
    "jitter": 0,
    "unless_pending": False,
}


class DistributorResource:
    """The distributors that live processes have announced."""

    def __init__(self, coordination: Coordination, sessions: Sessions) -> None:
        self._coordination = coordination
        self._sessions = sessions

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Respond with all distributors, for callers who see everything."""
        self._sessions.reader_of(req)
        found = self._found()
        for each in found.values():
            self._add_firings(each)
        set_json(resp, {"distributors": list(found.values())})

    def on_post_fire(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Let the leader of a distributor fire now, once for each key, and respond with what it made."""
        caller = self._sessions.admin_of(req)
        key = decode_as(FireBody, read_body(req) or b"{}").idempotency_key
        answer = self._fired(name, key, caller.username or "")
        set_json(
            resp, result_of(f"distributor/{name}", "fired", 200) | {"jobs": answer["jobs"], "made": answer["made"]}
        )

    def _fired(self, name: str, key: str, by: str) -> Document:
        """Return what the leader made for a key. Raises Problem 404, 409, 503."""
        self._check(name)
        requests, end = Requests(name, self._coordination), boottime() + PATIENCE
        while boottime() < end:
            if (answer := requests.answer(key)) is not None:
                return answer
            requests.ask(key, by)
            gevent.sleep(LOOK)
        raise unavailable(f"distributor/{name} has not fired in {PATIENCE:g} s: repeat with the same idempotencyKey")

    def _check(self, name: str) -> None:
        """Raise Problem 404, 409 unless a leader may fire this distributor."""
        id, found = f"distributor/{name}", self._found().get(name)
        if found is None:
            raise not_found(id)
        if not {"interval", "cron"} & found.keys():
            raise Problem(409, f"{id} has no ticks of its own and cannot be fired", resource_id=id)
        if "leader" not in found:
            raise Problem(409, f"{id} has no leader at present", resource_id=id)

    def _found(self) -> dict[str, Document]:
        """Return the distributors by name, each with its processes and its leader. The leader's timing counts."""
        members = self._coordination.members("distributors")
        found: dict[str, Document] = {}
        for process, info in sorted(members.items()):
            for name in info.get("distributors", ()):
                election = info.get("elections", {}).get(name, name)
                one = found.setdefault(name, {"name": name, "election": election, "processes": []})
                one["processes"].append(process)
        leaders = self._coordination.leaders(sorted({each["election"] for each in found.values()})) if found else {}
        for name, one in found.items():
            leader = leaders.get(one["election"])
            if leader in one["processes"]:
                one["leader"] = leader
            one.update(members[one.get("leader", one["processes"][0])].get("timing", {}).get(name, {}))
        return dict(sorted(found.items()))

    def _add_firings(self, distributor: Document) -> None:
        """Add the last and the next firing to a distributor with ticks, in place."""
        settings = SimpleNamespace(**{name: distributor.get(name, value) for name, value in UNSET_TIMING.items()})
        try:
            following = plan(distributor["name"], settings).next(unix_milliseconds())
        except ValueError:  # without ticks, or of another version
            return
        if following is not None:
            distributor["next"] = date_of(following)
        note: dict[str, Any] = self._coordination.load_note(distributor["name"]) or {}
        tick = note.get("tick")
        fired = note.get("fired") or ({"tick": date_of(tick)} if isinstance(tick, int) else None)
        if fired:
            distributor["fired"] = fired
