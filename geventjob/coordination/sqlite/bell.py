"""Bells wake the processes of one machine: each process has a FIFO, and a byte written to it says what has changed.

A ring takes 0.18 ms, a FIFO has no path limit as a UNIX socket has, and ENXIO tells that the reader is dead
(docs/measurements.md, "SQLite as a queue"). A byte is only a hint to read the database: a byte too many costs one read,
and every heartbeat makes all waiting processes read.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import gevent
from gevent.event import Event

QUEUE = b"q"
"""An entry was put or became free."""
ELECTION = b"e"
INBOX = b"i"
SESSIONS = b"s"
"""A session began or ended."""
ALL = QUEUE + ELECTION + INBOX + SESSIONS

_PIPE = 65536


def is_heard(database: str, bell: str) -> bool:
    """Return whether a process of this machine has this bell open.

    The kernel knows, whatever boot id or process ids a container shows.
    """
    try:
        descriptor = os.open(_fifo(database, bell), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return error.errno not in (errno.ENXIO, errno.ENOENT)
    os.close(descriptor)
    return True


def ring(database: str, bell: str, what: bytes) -> None:
    """Wake the process that owns a bell. A dead process is no error; its FIFO is removed."""
    fifo = _fifo(database, bell)
    try:
        descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            with suppress(OSError):
                os.unlink(fifo)
        return
    with suppress(OSError):  # a full pipe wakes its reader anyway
        os.write(descriptor, what)
    os.close(descriptor)


def _fifo(database: str, bell: str) -> str:
    return f"{database}.bell-{os.path.basename(bell)}"


class Bell:
    """The FIFO of this process, and the greenlets that listen to it."""

    def __init__(self, database: str) -> None:
        self._database = database
        self.name = ""
        self._descriptor = -1
        self._watcher: Any = None
        self._listening: dict[Event, bytes] = {}

    def hang(self) -> None:
        """Make the FIFO, and remove the FIFOs of dead processes.

        Called in a native thread, under the lock of the database.

        Without the lock, another process could take a FIFO that is just being made for that of a dead process.
        """
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        os.mkfifo(self._path, 0o600)
        os.chmod(self._path, 0o600)  # whatever the umask
        self._descriptor = os.open(
            self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
        )  # RDWR: without a writer, reads would find the end
        directory, prefix = os.path.split(_fifo(self._database, ""))
        for name in os.listdir(directory):
            if name.startswith(prefix):
                ring(self._database, name[len(prefix) :], b"")

    def start(self) -> None:
        """Begin to listen, in the hub."""
        self._watcher = gevent.get_hub().loop.io(self._descriptor, 1)
        self._watcher.start(self._rung)

    def close(self) -> None:
        """Stop listening, wake all listeners, and remove the FIFO."""
        if self._descriptor >= 0:
            with suppress(FileNotFoundError):
                os.unlink(self._path)
        self.disown()
        self.wake(ALL)

    def disown(self) -> None:
        """Close the FIFO and leave it in place; in a forked child."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @contextmanager
    def heard(self, what: bytes) -> Iterator[Event]:
        """Return an event that is set each time this bell rings for one of `what`."""
        event = Event()
        self._listening[event] = what
        try:
            yield event
        finally:
            del self._listening[event]

    def wake(self, what: bytes) -> None:
        """Wake the greenlets of this process that listen for one of `what`, as if the bell had rung."""
        for event, kinds in list(self._listening.items()):
            if any(kind in what for kind in kinds):
                event.set()

    @property
    def _path(self) -> str:
        return _fifo(self._database, self.name)

    def _rung(self) -> None:
        with suppress(BlockingIOError):
            self.wake(os.read(self._descriptor, _PIPE))
