"""Large answers: bounded in bytes, and in a file while a client reads them, so that a slow one holds a part only."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Any

import falcon
import gevent
from gevent.threadpool import ThreadPool

from geventjob.server.problem import Problem, away

LARGEST = 32 << 20
"""Bytes of the largest answer."""
PART = 64 * 1024
"""Bytes up to which an answer stays in memory, and of which a larger one is sent at once."""
ROOM = 1 << 30
"""Bytes of all answers that are being read by clients."""

_taken = 0


class Spooled:
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


def set_answer(resp: falcon.Response, data: bytes) -> None:
    """Answer these bytes. Raises Problem 413 where they are too many, 503 where slow clients read too many already."""
    global _taken  # noqa: PLW0603
    if len(data) <= PART:
        resp.data = data
        return
    if len(data) > LARGEST:
        raise too_large()
    if _taken + len(data) > ROOM:
        raise away("clients are reading too many large answers")
    _taken += len(data)
    try:
        file = _threads().apply(_written, (data,))
    except BaseException:
        _taken -= len(data)
        raise
    if isinstance(file, OSError):
        _taken -= len(data)
        raise away(f"a large answer cannot be kept: {file.strerror}")
    resp.set_stream(Spooled(file, len(data)), len(data))


def too_large() -> Problem:
    """The refusal of an answer that would be larger than LARGEST."""
    return Problem(
        413, f"the answer is larger than {LARGEST >> 20} MB: name the attributes with $select, or page by $first, $last"
    )


def _threads() -> ThreadPool:
    pool: ThreadPool = gevent.get_hub().threadpool
    return pool


def _written(data: bytes) -> Any:
    """The file, or its error."""
    try:
        file = tempfile.TemporaryFile(prefix="geventjob-")  # noqa: SIM115
        file.write(data)
        file.seek(0)
    except OSError as error:
        return error
    return file
