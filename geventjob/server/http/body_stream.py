"""The body of a request on the connection: framing by length or by chunks, parsed strictly and read in parts.

BodyStream replaces `gevent.pywsgi.Input`, which accepts a bare LF in the extension or trailer of a chunk (RFC 9112 §7.1
requires CRLF) and raises ValueError for a chunk size without a digit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import IO

import gevent
from gevent.pywsgi import _InvalidClientInput  # type: ignore[attr-defined]

PART = 64 * 1024
"""Bytes of one read."""
PARTS_PER_TURN = 4
"""Parts after which other requests get a turn: a client may send faster than the server reads."""
MAX_LINE = 4096
"""Bytes of a chunk's first line, and of a trailer."""
MAX_TRAILERS = 32

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00\r\n]*\r\n")


class BadBody(_InvalidClientInput):  # type: ignore[misc]
    """The body does not follow HTTP, and the start of the next request is unknown."""


class BodyStream:
    """A body of `length` bytes, or of chunks (`length` is None, `chunked` is true)."""

    def __init__(
        self,
        rfile: IO[bytes],
        length: int | None,
        chunked: bool,
        send_continue: Callable[[], None] | None,
        wait: Callable[[], None],
        end_wait: Callable[[], None],
    ) -> None:
        """`send_continue`: asks a client that waits for the request (`Expect: 100-continue`) to send the body.

        `wait` and `end_wait` are called before and after each wait for the client.
        """
        self._rfile = rfile
        self._left = length or 0
        """Unread bytes of the body, or of the current chunk."""
        self._chunked = chunked
        self._begun = False
        self._ended = not chunked and not length
        self._send_continue = send_continue
        self._wait, self._end_wait = wait, end_wait
        self.broken = False
        """Whether the start of the next request is unknown."""

    @property
    def ended(self) -> bool:
        """Whether the whole body was read."""
        return self._ended

    @property
    def awaited(self) -> bool:
        """Whether the client waits for `100 Continue` before it sends the body."""
        return self._send_continue is not None

    def read(self, length: int | None = None) -> bytes:
        """Return `length` bytes, fewer only at the end; None: the whole body.

        Raises BadBody, and OSError for a connection that fails.
        """
        parts, wanted = [], -1 if length is None else length
        if self._send_continue is not None and not self._ended and wanted != 0:
            send, self._send_continue = self._send_continue, None
            send()
        self._wait()
        try:
            while wanted and (part := self._part(wanted)):
                parts.append(part)
                wanted -= len(part) if wanted > 0 else 0
                if len(parts) % PARTS_PER_TURN == 0:
                    gevent.sleep(0)
        finally:
            self._end_wait()
        return b"".join(parts)

    def _part(self, wanted: int) -> bytes:
        """Return the next part of the body; empty at the end."""
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
            raise BadBody("a chunk is longer than its size")
        self._begun = True
        match = _SIZE.fullmatch(self._rfile.readline(MAX_LINE))
        if match is None:
            raise BadBody("a chunk does not begin with its size on a line")
        self._left = int(match[1], 16)
        if not self._left:
            self._read_trailers()
            self._ended = True

    def _read_trailers(self) -> None:
        for _ in range(MAX_TRAILERS):
            line = self._rfile.readline(MAX_LINE)
            if line == b"\r\n":
                return
            if not _TRAILER.fullmatch(line):
                raise BadBody("a trailer is not a header")
        raise BadBody(f"more than {MAX_TRAILERS} trailers")

    def discard(self, limit: int, seconds: float) -> bool:
        """Read the rest of a body after its response, and return whether the next request may follow.

        `limit`: bytes. A client that waits for `100 Continue` does not get it any more.
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
        """Do nothing: pywsgi calls this method; the handler calls `discard` itself, with its limits."""
