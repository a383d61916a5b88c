"""A network between HTTP clients and one server that keeps back a certain request, or the answer to it."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import BinaryIO

from tests.support.holding import Hold


class HttpProxy:
    """Listens on a port of its own, and passes whole messages on, over kept connections."""

    def __init__(self, port: int) -> None:
        """`port` of the server, which may die and come back."""
        self._server_port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._requests: list[Hold] = []
        self._answers: list[Hold] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def hold_request(self, *containing: bytes) -> Hold:
        """Keep the next request with these pieces in it from the server."""
        self._requests.append(Hold(*containing))
        return self._requests[-1]

    def hold_answer(self, *containing: bytes) -> Hold:
        """Keep the answer to the next request with these pieces in it from the client: the server has done it."""
        self._answers.append(Hold(*containing))
        return self._answers[-1]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for hold in self._requests + self._answers:
            hold.drop()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """One connection; it ends when either side's does."""
        with contextlib.suppress(OSError), client:
            server = socket.create_connection(("127.0.0.1", self._server_port))
            with server, client.makefile("rb") as asked, server.makefile("rb") as answered:
                for connection in client, server:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while True:
                    self._exchange(client, server, asked, answered)

    def _exchange(self, client: socket.socket, server: socket.socket, asked: BinaryIO, answered: BinaryIO) -> None:
        request = _message(asked)
        late = [hold for hold in self._requests if hold.matches(request)]
        for hold in late:
            hold.wait()
        answer = self.ask(request, server, answered)
        for hold in late:
            hold.passed_on.set()
        for hold in self._answers:
            if hold.matches(request):
                hold.wait()
                hold.passed_on.set()
        self.give(answer, client)

    def ask(self, request: bytes, server: socket.socket, answered: BinaryIO) -> bytes:
        """The server's answer."""
        server.sendall(request)
        return _message(answered)

    def give(self, answer: bytes, client: socket.socket) -> None:
        client.sendall(answer)


def _message(stream: BinaryIO) -> bytes:
    """The head and the body. Raises ConnectionError at the end of the connection."""
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
