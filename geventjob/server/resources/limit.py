"""`limit`: how many jobs of an action may run at once. Administrators set limits, callers who see all read them."""

from __future__ import annotations

import falcon

from geventjob.cimi.document import Document
from geventjob.server.accounts.acl import acl
from geventjob.server.accounts.caller import Caller
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.document import operation, public
from geventjob.server.gate.limit_schema import validate_limit
from geventjob.server.http.decode import decode
from geventjob.server.http.request_body import read_body
from geventjob.server.http.response import set_json, set_result
from geventjob.server.jobs.limits import LimitService
from geventjob.server.resources.collection import collection, one
from geventjob.server.resources.search_parameters import search_query, selection
from geventjob.server.store.base import Store

_ACL = acl("ROLE", "ADMIN")


class LimitResource:
    """Requests for limits."""

    def __init__(self, store: Store, limits: LimitService, sessions: Sessions) -> None:
        self._store = store
        self._limits = limits
        self._sessions = sessions

    def on_get_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Search the limits."""
        caller = self._sessions.reader_of(req)
        given, wanted = search_query(req, caller)
        page = self._store.search("limit", wanted)
        answer = collection(
            "limit",
            page,
            acl=_ACL,
            operations=[],
            item_operations=lambda limit: _operations(limit, caller),
            select=selection(given),
        )
        set_json(resp, answer)

    on_put_all = on_get_all

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Respond with one limit."""
        caller = self._sessions.reader_of(req)
        limit = self._limits.get(f"limit/{name}")
        set_json(resp, one(req, limit, _operations(limit, caller)))

    def on_put(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Set a limit, new or not, and respond with it."""
        self._sessions.admin_of(req)
        set_json(resp, public(self._limits.set(validate_limit(name, decode(read_body(req))))))

    def on_delete(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Delete a limit."""
        self._sessions.admin_of(req)
        self._limits.delete(f"limit/{name}")
        set_result(resp, f"limit/{name}", "deleted")


def _operations(limit: Document, caller: Caller) -> list[dict[str, str]]:
    return [operation(rel, limit["id"]) for rel in ("edit", "delete")] if caller.is_admin else []
