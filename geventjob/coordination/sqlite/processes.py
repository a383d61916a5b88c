"""The identity of a process, and its death, seen at once: a pidfd in the hub tells 0.3 ms after kill -9."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import gevent

BOOT_ID = "/proc/sys/kernel/random/boot_id"


class ProcessIdentity(NamedTuple):
    """A process beyond doubt: a process id alone comes back after a reboot, in a container, or after 2**22 forks."""

    boot: str
    """The kernel's id of the boot, as this process sees it.

    Containers and sandboxes of one machine may show other ids.
    """
    namespace: str
    """The namespace of process ids; empty if unknown."""
    pid: int
    started: int
    """Clock ticks from the boot to the start, from `/proc/<pid>/stat`."""


def this_process() -> ProcessIdentity:
    """Return the identity of this process. Raises OSError without /proc.

    Where the boot id is hidden (systemd's `ProcSubset=pid`), a random id stands in.
    """
    try:
        with open(BOOT_ID) as file:
            boot = file.read().strip()
    except OSError:
        boot = secrets.token_hex(16)
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return ProcessIdentity(boot, namespace, os.getpid(), _started(os.getpid()))


def _started(pid: int) -> int:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])  # field 22; the name before may hold any byte


class Deaths:
    """Watches the processes that hold sessions. Where watching is impossible, their sessions expire instead."""

    def __init__(self, myself: ProcessIdentity, died: Callable[[int], None]) -> None:
        """Keep the listener: `died(session)` is called, in the hub or in the caller of `watch`, when the process has
        ended."""
        self._myself = myself
        self._died = died
        self._watched: dict[int, Any] = {}

    def watch(self, sessions: Mapping[int, ProcessIdentity]) -> None:
        """Watch the processes of these sessions, and no longer any others."""
        for session in self._watched.keys() - sessions.keys():
            self._forget(session)
        for session in sessions.keys() - self._watched.keys():
            self._watch(session, sessions[session])

    def close(self) -> None:
        self.watch({})

    def _watch(self, session: int, process: ProcessIdentity) -> None:
        self._watched[session] = None
        if process == self._myself or not process.namespace or process.namespace != self._myself.namespace:
            return
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            self._died(session)
        except OSError:  # an old kernel, or a sandbox that forbids it
            return
        else:
            self._watched[session] = watcher = gevent.get_hub().loop.io(descriptor, 1)
            watcher.start(self._ended, session)
            if _is_another(process):
                self._ended(session)

    def _ended(self, session: int) -> None:
        self._watched[session].stop()
        self._died(session)

    def _forget(self, session: int) -> None:
        watcher = self._watched.pop(session)
        if watcher is not None:
            descriptor = watcher.fd
            watcher.stop()
            watcher.close()
            os.close(descriptor)


def _is_another(process: ProcessIdentity) -> bool:
    """Return whether another process has the process id since.

    Called while a pidfd pins the process that has the id now.
    """
    with suppress(OSError):  # /proc may hide other users' processes; the pidfd tells a dead one
        return _started(process.pid) != process.started
    return False
