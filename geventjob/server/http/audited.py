"""Middleware that gives each change by a person to the audit, by its method and path.

New resources are audited without a line of their own. Adds and edits of jobs are not: they are the traffic itself, and
a job names its owner. A forced edit is.
"""

from __future__ import annotations

import falcon

from geventjob.server.accounts.audit import Audit, Deed
from geventjob.server.accounts.caller import Caller

STATES = {
    "stop": "stopped",
    "release": "released",
    "rerun": "reran",
    "delete": "deleted",
    "pause": "paused",
    "resume": "resumed",
    "fire": "fired",
    "quiet": "quieted",
    "reconcile": "reconciled",
}
"""Operation in a path → what became of the resource."""
METHODS = {"POST": "added", "PUT": "edited", "DELETE": "deleted"}
PAUSES = {"POST": "paused", "DELETE": "resumed"}
NOT_AUDITED = frozenset({"session", "events"})
"""Collections: a log-in is no change."""


class Audited:
    """Falcon middleware that runs after the resources."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def process_response(self, req: falcon.Request, resp: falcon.Response, resource: object, succeeded: bool) -> None:
        """Keep the deed of a request that has changed something."""
        if req.method not in METHODS or not 200 <= resp.status_code < 300:
            return
        caller: Caller | None = getattr(req.context, "caller", None)
        if caller is None or caller.username is None:
            return
        deed = getattr(req.context, "deed", None) or _deed(req, resp)
        if deed is not None and deed.count:
            self._audit.keep(deed, caller, req.remote_addr or "")


def set_deed(req: falcon.Request, deed: Deed) -> None:
    """Let the audit keep this deed for the request: the path does not tell how many."""
    req.context.deed = deed


def _deed(req: falcon.Request, resp: falcon.Response) -> Deed | None:
    """Return what a request has done, by its path; None for what is not audited."""
    kind, *rest = req.path.removeprefix("/api/").strip("/").split("/")
    if kind in NOT_AUDITED or (req.method == "PUT" and not rest) or (rest and rest[0].startswith("bulk-")):
        return None
    if kind == "job" and (not rest or (req.method == "PUT" and req.get_param("force") != "true")):
        return None
    if kind == "pause":
        return Deed(PAUSES.get(req.method, "edited"), resp.get_header("Location") or "/".join([kind, *rest]))
    if kind == "queue" and rest:
        return Deed(STATES.get(rest[0], rest[0]), "queue")
    if len(rest) == 2:
        state = STATES.get(rest[1])
        return None if state is None else Deed(state, f"{kind}/{rest[0]}")
    return Deed(METHODS[req.method], "/".join([kind, *rest]) if rest else resp.get_header("Location") or kind)
