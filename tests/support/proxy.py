"""A network between clients and one server, which fails on demand: silence, broken connections, held messages.

`zookeeper_proxy` and `http_proxy` read the messages of their protocol.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Protocol

from tests.support.holding import Hold


class Link(Protocol):
    """One connection through the proxy."""

    def run(self) -> None:
        """Pass messages on until either side closes. Raises OSError."""

    def close(self) -> None:
        """Close both sides."""


class Proxy:
    """A proxy that listens on a port of its own, and passes everything on until told otherwise."""

    def __init__(self, port: int) -> None:
        """Listen for clients of the server on `port`, which may die and come back."""
        self._server_port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.hosts = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.hosts}"
        self.speaking = threading.Event()
        self.speaking.set()
        self.tried = threading.Event()
        """Set when a client has connected."""
        self._held: list[Hold] = []
        self._links: list[Link] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def go_silent(self) -> None:
        """Pass nothing on in either direction; connections are accepted and stay open."""
        self.speaking.clear()

    def speak(self) -> None:
        """Pass on everything that was held back by the silence."""
        self.speaking.set()

    def cut(self) -> None:
        """Close all connections; new ones are served."""
        for link in self._links:
            link.close()
        self._links.clear()

    def close(self) -> None:
        """End all connections and the proxy."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for hold in self._held:
            hold.drop()
        self.cut()
        self.speaking.set()

    def hold(self, *containing: bytes) -> Hold:
        """Return a hold that is dropped when the proxy closes."""
        self._held.append(Hold(*containing))
        return self._held[-1]

    def link(self, client: socket.socket, server: socket.socket) -> Link:
        """Return the link of a new connection."""
        raise NotImplementedError

    def serve(self, client: socket.socket) -> None:
        """Connect a client with the server, until either side closes."""
        try:
            server = socket.create_connection(("127.0.0.1", self._server_port))
        except OSError:
            client.close()
            return
        for connection in (client, server):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = self.link(client, server)
        self._links.append(link)
        with contextlib.suppress(OSError):
            link.run()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self.tried.set()
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()
