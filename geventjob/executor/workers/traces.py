"""What a run leaves behind in its process, and would be in the way of the next run there."""

from __future__ import annotations

import builtins
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})

PATCHED = (builtins, os, signal, socket, threading, time)
"""Modules whose functions code replaces, as tests do."""


class Traces:
    """The state of the process when a run begins: one that differs at the end runs no other job."""

    def __init__(self) -> None:
        self._before = _state()

    def left(self) -> bool:
        """Return whether the run has left a trace: changed state, a thread, a child, a timer, a replaced function."""
        try:
            return _state() != self._before or _children()
        except Exception:  # no directory, no descriptors
            return True


def _state() -> tuple[Any, ...]:
    umask = os.umask(0o77)
    os.umask(umask)
    return (
        os.getcwd(),
        dict(os.environ),
        umask,
        sys.stdout,
        sys.stderr,
        sys.getrecursionlimit(),
        [signal.getsignal(number) for number in SIGNALS],
        signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        len(os.listdir("/proc/self/task")),
        [dict(vars(module)) for module in PATCHED],
    )


def _children() -> bool:
    """Return whether the process has children, running or not."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
