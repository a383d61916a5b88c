"""Let multiprocessing wait in greenlets: gevent leaves its pipes, semaphores and spawned processes blocking the hub.

`Pool.map` would never return: the thread that reads results blocks the thread that sends the tasks.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from multiprocessing import connection, popen_fork, synchronize, util
from time import monotonic
from typing import Any

import gevent
import gevent.os
import gevent.socket

LONGEST = 0.02
"""Most seconds between two attempts to acquire a semaphore that another process holds."""


def cooperate() -> None:
    """Replace the calls that block, for the whole process. Call this once, in an entry point after gevent's patch."""
    connection.Pipe = _pipe
    connection.Connection._recv.__defaults__ = (_read,)  # type: ignore[attr-defined]
    connection.Connection._send.__defaults__ = (_write,)  # type: ignore[attr-defined]
    popen_fork.Popen.wait = _wait  # type: ignore[method-assign]
    synchronize.SemLock._make_methods = _make_methods  # type: ignore[attr-defined]
    spawn = util.spawnv_passfds

    def watched(*args: Any) -> int:
        """Start a process and make it known to `os.waitpid` of gevent; else the hub would take the exit code away."""
        return int(gevent.os.fork_and_watch(fork=lambda: spawn(*args)))

    util.spawnv_passfds = watched  # type: ignore[assignment]


def _pipe(duplex: bool = True, pipe: Callable[..., Any] = connection.Pipe) -> Any:
    """Return the two ends of a pipe, which block: gevent makes sockets that do not, and a process that is started anew
    and reads its end would get BlockingIOError.
    """
    ends = pipe(duplex)
    for end in ends:
        os.set_blocking(end.fileno(), True)
    return ends


def _read(descriptor: int, size: int) -> bytes:
    gevent.socket.wait_read(descriptor)
    return os.read(descriptor, size)


def _write(descriptor: int, data: bytes) -> int:
    gevent.socket.wait_write(descriptor)
    return os.write(descriptor, data[: select.PIPE_BUF])  # a pipe that is ready for writing accepts this many bytes


def _wait(self: Any, timeout: float | None = None, wait: Callable[..., Any] = popen_fork.Popen.wait) -> int | None:
    if self.returncode is None and timeout is None:
        connection.wait([self.sentinel])
    code: int | None = wait(self, timeout)
    return code


def _make_methods(self: Any) -> None:
    """Give a semaphore its methods. `acquire` polls, since another process sends no sign of a release."""
    semaphore = self._semlock
    self.release = semaphore.release

    def acquire(block: bool = True, timeout: float | None = None) -> bool:
        until = None if timeout is None else monotonic() + timeout
        delay = LONGEST / 32
        while not semaphore.acquire(False):
            if not block or (until is not None and monotonic() >= until):
                return False
            gevent.sleep(delay)
            delay = min(LONGEST, delay * 2)
        return True

    self.acquire = acquire
