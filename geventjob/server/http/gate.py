"""What is refused from the head of a request alone: bodies of nobody, and what other sites make a browser send."""

from __future__ import annotations

from urllib.parse import urlsplit

import falcon

from geventjob.server.accounts.sessions import Sessions
from geventjob.server.http.serve import KNOW
from geventjob.server.problem import Problem, forbidden

SAFE = ("GET", "HEAD", "OPTIONS")
OPEN = frozenset({"/api/session", "/api/session-template", "/api/credential-template"})
"""Collections that take a body from everybody: a log-in, a search."""
PORTS = {"http": 80, "https": 443}


class Gate:
    """Stands before all resources (a falcon middleware)."""

    def __init__(self, sessions: Sessions, base_uri: str | None) -> None:
        self._sessions = sessions
        self._own = _authority(base_uri) if base_uri else None

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Raises Problem 403, and the errors of a store that is asked who sends the request."""
        if req.path.startswith("//"):  # clients that were given an address with a slash at its end (CIMI.md §1)
            req.path = "/" + req.path.lstrip("/")
        if req.method not in SAFE and self._is_foreign(req):
            raise Problem(403, "another site sent this request: its Origin is not that of this server", close=True)
        try:
            caller = self._sessions.caller_of(req)
        except Problem as problem:
            raise _closing(problem) from None
        req.context.caller = caller
        if caller.username is not None:
            req.env.get(KNOW, _nothing)()
        elif _has_body(req) and req.path not in OPEN:
            raise _closing(forbidden())

    def _is_foreign(self, req: falcon.Request) -> bool:
        """Whether a browser says that a page of another origin made it send this."""
        if (req.get_header("Sec-Fetch-Site") or "").strip().lower() == "cross-site":
            return True
        origin = req.get_header("Origin")
        if origin is None:
            return False
        scheme = urlsplit(origin).scheme
        hosts = [req.get_header("Host"), req.get_header("X-Forwarded-Host")]
        own = {self._own, *(_authority(f"{scheme}://{host}") for host in hosts if host)}
        return _authority(origin) not in own - {None}


def _authority(url: str) -> tuple[str, int | None] | None:
    """Host and port of an address; None for one without a host."""
    try:
        parts = urlsplit(url)
        return (parts.hostname, parts.port or PORTS.get(parts.scheme)) if parts.hostname else None
    except ValueError:
        return None


def _has_body(req: falcon.Request) -> bool:
    return bool(req.env.get("CONTENT_LENGTH", "0").strip("0")) or "HTTP_TRANSFER_ENCODING" in req.env


def _closing(problem: Problem) -> Problem:
    problem.close = True
    return problem


def _nothing() -> None:
    """Stand in for a server that does not ask who is known."""
