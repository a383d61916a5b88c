"""Large responses: bounded in bytes, and spooled to a file, so that a slow reader costs one part of memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Any

import falcon
import gevent
from gevent.threadpool import ThreadPool

from geventjob.server.problem import Problem, unavailable

MAX_RESPONSE = 32 << 20
"""Bytes of the largest response."""
PART = 64 * 1024
"""Bytes of the largest response in memory, and of each part that is sent of a larger response."""
SPOOL_SIZE = 1 << 30
"""Bytes of all spooled responses together."""

_spooled = 0


class SpooledBody:
    """A response in a nameless file, which ends with `close`."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._size = size

    def __iter__(self) -> Iterator[bytes]:
        while part := self._file.read(PART):
            yield part

    def close(self) -> None:
        """Remove the file; the WSGI server calls this method after the response or a failure of the connection."""
        global _spooled  # noqa: PLW0603
        _spooled -= self._size
        self._size = 0
        self._file.close()


def set_body(resp: falcon.Response, parts: Sequence[bytes]) -> None:
    """Set the body of the response. Raises Problem 413 above MAX_RESPONSE bytes, 503 when the spool fails."""
    global _spooled  # noqa: PLW0603
    size = sum(map(len, parts))
    if size <= PART:
        resp.data = b"".join(parts)
        return
    if size > MAX_RESPONSE:
        raise too_large()
    if _spooled + size > SPOOL_SIZE:
        raise unavailable("clients are reading too many large responses")
    _spooled += size
    try:
        file = _threads().apply(_written, (parts,))
    except BaseException:
        _spooled -= size
        raise
    if isinstance(file, OSError):
        _spooled -= size
        raise unavailable(f"a large response cannot be spooled: {file.strerror}")
    resp.set_stream(SpooledBody(file, size), size)


def too_large() -> Problem:
    """Return a 413 for a response above MAX_RESPONSE bytes."""
    return Problem(
        413,
        f"the response exceeds {MAX_RESPONSE >> 20} MB: name the attributes with $select, or page by $first, $last",
    )


def _threads() -> ThreadPool:
    pool: ThreadPool = gevent.get_hub().threadpool
    return pool


def _written(parts: Sequence[bytes]) -> Any:
    """Return the spooled file, or its error: gevent prints the traceback of an error raised in a thread."""
    try:
        file = tempfile.TemporaryFile(prefix="geventjob-")  # noqa: SIM115
        file.writelines(parts)
        file.seek(0)
    except OSError as error:
        return error
    return file
