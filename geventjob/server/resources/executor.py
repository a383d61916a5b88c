"""`executor`: orders to live executors: quiet, resume, stop. For administrators."""

from __future__ import annotations

import difflib
from collections.abc import Collection

import falcon
from msgspec import UNSET

from geventjob.coordination.base import Coordination
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.http.decode import decode_as
from geventjob.server.http.request_body import read_body
from geventjob.server.http.response import set_result
from geventjob.server.problem import Problem
from geventjob.server.resources.bodies import OrderBody

ORDERS = ("quiet", "resume", "stop")
NAMED = 3
"""Most names of live executors in an error."""


class ExecutorResource:
    """The live executors, as receivers of orders."""

    def __init__(self, coordination: Coordination, sessions: Sessions) -> None:
        self._coordination = coordination
        self._sessions = sessions

    def on_post(self, req: falcon.Request, resp: falcon.Response, name: str, order: str) -> None:
        """Send an order to a live executor, which carries the order out within moments."""
        caller = self._sessions.admin_of(req)
        if order not in ORDERS:
            raise Problem(404, f"unknown order {order!r}: expected one of {', '.join(ORDERS)}")
        why = decode_as(OrderBody, read_body(req) or b"{}").why
        live = self._coordination.members("executors")
        if name not in live:
            raise _unknown(name, live)
        if order != "stop" and (live[name].get("quiet") or {}).get("state") == "draining":
            raise Problem(409, f"executor/{name} drains: it takes no more jobs, and ends when its jobs have ended")
        # The process, not only its name: a message outlives its receiver, and must not stop the next process.
        to = {key: live[name].get(key) for key in ("host", "pid", "since")}
        message = {"order": order, "to": to, "by": caller.username, "why": None if why is UNSET else why}
        self._coordination.send(name, message)
        set_result(resp, f"executor/{name}", f"is told: {order}", 202)


def _unknown(name: str, live: Collection[str]) -> Problem:
    """Return the 404 for a name that no live executor has, with the nearest names."""
    near = difflib.get_close_matches(name, live, n=NAMED, cutoff=0) or ["none"]
    return Problem(404, f"no live executor is named {name!r}; the nearest names: {', '.join(near)}")
