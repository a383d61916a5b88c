"""`/metrics`: the metrics of the server, for Prometheus."""

from __future__ import annotations

import ipaddress

import falcon
from prometheus_client import CollectorRegistry

from geventjob.metrics import CONTENT_TYPE, is_authorized, text
from geventjob.server.accounts.audit import READERS
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.http.spool import set_body
from geventjob.server.problem import Problem, forbidden

PROXIED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via")
"""Headers of proxies: the address of such a request is the proxy's."""


class MetricsResource:
    """The metrics: for ADMIN and VIEWER, for who has the token, and without a token for clients on this machine."""

    def __init__(
        self, registry: CollectorRegistry, sessions: Sessions, token: str | None, base_uri: str | None = None
    ) -> None:
        """`token`: of `--metrics-token-file`. `base_uri`: where it is set, a proxy may stand before the server."""
        self._registry = registry
        self._sessions = sessions
        self._token = token
        self._base_uri = base_uri

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Respond with the metrics. Raises Problem 403, StoreAway."""
        if not (self._is_open(req) or self._has_token(req)):
            self._require_reader(req)
        resp.content_type = CONTENT_TYPE
        set_body(resp, [text(self._registry)])

    def _is_open(self, req: falcon.Request) -> bool:
        if self._token is not None or self._base_uri or any(req.get_header(name) for name in PROXIED):
            return False
        return _is_loopback(req.remote_addr) and (req.host == "localhost" or _is_loopback(req.host))

    def _has_token(self, req: falcon.Request) -> bool:
        return self._token is not None and is_authorized(req.get_header("Authorization"), self._token)

    def _require_reader(self, req: falcon.Request) -> None:
        try:
            caller = self._sessions.caller_of(req)
        except Problem:
            raise forbidden() from None
        if READERS.isdisjoint(caller.roles):
            raise forbidden()


def _is_loopback(host: str | None) -> bool:
    """Return whether an address is of this machine; another name may lead a browser here from anywhere."""
    try:
        return ipaddress.ip_address((host or "").strip("[]")).is_loopback
    except ValueError:
        return False
