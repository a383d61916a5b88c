"""kazoo's client, adapted. All code that touches kazoo's internals is in this module."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from select import POLLIN, POLLOUT
from typing import Any

import gevent
from gevent import socket, ssl
from gevent.event import AsyncResult
from gevent.monkey import get_original
from kazoo.client import KazooClient
from kazoo.exceptions import AuthFailedError, ConnectionLoss, KazooException
from kazoo.handlers.gevent import SequentialGeventHandler
from kazoo.protocol.connection import ConnectionHandler
from kazoo.protocol.serialization import Connect
from kazoo.retry import KazooRetry

from geventjob.clock import boottime

_log = logging.getLogger(f"{__name__}.kazoo")
_native_poll: Any = get_original("select", "poll")
_log.setLevel(logging.ERROR)  # kazoo logs every attempt to connect; the ensemble logs once that ZooKeeper is away

NO_SESSIONS = "it serves no sessions now: no majority, read-only, or set back to an older copy"
TOO_MANY = "it accepts no more connections from this address (maxClientCnxns)"
HANG_UP = 1.0
"""Seconds within which a server closes a connection beyond its limit."""
LONGEST_PAUSE = 1.0
"""Longest pause between two attempts to connect, seconds. kazoo's own limit is an hour, longer than any session."""


@dataclass(frozen=True)
class Access:
    """The way to reach an ensemble."""

    hosts: str
    """HOST:PORT, comma-separated."""
    timeout: float
    """The session timeout that is asked for, in seconds."""
    tls: ssl.SSLContext | None = None
    """None for plain connections."""
    login: tuple[str, str] | None = field(default=None, repr=False)
    """User and password for the digest scheme."""

    @property
    def patience(self) -> float:
        """The seconds for each step of a new connection: a quarter of the timeout, so that there is time for another
        server."""
        return self.timeout / 4


class ZooKeeperClient(KazooClient):  # type: ignore[misc]  # kazoo has no types
    """One kazoo client for one session. The client connects and reconnects by itself."""

    granted = 0.0
    """The timeout that the server gave the session, in seconds. kazoo does not keep it."""
    asked = 0.0
    """The time (boottime) of the last request to begin or resume the session."""

    def __init__(self, access: Access) -> None:
        self.failures: dict[str, str] = {}
        """HOST:PORT → why there is no connection to it; empty after a success."""
        handler = _Handler(access)
        super().__init__(
            hosts=access.hosts,
            timeout=access.timeout,
            handler=handler,
            auth_data=[("digest", ":".join(access.login))] if access.login else None,
            connection_retry=KazooRetry(
                max_tries=-1, delay=0.05, max_delay=LONGEST_PAUSE, max_jitter=0.5, sleep_func=handler.sleep_func
            ),
            logger=_log,
        )
        self._connection = _Connection(self, self._conn_retry.copy(), logger=_log)

    def send(self, request: Any) -> AsyncResult[Any]:
        """Queue a request. The answer may be an exception of kazoo."""
        answer: AsyncResult[Any] = AsyncResult()
        self._call(request, answer)
        return answer

    @property
    def ended(self) -> bool:
        """Return whether the client has stopped trying to connect."""
        return bool(self._connection._connection_routine.dead)

    @property
    def last_change(self) -> int:
        """The number (zxid) of the last change that the server has reported."""
        return int(self.last_zxid)

    @property
    def identity(self) -> int:
        """The id of the session."""
        return int(self._session_id or 0)

    def drop(self) -> None:
        """Break the connection, so that kazoo looks for another server.

        kazoo has a ping for this purpose, but sends no ping while other requests are sent.
        """
        connection = self._connection._socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def leave(self) -> None:
        """Close the session if the server answers within a second, and free all resources in any case.

        Queued requests are dropped. A request that the server already has belongs to the session that is closed.
        """
        queue = self._queue
        while len(queue) > 1:  # the first may be half written
            queue.pop()[1].set_exception(ConnectionLoss())
        ending = gevent.spawn(self._stop_and_close)
        ending.join(1)
        if not ending.ready():
            self.drop()
            ending.join(0.5)

    def _stop_and_close(self) -> None:
        with contextlib.suppress(KazooException):  # not stopped within 10 s: it stops when it wakes
            self.stop()
            self.close()

    def disown(self) -> None:
        """Close the connection in a forked child without a byte to the server: the connection is the parent's."""
        self._stopped.set()
        routine = self._connection._connection_routine
        if routine is not None:
            routine.kill(block=False)
        for connection in (self._connection._socket, self._connection._read_sock, self._connection._write_sock):
            if connection is not None:
                connection.close()


class _Handler(SequentialGeventHandler):  # type: ignore[misc]
    """Connects in place of kazoo, which waits a session timeout and leaks the socket of a failed TLS handshake.

    Asks for ready sockets more cheaply.
    """

    def __init__(self, access: Access) -> None:
        super().__init__()
        self.access = access

    def select(self, readers: Sequence[Any], writers: Sequence[Any], others: Sequence[Any], timeout: float) -> Any:
        """Return the sockets that are ready, as `select.select`. Ask the kernel about a single socket first.

        kazoo asks so before each write and each part of an answer, and nearly always the socket is ready: the event
        loop takes 37 us of CPU and a turn to say so, the kernel 2 us. Between two answers kazoo asks about two sockets,
        and the loop turns.
        """
        if len(readers) + len(writers) == 1:
            poll = _native_poll()
            poll.register((*readers, *writers)[0], POLLIN if readers else POLLOUT)
            if poll.poll(0):
                return readers, writers, []
        return super().select(readers, writers, others, timeout)

    def create_connection(self, address: tuple[str, int], hostname: str, **_: Any) -> Any:
        connection = socket.create_connection(address, self.access.patience)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.access.tls is None:
                return connection
            return self.access.tls.wrap_socket(connection, server_hostname=hostname)
        except BaseException:
            connection.close()
            raise


class _Connection(ConnectionHandler):  # type: ignore[misc]
    """Keeps the facts of the handshake, and limits the wait for its answer like that for the connection."""

    _diagnosis: gevent.Greenlet[..., Any] | None = None

    def _connect(self, host: str, hostip: str, port: int) -> Any:
        try:
            timeouts = super()._connect(host, hostip, port)
        except Exception as error:
            reason = self._why(error)
            if reason is not None:
                self.client.failures[f"{host}:{port}"] = reason
            elif self._diagnosis is None or self._diagnosis.ready():
                self.client.failures.setdefault(f"{host}:{port}", NO_SESSIONS)
                self._diagnosis = gevent.spawn(self._diagnose, host, hostip, port)
            raise
        self.client.failures.clear()
        return timeouts

    def _why(self, error: Exception) -> str | None:
        """Return the reason of a connection that failed, in words for an operator; None if the server closed the
        connection.

        kazoo leaves the reason in the context of its exception.
        """
        cause = error if isinstance(error, OSError) else error.__context__
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {cause.reason or cause}"
        if isinstance(error, AuthFailedError):
            return "the log-in of zk-auth-file was refused"
        if isinstance(error, self.handler.timeout_exception) or isinstance(cause, TimeoutError):
            return "no answer"
        if isinstance(cause, OSError) and not isinstance(cause, (BrokenPipeError, ConnectionResetError)):
            return cause.strerror or str(cause)
        return None

    def _diagnose(self, host: str, hostip: str, port: int) -> None:
        """Find out why the server closed the connection. Runs beside the attempts to connect, which must not wait.

        A server with too many connections closes even a connection on which nothing was sent.
        """
        reason = NO_SESSIONS
        try:
            with self.handler.create_connection((hostip, port), host) as connection:
                connection.settimeout(HANG_UP)
                connection.recv(1)
            reason = TOO_MANY  # skipped by a time-out
        except (BrokenPipeError, ConnectionResetError):  # closed before it was even set up
            reason = TOO_MANY
        except OSError:
            pass
        if not self.client.connected:
            self.client.failures[f"{host}:{port}"] = reason

    def _invoke(self, timeout: float, request: Any, xid: int | None = None) -> Any:
        if not isinstance(request, Connect):
            return super()._invoke(timeout, request, xid)
        asked = boottime()
        answer = super()._invoke(min(timeout, self.handler.access.patience), request, xid)
        if answer[0].time_out > 0:
            self.client.asked, self.client.granted = asked, answer[0].time_out / 1000
        return answer
