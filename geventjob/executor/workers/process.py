"""A worker from the executor's view: its socket, its stack, its end."""

from __future__ import annotations

import fcntl
import os
import re
import signal
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

import gevent
from gevent import socket
from gevent.event import Event

from geventjob.debug import Place
from geventjob.executor.workers.messages import (
    HEAD,
    LARGEST,
    BadMessage,
    Died,
    FromWorker,
    ToWorker,
    framed,
    unpacked,
)

CHUNK = 1 << 16
AT_ONCE = 50
"""Messages after which other greenlets run."""
DUMPED = 1 << 16
"""Bytes of a stack."""
PATIENCE = 0.5
"""Seconds for a stack."""
DEATH = 5.0
"""Seconds for the news of a death."""
WORKER = "geventjob/executor/workers/worker.py"
"""The file whose functions call the action."""
FRAME = re.compile(r'^  File "(.*)", line (\d+) in (.*)$', re.MULTILINE)


class Gone(Exception):
    """The worker has closed its socket, as by its death."""


class WorkerProcess:
    """A worker, idle or with a job."""

    def __init__(self, number: int, action: str, send_signal: Callable[[int, int], None]) -> None:
        self.number = number
        self.action = action
        self.jobs = 0
        """Jobs that were started in it."""
        self.idle_since = 0.0
        self.outdated = False
        """Whether the files of actions were read again since its start."""
        self.death: Died | None = None
        self.dead = Event()
        self._send_signal = send_signal
        self._buffer = bytearray()
        self._received = 0
        self._socket, self._theirs = socket.socketpair()
        os.set_blocking(self._theirs.fileno(), True)
        self._dump = os.memfd_create("stack", os.MFD_CLOEXEC)
        fcntl.fcntl(self._dump, fcntl.F_SETFL, os.O_APPEND)

    # --- its birth and its end

    @property
    def descriptors(self) -> tuple[int, int]:
        """The descriptors for the new process: its socket, and its file for stacks."""
        return self._theirs.fileno(), self._dump

    def forked(self) -> None:
        """Close what the new process has a copy of."""
        self._theirs.close()

    def died(self, death: Died) -> None:
        """Note the death; `receive` raises Gone behind the messages that are still there."""
        self.death = death
        self.dead.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def signal(self, number: int) -> None:
        """Send a signal to the process, if it lives."""
        self._send_signal(self.number, number)

    def kill(self) -> None:
        """End the process, with all that it has started."""
        self.signal(signal.SIGKILL)

    def close(self) -> None:
        """Kill the process, and close the connection."""
        if self.death is None:
            self.kill()
        self._socket.close()
        if self._dump >= 0:
            os.close(self._dump)
            self._dump = -1

    # --- messages

    def send(self, message: ToWorker) -> None:
        """Send a message. An exception that is thrown meanwhile may leave half of a message, and ends the process."""
        self._socket.settimeout(None)
        try:
            self._socket.sendall(framed(message))
        except OSError:  # of a worker that is gone, as the next `receive` tells
            pass
        except BaseException:
            self.kill()
            raise

    def receive(self, seconds: float | None = None) -> FromWorker:
        """Return the next message. Raises Gone, BadMessage, and TimeoutError after so many seconds."""
        self._received += 1
        if self._received % AT_ONCE == 0:
            gevent.sleep(0)
        body = self._take(self._take_head(seconds), seconds)
        message: FromWorker = unpacked(FromWorker, body)
        del self._buffer[: HEAD.size + len(body)]
        return message

    def _take_head(self, seconds: float | None) -> int:
        self._fill(HEAD.size, seconds)
        size: int = HEAD.unpack_from(self._buffer)[0]
        if size > LARGEST:
            raise BadMessage(f"a message of {size:,} bytes")
        return size

    def _take(self, size: int, seconds: float | None) -> bytes:
        self._fill(HEAD.size + size, seconds)
        return bytes(self._buffer[HEAD.size : HEAD.size + size])

    def _fill(self, size: int, seconds: float | None) -> None:
        """Have so many bytes in the buffer. An exception that is thrown meanwhile loses none."""
        while len(self._buffer) < size:
            self._socket.settimeout(seconds)
            try:
                data = self._socket.recv(CHUNK)
            except TimeoutError:
                raise
            except OSError as error:
                raise Gone from error
            if not data:
                raise Gone
            self._buffer += data

    # --- its stack

    def stack(self) -> list[Place]:
        """Return the stack that the process has written last, from the innermost place out; empty without one."""
        text = os.pread(self._dump, DUMPED, max(0, os.fstat(self._dump).st_size - DUMPED)).decode(errors="replace")
        last = re.split(r"^(?:Current thread|Thread|Stack) ", text, flags=re.MULTILINE)[-1]
        places = [(file, int(line), name) for file, line, name in FRAME.findall(last)]
        beginning = next((n for n, (file, _, _) in enumerate(places) if file.endswith(WORKER)), len(places))
        return places[:beginning]

    def ask_stack(self) -> list[Place]:
        """Let the process write its stack, and return it. The process may have no time for it, within PATIENCE."""
        before = os.fstat(self._dump).st_size
        self.signal(signal.SIGUSR1)
        until = monotonic() + PATIENCE
        while os.fstat(self._dump).st_size == before and monotonic() < until:
            gevent.sleep(0.01)
        return self.stack()


def used(death: Died | None) -> str:
    """Return in words what a process has used, for people."""
    if death is None:
        return "what it used is not known"
    return f"it used {max(1, death.memory >> 20)} MB of memory at most, and {death.cpu:.2f} s of CPU"


def cause(death: Died | None) -> str:
    """Return in words how a process ended."""
    if death is None:
        return "closed the connection to its executor"
    if death.over_memory:
        return "was killed: its memory was not enough"
    if os.WIFSIGNALED(death.status):
        number = os.WTERMSIG(death.status)
        names: dict[int, Any] = {one.value: one.name for one in signal.Signals}
        return f"was killed by {names.get(number, f'signal {number}')}"
    return f"ended with exit code {os.WEXITSTATUS(death.status)}"
