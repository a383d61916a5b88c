"""The end of a process whose hub never runs again, because C code keeps the GIL.

The time is CPU time: by the wall clock, 6 of 10 processes that had only been frozen by SIGSTOP died when they woke
(docs/measurements.md, "Ending code that computes"). A hub that is blocked without using the CPU is not seen here but in
`blocking`.
"""

from __future__ import annotations

import faulthandler
import os
import signal

AGAIN = 1.0
"""Seconds between two calls of the kernel that put the end off."""


class Watchdog:
    """Ends the process unless the hub calls `put_off`: writes the stack of every thread, then dies of SIGPROF.

    No Python code has to run for the end.
    """

    def __init__(self, seconds: float, fd: int) -> None:
        """Set the end to `seconds` of CPU time on each usable core. The stacks go to the file descriptor `fd`."""
        # The timer counts all threads: three native threads that worked ended a process whose single C call of 0.78 s
        # was legitimate. With a factor of the cores it is never too early, but late by up to that factor.
        self._seconds = seconds * len(os.sched_getaffinity(0))
        self._put_off = 0.0
        # chain: after the dump, SIGPROF has its default effect.
        faulthandler.register(signal.SIGPROF, file=fd, all_threads=True, chain=True)

    def put_off(self, now: float) -> None:
        """Put the end off, since the hub runs. `now` is monotonic seconds."""
        if now - self._put_off >= AGAIN:
            self._put_off = now
            signal.setitimer(signal.ITIMER_PROF, self._seconds)

    def close(self) -> None:
        """Let the process live without a hub from now on."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.unregister(signal.SIGPROF)
