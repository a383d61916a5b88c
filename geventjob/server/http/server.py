"""The HTTP server: gevent's pywsgi, with the bounds on its connections that pywsgi lacks."""

from __future__ import annotations

import logging
from typing import Any

from gevent import pywsgi
from gevent.socket import socket as GeventSocket
from gevent.ssl import SSLContext

from geventjob.server.http.connection_handler import ConnectionHandler
from geventjob.server.http.connections import Connections
from geventjob.server.http.limits import HttpLimits
from geventjob.server.http.silent_connection import SilentConnection


class HttpServer(pywsgi.WSGIServer):
    """Serves a WSGI application until `finish`."""

    def __init__(
        self, listener: Any, application: Any, limits: HttpLimits | None = None, tls: SSLContext | None = None
    ) -> None:
        """Bind the server. `listener`: (host, port), or a bound socket. `tls`: None for HTTP without TLS."""
        self.tls = tls
        """TLS of new connections; another certificate may take the place at any time."""
        self.limits = limits or HttpLimits()
        self.connections = Connections(self.limits)
        super().__init__(
            listener,
            application,
            spawn=self.connections.handlers,
            log=None,
            error_log=logging.getLogger("geventjob.server.http"),
            handler_class=ConnectionHandler,
        )
        base: Any = self
        base.full = lambda: self.connections.is_full

    def update_environ(self) -> None:
        """Set the server's name and port without the DNS look-up of the base class."""
        self.environ.setdefault("SERVER_NAME", str(self.address[0]))
        self.environ.setdefault("SERVER_PORT", str(self.address[1]))

    def do_read(self) -> Any:
        """Accept a connection as its bare descriptor; None when no connection waits."""
        listener: Any = self.socket
        try:
            return listener._accept()
        except BlockingIOError:
            return None

    def do_handle(self, descriptor: Any, address: Any) -> None:
        """Watch the connection until its first byte, then hand it to a handler."""

        def end(connection: SilentConnection, has_spoken: bool) -> None:
            self.connections.remove_silent(connection)
            if has_spoken:
                connection.release()
                self._start_handler(descriptor, address)
            else:
                connection.close()
                base: Any = self
                base._start_accepting_if_started()

        silent = SilentConnection(self.loop, descriptor, self.limits.anonymous_idle, end)
        self.connections.add_silent(silent)
        self.connections.make_room()

    def _start_handler(self, descriptor: int, address: Any) -> None:
        listener = self.socket
        sock = GeventSocket(listener.family, listener.type, listener.proto, fileno=descriptor)
        super().do_handle(sock, address)

    def finish(self, timeout: float) -> None:
        """Accept no connection any more, and drain: `timeout` seconds for the requests in progress."""
        self.close()
        self.connections.drain(timeout)
