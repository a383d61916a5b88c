"""The port of an executor or a distributor: `/metrics`, `/healthz` and `/readyz`, and nothing else."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from gevent import pywsgi, socket
from gevent.pool import Pool
from prometheus_client import CollectorRegistry

from geventjob.metrics import CONTENT_TYPE, is_authorized, text

MOST = 20
"""Most connections at once."""
PATIENCE = 10.0
"""Seconds for which a connection may wait for its client."""


class _PatientHandler(pywsgi.WSGIHandler):
    def handle(self) -> None:
        self.socket.settimeout(PATIENCE)
        super().handle()


class MetricsPort:
    """A small HTTP server. Metrics need the token if there is one, else the client must be on this machine."""

    def __init__(
        self,
        address: tuple[str, int],
        registry: CollectorRegistry,
        why_not_ready: Callable[[], str | None],
        token: str | None = None,
    ) -> None:
        """Bind the port. `why_not_ready` returns None, or a sentence. Raises OSError."""
        self._registry = registry
        self._why_not_ready = why_not_ready
        self._token = token
        self._server = pywsgi.WSGIServer(
            _bound(*address), self._answer, spawn=Pool(MOST), log=None, error_log=None, handler_class=_PatientHandler
        )

    @property
    def port(self) -> int:
        """The port that is bound."""
        return int(self._server.server_port or 0)

    def start(self) -> None:
        """Serve from now on."""
        self._server.start()

    def close(self) -> None:
        """Free the port."""
        self._server.stop(timeout=0)

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, body, type_ = self._found(environ)
        headers = [("Content-Type", type_), ("Content-Length", str(len(body))), ("Connection", "close")]
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _found(self, environ: dict[str, Any]) -> tuple[str, bytes, str]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return "405 Method Not Allowed", b"expected GET", "text/plain"
        path = environ.get("PATH_INFO")
        if path == "/healthz":
            return "200 OK", b"ok", "text/plain"
        if path == "/readyz":
            why = self._why_not_ready()
            return ("503 Service Unavailable", why.encode(), "text/plain") if why else ("200 OK", b"ok", "text/plain")
        if path != "/metrics":
            return "404 Not Found", b"expected /metrics, /healthz or /readyz", "text/plain"
        if not self._may_read(environ):
            return "403 Forbidden", b"credentials required", "text/plain"
        return "200 OK", text(self._registry), CONTENT_TYPE

    def _may_read(self, environ: dict[str, Any]) -> bool:
        if self._token is not None:
            return is_authorized(environ.get("HTTP_AUTHORIZATION"), self._token)
        return ipaddress.ip_address(environ["REMOTE_ADDR"]).is_loopback


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens on this address. Raises OSError."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(MOST)
    except OSError as error:
        listener.close()
        raise OSError(f"--metrics-port: cannot listen on {host}:{port}: {error.strerror}") from None
    return listener
