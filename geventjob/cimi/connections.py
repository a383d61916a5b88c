"""Kept connections to an address of plain HTTP, for a fifth of the CPU that requests takes for a call.

One request leaves in as few segments as possible, and the standard library reads its answer. `transport` sends what
needs TLS or a proxy through requests.
"""

from __future__ import annotations

import select
import socket
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Any
from urllib.parse import urlsplit

import urllib3.util.connection
from gevent.monkey import get_original

CHUNK = 64 * 1024


class NoConnection(OSError):
    """The address cannot be reached: nothing was sent. The cause is the error of the system."""


class NoAnswer(OSError):
    """The connection ended before an answer, as an idle connection does that the server has closed."""


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
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, check: Callable[[], None] | None
    ) -> Iterator[tuple[HTTPResponse, Iterator[bytes]]]:
        """Send a request. Yield its answer, and the parts of the body as they arrive, to be read within the context.

        `check` is called just before each part of the request leaves. Raises NoConnection, NoAnswer, TimeoutError; the
        parts of the body raise OSError and HTTPException. The connection is kept if the body was read to its end.
        """
        lines = [f"{method} {self._path}{target} HTTP/1.1", f"Host: {self._host}", "Accept-Encoding: identity"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body or method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(body)}")
        request = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        with self._turns, ExitStack() as unfinished:
            connection = unfinished.enter_context(self._connection())
            answer = HTTPResponse(connection, method=method)
            unfinished.callback(answer.close)
            _exchange(connection, answer, request, check)
            parts = _decoded(_parts(answer), answer.headers.get("Content-Encoding", ""))
            yield answer, parts
            if not answer.will_close and next(parts, None) is None:
                unfinished.pop_all()
                answer.close()
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
        options: list[tuple[int, int, int | bytes]] = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        try:
            made = urllib3.util.connection.create_connection(self._at, self._timeout[0], socket_options=options)
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise NoConnection(*error.args) from error
        made.settimeout(self._timeout[1])
        return made


def _exchange(
    connection: socket.socket, answer: HTTPResponse, request: bytes, check: Callable[[], None] | None
) -> None:
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
        raise NoAnswer(*error.args) from error


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
    poll = get_original("select", "poll")()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
