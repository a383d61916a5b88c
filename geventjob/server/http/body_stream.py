"""The body of a request as it comes over the connection: framed strictly, read in parts, bounded where nobody wants it.

It stands in for `gevent.pywsgi.Input`, whose chunks may have a bare LF in an extension or a trailer (RFC 9112 §7.1 has
CRLF), and a size without a digit that ends in a ValueError.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import IO

import gevent
from gevent.pywsgi import _InvalidClientInput  # type: ignore[attr-defined]

PART = 64 * 1024
"""Bytes that are read at once."""
BREATH = 4
"""Parts after which other requests have their turn: a client may send faster than it is read."""
LINE = 4096
"""Bytes of the line that begins a chunk, and of a trailer."""
TRAILERS = 32

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00\r\n]*\r\n")


class BadBody(_InvalidClientInput):  # type: ignore[misc]
    """The body does not follow HTTP: where the next request begins is not known any more."""


class BodyStream:
    """The body, from `length` bytes or from chunks (`length` is None and `chunked`)."""

    def __init__(
        self,
        rfile: IO[bytes],
        length: int | None,
        chunked: bool,
        send_continue: Callable[[], None] | None,
        wait: Callable[[], None],
        end_wait: Callable[[], None],
    ) -> None:
        """`send_continue`: tells a client that waits for it (`Expect: 100-continue`) to send the body.

        `wait` and `end_wait` are called before and after something is awaited from the client.
        """
        self._rfile = rfile
        self._left = length or 0
        """Bytes of the body, or of the chunk, that have not been read."""
        self._chunked = chunked
        self._begun = False
        self._ended = not chunked and not length
        self._send_continue = send_continue
        self._wait, self._end_wait = wait, end_wait
        self.broken = False
        """Whether the next request cannot be found."""

    @property
    def ended(self) -> bool:
        """Whether all of the body was read."""
        return self._ended

    @property
    def awaited(self) -> bool:
        """Whether the client waits to be told before it sends the body."""
        return self._send_continue is not None

    def read(self, length: int | None = None) -> bytes:
        """Up to `length` bytes, fewer only at the end. Raises BadBody, OSError for a connection that fails."""
        parts, wanted = [], -1 if length is None else length
        if self._send_continue is not None and not self._ended and wanted != 0:
            send, self._send_continue = self._send_continue, None
            send()
        self._wait()
        try:
            while wanted and (part := self._part(wanted)):
                parts.append(part)
                wanted -= len(part) if wanted > 0 else 0
                if len(parts) % BREATH == 0:
                    gevent.sleep(0)
        finally:
            self._end_wait()
        return b"".join(parts)

    def _part(self, wanted: int) -> bytes:
        """Some of the body; empty at its end."""
        try:
            if self._chunked and not self._left and not self._ended:
                self._next_chunk()
            if self._ended:
                return b""
            part = self._rfile.read(min(PART, self._left, wanted if wanted > 0 else PART))
            if not part:
                raise BadBody("the connection ended within the body")
            self._left -= len(part)
            self._ended = not self._chunked and not self._left
        except BaseException:
            self.broken = True
            raise
        return part

    def _next_chunk(self) -> None:
        if self._begun and self._rfile.readline(2) != b"\r\n":
            raise BadBody("a chunk does not end where it should")
        self._begun = True
        match = _SIZE.fullmatch(self._rfile.readline(LINE))
        if match is None:
            raise BadBody("a chunk begins with no size on a line of its own")
        self._left = int(match[1], 16)
        if not self._left:
            self._read_trailers()
            self._ended = True

    def _read_trailers(self) -> None:
        for _ in range(TRAILERS):
            line = self._rfile.readline(LINE)
            if line == b"\r\n":
                return
            if not _TRAILER.fullmatch(line):
                raise BadBody("a trailer is no header")
        raise BadBody(f"more than {TRAILERS} trailers")

    def discard(self, limit: int, seconds: float) -> bool:
        """Read what is left of a body that has its answer; whether the next request may follow.

        A client that waits to be told to send its body is not told any more.
        """
        if self._ended or self.broken:
            return not self.broken
        if self.awaited:
            return False
        with gevent.Timeout(seconds, False):  # type: ignore[arg-type]
            while not self._ended and limit > 0:
                try:
                    limit -= len(self.read(min(limit, PART)))
                except OSError:
                    return False
                gevent.sleep(0)
        return self._ended

    def _discard(self) -> None:
        """Nothing: pywsgi calls this; the handler discards by itself, within its limits."""
