"""Authentication of each request from its head, before its body is read."""

from __future__ import annotations

import falcon

from geventjob.server.accounts.sessions import Sessions
from geventjob.server.http.cross_site import is_cross_site
from geventjob.server.http.environ import AUTHENTICATED
from geventjob.server.problem import Problem, forbidden

OPEN_COLLECTIONS = frozenset({"/api/session", "/api/session-template", "/api/credential-template"})
"""Collections that take a body from anonymous clients: a log-in, a search."""

OWN_RIGHTS = "/metrics"
"""A path whose resource checks the rights by itself, since its token is no API key."""


class Authentication:
    """Falcon middleware that runs before all resources and sets `req.context.caller`."""

    def __init__(self, sessions: Sessions, base_uri: str | None) -> None:
        self._sessions = sessions
        self._base_uri = base_uri

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Refuse cross-site requests and anonymous bodies.

        Raises Problem 403, and the errors of the store in which the caller is looked up.
        """
        if req.path.startswith("//"):  # a client joined an address that ends with a slash and a path
            req.path = "/" + req.path.lstrip("/")
        if is_cross_site(req, self._base_uri):
            raise Problem(403, "another site sent this request: its Origin is not that of this server", close=True)
        if req.path == OWN_RIGHTS:
            return
        try:
            caller = self._sessions.caller_of(req)
        except Problem as problem:
            raise _closing(problem) from None
        req.context.caller = caller
        if caller.username is not None:
            req.env.get(AUTHENTICATED, _nothing)()
        elif _has_body(req) and req.path not in OPEN_COLLECTIONS:
            raise _closing(forbidden())


def _has_body(req: falcon.Request) -> bool:
    return bool(req.env.get("CONTENT_LENGTH", "0").strip("0")) or "HTTP_TRANSFER_ENCODING" in req.env


def _closing(problem: Problem) -> Problem:
    problem.close = True
    return problem


def _nothing() -> None:
    """Do nothing: a WSGI server other than ours has no limits by authentication."""
