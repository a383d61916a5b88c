"""The open connections of a server: their number, and which of them to close when there are too many."""

from __future__ import annotations

from typing import Protocol

from gevent.pool import Pool

from geventjob.server.http.limits import HttpLimits
from geventjob.server.http.silent_connection import SilentConnection


class WaitingConnection(Protocol):
    """A connection that waits for its client."""

    @property
    def is_anonymous(self) -> bool:
        """Whether no user has authenticated on the connection."""

    def hang_up(self, *, at_once: bool = False) -> None:
        """End the connection: after the bytes that have arrived, or `at_once`."""


class Connections:
    """Counts of the connections, and the connections that wait for their clients."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self.handlers = Pool(limits.connections)
        """Greenlets of the connections that have sent a byte."""
        self.anonymous = 0
        """Number of anonymous connections."""
        self.is_draining = False
        """Whether the server is stopping: each response ends its connection."""
        self._silent = 0
        self._waiting: dict[WaitingConnection, bool] = {}
        """True for a connection between two requests. The connection that has waited longest stands first."""

    def __len__(self) -> int:
        return len(self.handlers) + self._silent

    @property
    def is_full(self) -> bool:
        """Whether no further connection is accepted."""
        return len(self) >= self._limits.connections

    @property
    def ends_after_response(self) -> bool:
        """Whether each response ends its connection, because the server is stopping or crowded."""
        return self.is_draining or len(self) > self._limits.keep_alive_share * self._limits.connections

    def add_silent(self, connection: SilentConnection) -> None:
        """Count a connection that has sent nothing."""
        self._waiting[connection] = True
        self.anonymous += 1
        self._silent += 1

    def remove_silent(self, connection: SilentConnection) -> None:
        """Stop counting a connection as silent."""
        del self._waiting[connection]
        self.anonymous -= 1
        self._silent -= 1

    def wait(self, connection: WaitingConnection, *, between_requests: bool = False) -> None:
        """Record that the connection waits for its client from now on."""
        self._waiting[connection] = between_requests

    def end_wait(self, connection: WaitingConnection) -> None:
        """Record that the connection waits no longer."""
        self._waiting.pop(connection, None)

    def make_room(self) -> None:
        """Close the connection that has waited longest, if there are too many (anonymous ones, or in all)."""
        if self.anonymous > self._limits.anonymous:
            longest = next((connection for connection in self._waiting if connection.is_anonymous), None)
        elif self.is_full:
            longest = next(iter(self._waiting), None)
        else:
            return
        if longest is not None:
            longest.hang_up(at_once=True)

    def drain(self, timeout: float) -> None:
        """Close idle connections, wait up to `timeout` seconds for requests in progress, then close the rest."""
        self.is_draining = True
        for connection in [connection for connection, is_between in self._waiting.items() if is_between]:
            connection.hang_up()
        self.handlers.join(timeout=timeout)
        self.handlers.kill(timeout=1)
