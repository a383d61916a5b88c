"""Kept connections to an address of plain HTTP, for a third of the CPU that requests takes for a call.

One request leaves in as few segments as possible, and the standard library reads its answer. What needs TLS or a proxy
goes through requests (`requests_connections`).
"""

from __future__ import annotations

import select
import socket
import sys
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from email.message import Message
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

CHUNK = 64 * 1024

Check = Callable[[], None]


class NoConnection(OSError):
    """The address cannot be reached: nothing was sent. The cause of a wait that was too long is a TimeoutError."""


class NoAnswer(OSError):
    """The connection ended before an answer, as an idle connection does that the server has closed."""


class Answer(NamedTuple):
    """The head of an answer, and its body in parts as they arrive."""

    status: int
    headers: Mapping[str, str] | Message
    cookies: Sequence[str]
    """The Set-Cookie lines as they are."""
    parts: Iterator[bytes]


class ConnectionPool(Protocol):
    """The connections to one address. Safe for threads and greenlets."""

    def send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, check: Check | None
    ) -> AbstractContextManager[Answer]:
        """Send a request, and yield its answer, to be read within the context.

        `check` is called just before each part of the request leaves; its exception keeps the rest back. Raises
        NoConnection, NoAnswer, TimeoutError; the parts of the body raise OSError (TimeoutError) and HTTPException.
        """

    def close(self) -> None:
        """Close the idle connections."""


class KeptConnections:
    """The connections to one address. Safe for threads and greenlets."""

    def __init__(self, address: str, most: int, timeout: tuple[float, float]) -> None:
        """Connect to nothing yet. `most`: calls at once, further calls wait. `timeout`: see `Client`."""
        parts = urlsplit(address)
        self._at = parts.hostname or "", parts.port or 80
        self._path = parts.path
        self._host = parts.netloc
        self._timeout = timeout
        self._turns = threading.BoundedSemaphore(most)
        self._idle: list[socket.socket] = []
        weakref.finalize(self, _close_all, self._idle)

    @contextmanager
    def send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, check: Check | None
    ) -> Iterator[Answer]:
        """See `ConnectionPool.send`. The connection is kept if the body was read to its end."""
        lines = [f"{method} {self._path}{target} HTTP/1.1", f"Host: {self._host}", "Accept-Encoding: identity"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(body)}")
        request = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        with self._turns, ExitStack() as unfinished:
            connection = unfinished.enter_context(self._connection())
            response = HTTPResponse(connection, method=method)
            unfinished.callback(response.close)
            _exchange(connection, response, request, check)
            said = response.headers
            parts = _decoded(_parts(response), said.get("Content-Encoding", ""))
            yield Answer(response.status, said, said.get_all("Set-Cookie", []), parts)
            if not response.will_close and next(parts, None) is None:
                unfinished.pop_all()
                response.close()
                self._idle.append(connection)

    def close(self) -> None:
        """Close the idle connections."""
        _close_all(self._idle)

    def _connection(self) -> socket.socket:
        while self._idle:
            connection = self._idle.pop()
            if not _is_closed(connection):
                return connection
            connection.close()
        try:
            made = socket.create_connection(self._at, self._timeout[0])
        except (OSError, UnicodeError) as error:
            raise NoConnection(error) from error
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.settimeout(self._timeout[1])
        return made


def _exchange(connection: socket.socket, answer: HTTPResponse, request: bytes, check: Check | None) -> None:
    """Send a request, and read the head of its answer."""
    with suppress(BrokenPipeError):  # a server that refuses a large body may have answered already
        for start in range(0, len(request), CHUNK):
            if check:
                check()
            connection.sendall(request[start : start + CHUNK])
    try:
        answer.begin()
    except TimeoutError:
        raise
    except (OSError, HTTPException) as error:
        raise NoAnswer(error) from error


def _close_all(connections: list[socket.socket]) -> None:
    while connections:
        connections.pop().close()


def _parts(answer: HTTPResponse) -> Iterator[bytes]:
    left = answer.length
    if left is None:  # chunked, or to the end of the connection
        while part := answer.read1(CHUNK):
            yield part
        return
    stream: Any = answer.fp  # `read1` of the answer forgets the length (Python 3.10)
    while left:
        part = stream.read1(min(CHUNK, left))
        if not part:
            raise IncompleteRead(b"", left)
        left -= len(part)
        yield part


def _decoded(parts: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yield the body as it was before a proxy has compressed it, though no request asks for this."""
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        yield from parts
        return
    decoder = zlib.decompressobj(zlib.MAX_WBITS + 32)  # of gzip or zlib, by the first bytes
    for part in parts:
        left = part
        while left:
            try:
                yield decoder.decompress(left, CHUNK)
            except zlib.error as error:
                raise HTTPException(f"the body is not {encoding}: {error}") from error
            left = decoder.unconsumed_tail


def _is_closed(connection: socket.socket) -> bool:
    """Return whether an idle connection has something to read: its end, or what no request asked for."""
    monkey = sys.modules.get("gevent.monkey")  # the client itself does not bring gevent
    poll = (monkey.get_original("select", "poll") if monkey else select.poll)()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
