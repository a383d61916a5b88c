"""A network between HTTP clients and one server, which holds messages back, answers in the server's stead, or drips."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from dataclasses import dataclass
from typing import Any, BinaryIO

from tests.support.holding import Hold
from tests.support.proxy import Proxy


@dataclass
class Reply:
    """An answer to requests with these pieces in them, for so many times (None: always)."""

    containing: tuple[bytes, ...]
    status: int
    body: bytes
    times: int | None

    def counts(self, request: bytes) -> bool:
        """Return whether this request gets the reply, and count it."""
        if self.times == 0 or not all(piece in request for piece in self.containing):
            return False
        if self.times is not None:
            self.times -= 1
        return True

    @property
    def message(self) -> bytes:
        """The head and the body."""
        head = f"HTTP/1.1 {self.status} X\r\nContent-Type: application/json\r\nContent-Length: {len(self.body)}\r\n\r\n"
        return head.encode() + self.body


class HttpProxy(Proxy):
    """A proxy that passes whole messages on, over kept connections, and notes the requests."""

    def __init__(self, port: int) -> None:
        """Listen for clients of the server on `port`."""
        self.requests: list[bytes] = []
        self.dripping = False
        """Whether answers pass byte by byte, five a second."""
        self._replies: list[Reply] = []
        self._requests: list[Hold] = []
        self._answers: list[Hold] = []
        super().__init__(port)

    def hold_request(self, *containing: bytes) -> Hold:
        """Keep the next request with these pieces in it from the server."""
        self._requests.append(self.hold(*containing))
        return self._requests[-1]

    def hold_answer(self, *containing: bytes) -> Hold:
        """Keep the answer to the next request with these pieces in it from the client: the server has acted on it."""
        self._answers.append(self.hold(*containing))
        return self._answers[-1]

    def reply(self, *containing: bytes, status: int, body: Any, times: int | None = None) -> None:
        """Answer requests with these pieces in them, in the server's stead."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._replies.append(Reply(containing, status, data, times))

    def pass_on(self) -> None:
        """Pass all requests on from now on."""
        self._replies.clear()

    def count(self, *containing: bytes) -> int:
        """Return how many requests had these pieces in them."""
        return sum(all(piece in request for piece in containing) for request in self.requests)

    def link(self, client: socket.socket, server: socket.socket) -> _Link:
        """Return the link of a new connection."""
        return _Link(self, client, server)

    def answer(self, request: bytes, server: socket.socket, answered: BinaryIO) -> bytes:
        """Return the answer to a request, once it may pass to the client."""
        self.requests.append(request)
        late = [hold for hold in self._requests if hold.matches(request)]
        for hold in late:
            hold.wait()
        self.speaking.wait()
        answer = next((reply.message for reply in self._replies if reply.counts(request)), b"")
        if not answer:
            server.sendall(request)
            answer = _message(answered)
        for hold in late:
            hold.passed_on.set()
        for hold in self._answers:
            if hold.matches(request):
                hold.wait()
                hold.passed_on.set()
        return answer

    def give(self, answer: bytes, client: socket.socket) -> None:
        """Send an answer to the client."""
        if not self.dripping:
            client.sendall(answer)
            return
        for place in range(len(answer)):
            client.sendall(answer[place : place + 1])
            time.sleep(0.2)


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: HttpProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server

    def run(self) -> None:
        with self._client, self._server, self._client.makefile("rb") as asked, self._server.makefile("rb") as answered:
            while True:
                answer = self._proxy.answer(_message(asked), self._server, answered)
                self._proxy.give(answer, self._client)

    def close(self) -> None:
        for connection in (self._client, self._server):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _message(stream: BinaryIO) -> bytes:
    """Read the head and the body. Raises ConnectionError at the end of the connection."""
    head = b""
    length = 0
    while not head.endswith(b"\r\n\r\n"):
        line = _line(stream)
        if line.lower().startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
        head += line
    if b"transfer-encoding: chunked" in head.lower():
        return head + _chunks(stream)
    return head + _exactly(stream, length)


def _chunks(stream: BinaryIO) -> bytes:
    body, size = b"", 1
    while size:
        head = _line(stream)
        size = int(head, 16)
        body += head + _exactly(stream, size + 2)
    return body


def _line(stream: BinaryIO) -> bytes:
    line = stream.readline()
    if not line:
        raise ConnectionError("closed")
    return line


def _exactly(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise ConnectionError("broke off")
    return data
