"""`event`: the audit, for administrators and viewers. Nobody adds, edits or deletes an event."""

from __future__ import annotations

from dataclasses import replace

import falcon

from geventjob.server.accounts.acl import acl
from geventjob.server.accounts.audit import Audit, require_may_read
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.document import public, select_attributes
from geventjob.server.http.response import set_json
from geventjob.server.jobs.service import Jobs
from geventjob.server.problem import not_found
from geventjob.server.resources.collection import collection
from geventjob.server.resources.search_parameters import parameters, search_query, selection
from geventjob.server.store.base import Store

_ACL = acl("ROLE", "ADMIN", [("ROLE", "VIEWER", "VIEW")])


class EventResource:
    """Requests for events."""

    def __init__(self, store: Store, audit: Audit, jobs: Jobs, sessions: Sessions) -> None:
        self._store = store
        self._audit = audit
        self._jobs = jobs
        self._sessions = sessions

    def on_get_all(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Search the events, the newest first unless the request names an order."""
        caller = self._sessions.caller_of(req)
        require_may_read(caller)
        given, wanted = search_query(req, caller)
        wanted = wanted if wanted.orderby else replace(wanted, orderby=[("created", True)])
        page = self._store.search("event", wanted)
        answer = collection(
            "event", page, acl=_ACL, operations=[], item_operations=lambda _: [], select=selection(given)
        )
        set_json(resp, answer)

    on_put_all = on_get_all

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Respond with one event."""
        require_may_read(self._sessions.caller_of(req))
        (event,) = self._store.get([f"event/{name}"])
        if event is None:
            raise not_found(f"event/{name}")
        set_json(resp, select_attributes(public(event), selection(parameters(req))))

    def on_get_job(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Respond with the events of a job, for those who may see the job."""
        caller = self._sessions.caller_of(req)
        job = self._jobs.get(f"job/{name}", caller)
        set_json(resp, {"id": job["id"], "events": list(map(public, self._audit.of_job(job["id"], caller)))})
