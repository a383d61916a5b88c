"""A network between clients and one ZooKeeper server.

The proxy reads the frames of the protocol (a length, then `xid`, and the number of the operation in a request), so
that it can lose the answer to a certain request: the server has acted on it, and the client does not know.
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
from tests.support.proxy import Proxy

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
    """The loss of the answer to one request, and of the connection with it."""

    operation: int
    containing: bytes
    done: bool
    """Whether the server gets the request."""
    happened: threading.Event = field(default_factory=threading.Event)


class ZooKeeperProxy(Proxy):
    """A proxy that reads the frames of ZooKeeper's protocol."""

    def __init__(self, port: int) -> None:
        """Listen for clients of the server on `port`."""
        self.delay = 0.0
        """Seconds by which each answer comes late; the delays of several requests under way overlap."""
        self.refused: dict[int, int] = {}
        """Operation → error code of the answer in the server's stead."""
        self.losses: list[Loss] = []
        self.requests: Counter[int] = Counter()
        """Operation → how many requests were passed on."""
        self._holds: list[tuple[int, Hold]] = []
        super().__init__(port)

    def lose_answer(self, operation: int, containing: bytes = b"", *, done: bool = True) -> Loss:
        """Lose the answer to the next request of this operation with these bytes in it, and the connection with it.

        Without `done` the request itself is lost.
        """
        loss = Loss(operation, containing, done)
        self.losses.append(loss)
        return loss

    def hold_request(self, operation: int, *containing: bytes) -> Hold:
        """Keep back the next request of this operation with these pieces in it, and all that follow."""
        hold = self.hold(*containing)
        self._holds.append((operation, hold))
        return hold

    def loss_of(self, operation: int, body: bytes) -> Loss | None:
        """Return the loss that this request will suffer."""
        for loss in self.losses:
            if loss.operation == operation and loss.containing in body:
                self.losses.remove(loss)
                return loss
        return None

    def keep_back(self, operation: int, body: bytes) -> None:
        """Wait, if this request must be held. Raises ConnectionError if the request was dropped."""
        for held, hold in self._holds:
            if held == operation and hold.matches(body):
                hold.wait()
                hold.passed_on.set()

    def link(self, client: socket.socket, server: socket.socket) -> _Link:
        """Return the link of a new connection."""
        return _Link(self, client, server)

    def serve(self, client: socket.socket) -> None:
        """Connect a client with the server; in a silent network, once it speaks again."""
        self.speaking.wait()
        super().serve(client)


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: ZooKeeperProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._lost: dict[int, Loss] = {}
        self._answers: queue.Queue[tuple[float, bytes]] = queue.Queue()

    def run(self) -> None:
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
        self._proxy.speaking.wait()  # a silent network does not pass on a closed connection either
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
