"""What a process asks of the kernel for itself, by prctl(2) and setrlimit(2)."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Become the parent of all descendants whose parent has ended: none of them escapes. Raises OSError."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int, number: signal.Signals) -> None:
    """Get a signal when the parent, of this process id, ends; at once if it has ended already. Raises OSError."""
    _prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def limit_memory(most: int) -> None:
    """Let allocations fail above so many bytes of data of this process. Raises OSError, ValueError.

    Data is private memory that may be written; the limit of the address space would count what glibc only reserves for
    threads.
    """
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
