"""Locks that keep a second `geventjob up` from the same data folder or port. They end with the process."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from pathlib import Path

from geventjob.cli.errors import UsageError
from geventjob.ownership import open_private


def lock_file(path: Path) -> int:
    """Lock a file, which holds the PID of its holder, and return its descriptor. Raises UsageError, OSError."""
    lock = open_private(path)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _already_running(os.read(lock, 20).decode() or "?") from None
    os.truncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def lock_port(port: int) -> int:
    """Bind an abstract socket that stands for a port, and return its descriptor. Raises UsageError.

    An abstract socket is a name in the kernel without a file, and the kernel knows the PID of its holder.
    """
    name = f"\0geventjob-up-{port}"
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind(name)
    except OSError:
        with lock:
            raise _already_running(_holder(name)) from None
    lock.listen()
    return lock.detach()


def free_port(host: str) -> int:
    """Return a port that is free now: children and their clients need its number before the server listens."""
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as listening:
        port: int = listening.getsockname()[1]
        return port


def _already_running(pid: object) -> UsageError:
    return UsageError(f"already running as PID {pid}; stop it or choose --port and --data-dir")


def _holder(name: str) -> object:
    """Return the PID of the process that listens at an abstract socket; `?` where the kernel does not tell."""
    try:
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(name)
            pid, _, _ = struct.unpack("3i", caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except OSError:  # the process has just ended, or many ask at once
        return "?"
    return pid or "?"
