"""A network that fails on demand, between a client and one ZooKeeper server.

It knows the frames of the protocol (a length, then `xid`, and the operation's number in a request), so that it can
lose the answer to one certain request: the server has done it, the client does not know.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.holding import Hold

MULTI = 14
"""The operation of a transaction; others follow."""
CREATE = 1
DELETE = 2
SET_DATA = 5
GET_CHILDREN = 8
MULTI_READ = 22
GET_EPHEMERALS = 103
"""Goes with each probe, which is a MULTI."""
UNIMPLEMENTED = -6


@dataclass
class Loss:
    """The answer to one request that will be lost, and the connection with it."""

    operation: int
    containing: bytes
    done: bool
    """Whether the server gets the request."""
    happened: threading.Event = field(default_factory=threading.Event)


class Proxy:
    """Listens on a port of its own, and passes everything on until told otherwise."""

    def __init__(self, port: int) -> None:
        """`port` of the server."""
        self._server_port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.hosts = f"127.0.0.1:{self.port}"
        self.delay = 0.0
        """Seconds by which each answer comes late; those of several requests under way overlap."""
        self.refused: dict[int, int] = {}
        """Operation → error code with which it is answered in the server's stead."""
        self.losses: list[Loss] = []
        self.requests: Counter[int] = Counter()
        """Operation → how many requests were passed on."""
        self._holds: list[tuple[int, Hold]] = []
        self.speaking = threading.Event()
        self.speaking.set()
        self.tried = threading.Event()
        """Set when somebody has connected."""
        self._links: list[_Link] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_answer(self, operation: int, containing: bytes = b"", *, done: bool = True) -> Loss:
        """The next request of this operation with these bytes in it is lost with its line; if `done`, its answer is."""
        loss = Loss(operation, containing, done)
        self.losses.append(loss)
        return loss

    def hold_request(self, operation: int, *containing: bytes) -> Hold:
        """The next request of this operation with these pieces in it is kept back, and all that follow it."""
        hold = Hold(*containing)
        self._holds.append((operation, hold))
        return hold

    def loss_of(self, operation: int, body: bytes) -> Loss | None:
        """The loss that this request will suffer."""
        for loss in self.losses:
            if loss.operation == operation and loss.containing in body:
                self.losses.remove(loss)
                return loss
        return None

    def go_silent(self) -> None:
        """From now on nothing passes in either direction; connections are accepted and stay open."""
        self.speaking.clear()

    def speak(self) -> None:
        """Everything that was held back goes on its way."""
        self.speaking.set()

    def cut(self) -> None:
        """Close all connections; new ones are served."""
        for link in self._links:
            link.close()
        self._links.clear()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for _, hold in self._holds:
            hold.drop()
        self.cut()
        self.speaking.set()

    def keep_back(self, operation: int, body: bytes) -> None:
        """Wait, if this is a request that is to be held. Raises ConnectionError if it was dropped."""
        for held, hold in self._holds:
            if held == operation and hold.matches(body):
                hold.wait()
                hold.passed_on.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self.tried.set()
                self.speaking.wait()
                try:
                    server = socket.create_connection(("127.0.0.1", self._server_port))
                except OSError:
                    client.close()
                    continue
                self._links.append(_Link(self, client, server))


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._lost: dict[int, Loss] = {}
        self._answers: queue.Queue[tuple[float, bytes]] = queue.Queue()
        for connection in (client, server):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pump in (self._requests, self._receive_answers, self._send_answers):
            threading.Thread(target=self._until_closed, args=(pump,), daemon=True).start()

    def close(self) -> None:
        self._answers.put((0.0, b""))
        for connection in (self._client, self._server):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _until_closed(self, pump: Callable[[], None]) -> None:
        with contextlib.suppress(OSError):
            pump()
        self._proxy.speaking.wait()  # a silent network does not pass on that somebody has hung up either
        if pump == self._receive_answers:
            self._answers.put((0.0, b""))  # once all that the server said before has been passed on
        else:
            self.close()

    def _requests(self) -> None:
        _send(self._server, _frame(self._client))  # the handshake has no header
        while True:
            body = _frame(self._client)
            self._proxy.speaking.wait()
            xid, operation = struct.unpack_from("!ii", body)
            if operation in self._proxy.refused:
                self._answers.put((0.0, struct.pack("!iqi", xid, 0, self._proxy.refused[operation])))
                continue
            loss = self._proxy.loss_of(operation, body)
            if loss is not None and not loss.done:
                self.close()
                loss.happened.set()
                return
            if loss is not None:
                self._lost[xid] = loss
            self._proxy.keep_back(operation, body)
            self._proxy.requests[operation] += 1
            _send(self._server, body)

    def _receive_answers(self) -> None:
        body = _frame(self._server)  # that of the handshake has no header
        while True:
            self._answers.put((time.monotonic() + self._proxy.delay if self._proxy.delay else 0.0, body))
            body = _frame(self._server)
            loss = self._lost.get(struct.unpack_from("!i", body)[0])
            if loss is not None:
                self.close()
                loss.happened.set()
                return

    def _send_answers(self) -> None:
        while True:
            due, body = self._answers.get()
            if not body:
                return
            time.sleep(max(0.0, due - time.monotonic()))
            self._proxy.speaking.wait()
            _send(self._client, body)


def _frame(connection: socket.socket) -> bytes:
    (size,) = struct.unpack("!i", _exactly(connection, 4))
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise ConnectionError
        data += chunk
    return data


def _send(connection: socket.socket, body: bytes) -> None:
    connection.sendall(struct.pack("!i", len(body)) + body)
