"""Large answers: bounded in bytes, and in a file while a client reads them, so that a slow one holds a part only."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Any

import falcon
import gevent
from gevent.threadpool import ThreadPool

from geventjob.server.problem import Problem, unavailable

LARGEST = 32 << 20
"""Bytes of the largest answer."""
PART = 64 * 1024
"""Bytes up to which an answer stays in memory, and of which a larger one is sent at once."""
ROOM = 1 << 30
"""Bytes of all answers that are being read by clients."""

_taken = 0


class SpooledBody:
    """An answer in a file without a name; it ends with its iteration or `close`."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._size = size

    def __iter__(self) -> Iterator[bytes]:
        while part := self._file.read(PART):
            yield part

    def close(self) -> None:
        global _taken  # noqa: PLW0603
        _taken -= self._size
        self._size = 0
        self._file.close()


def set_body(resp: falcon.Response, parts: Sequence[bytes]) -> None:
    """Answer these bytes. Raises Problem 413 where they are too many, 503 where slow clients read too many already."""
    global _taken  # noqa: PLW0603
    size = sum(map(len, parts))
    if size <= PART:
        resp.data = b"".join(parts)
        return
    if size > LARGEST:
        raise too_large()
    if _taken + size > ROOM:
        raise unavailable("clients are reading too many large answers")
    _taken += size
    try:
        file = _threads().apply(_written, (parts,))
    except BaseException:
        _taken -= size
        raise
    if isinstance(file, OSError):
        _taken -= size
        raise unavailable(f"a large answer cannot be kept: {file.strerror}")
    resp.set_stream(SpooledBody(file, size), size)


def too_large() -> Problem:
    """The refusal of an answer that would be larger than LARGEST."""
    return Problem(
        413, f"the answer is larger than {LARGEST >> 20} MB: name the attributes with $select, or page by $first, $last"
    )


def _threads() -> ThreadPool:
    pool: ThreadPool = gevent.get_hub().threadpool
    return pool


def _written(parts: Sequence[bytes]) -> Any:
    """The file, or its error."""
    try:
        file = tempfile.TemporaryFile(prefix="geventjob-")  # noqa: SIM115
        file.writelines(parts)
        file.seek(0)
    except OSError as error:
        return error
    return file
