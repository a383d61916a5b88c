"""`pause`: actions that are paused. Administrators pause and resume; callers who see everything read."""

from __future__ import annotations

import falcon

from geventjob.cimi.document import Document
from geventjob.server.accounts.acl import acl
from geventjob.server.accounts.caller import Caller
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.document import operation, public
from geventjob.server.http.decode import decode_as
from geventjob.server.http.request_body import read_body
from geventjob.server.http.response import set_json, set_result
from geventjob.server.jobs.pauses import PauseService
from geventjob.server.resources.bodies import PauseAdd
from geventjob.server.resources.collection import collection, one
from geventjob.server.resources.moments import future
from geventjob.server.store.base import Page

_ACL = acl("ROLE", "ADMIN")


class PauseResource:
    """Requests for pauses."""

    def __init__(self, pauses: PauseService, sessions: Sessions) -> None:
        self._pauses = pauses
        self._sessions = sessions

    def on_get_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Respond with the pauses that are in force."""
        caller = self._sessions.reader_of(req)
        found = self._pauses.all()
        operations = [operation("add", "pause")] if caller.is_admin else []
        page = Page(len(found), found)
        set_json(
            resp,
            collection(
                "pause",
                page,
                acl=_ACL,
                operations=operations,
                item_operations=lambda pause: _operations(pause, caller),
            ),
        )

    on_put_all = on_get_all

    def on_post_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Pause an action, or change its pause, and respond with the pause."""
        caller = self._sessions.admin_of(req)
        body = decode_as(PauseAdd, read_body(req))
        why = body.why if isinstance(body.why, str) else None
        until = future("until", body.until) if isinstance(body.until, str) else None
        pause = self._pauses.pause(body.action, caller.username or "", why, until)
        set_json(resp, public(pause) | {"operations": _operations(pause, caller)}, 201)

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Respond with the pause of an action."""
        caller = self._sessions.reader_of(req)
        pause = self._pauses.get(name)
        set_json(resp, one(req, pause, _operations(pause, caller)))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """End the pause of an action."""
        self._sessions.admin_of(req)
        self._pauses.resume(name)
        set_result(resp, f"pause/{name}", "deleted")


def _operations(pause: Document, caller: Caller) -> list[dict[str, str]]:
    return [operation("delete", pause["id"])] if caller.is_admin else []
