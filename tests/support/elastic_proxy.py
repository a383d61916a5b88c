"""A proxy in front of a node that records requests, answers some requests itself, and can slow answers down."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any, BinaryIO

import gevent
from gevent.event import Event

from tests.support.http_proxy import HttpProxy


@dataclass
class Reply:
    """The answer to requests that contain all of the pieces; `times`: uses left (None: any number)."""

    containing: tuple[bytes, ...]
    status: int
    body: bytes
    times: int | None

    def counts(self, request: bytes) -> bool:
        """Return whether the reply answers this request, and count the use."""
        if self.times == 0 or not all(piece in request for piece in self.containing):
            return False
        if self.times is not None:
            self.times -= 1
        return True

    @property
    def message(self) -> bytes:
        head = f"HTTP/1.1 {self.status} X\r\nContent-Type: application/json\r\nContent-Length: {len(self.body)}\r\n\r\n"
        return head.encode() + self.body


class Proxy(HttpProxy):
    """The proxy: `requests` has all requests, `dripping` sends answers byte by byte, a clear `speaking` stops all."""

    def __init__(self, port: int) -> None:
        """`port`: of the node."""
        self.requests: list[bytes] = []
        self.dripping = False
        self.speaking = Event()
        self.speaking.set()
        self._replies: list[Reply] = []
        super().__init__(port)

    def reply(self, *containing: bytes, status: int, body: Any, times: int | None = None) -> None:
        """Answer requests that contain all of these pieces, in place of the node."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._replies.append(Reply(containing, status, data, times))

    def pass_on(self) -> None:
        """Pass all requests to the node from now on."""
        self._replies.clear()

    def count(self, *containing: bytes) -> int:
        """Return the number of requests that contained all of these pieces."""
        return sum(all(piece in request for piece in containing) for request in self.requests)

    def ask(self, request: bytes, server: socket.socket, answered: BinaryIO) -> bytes:
        self.requests.append(request)
        self.speaking.wait()
        for reply in self._replies:
            if reply.counts(request):
                return reply.message
        return super().ask(request, server, answered)

    def give(self, answer: bytes, client: socket.socket) -> None:
        if not self.dripping:
            return super().give(answer, client)
        for place in range(len(answer)):
            client.sendall(answer[place : place + 1])
            gevent.sleep(0.2)
        return None
