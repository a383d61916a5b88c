"""The end of a process whose hub never comes back, because C code keeps the GIL.

Counted in CPU time, not on the wall clock: by that, 6 of 10 processes that had only been frozen by SIGSTOP died when
they woke (FINDINGS §1b). It is blind to a hub that is blocked without using the CPU.
"""

from __future__ import annotations

import faulthandler
import os
import signal

AGAIN = 1.0  # seconds between two times that the hub puts the end off


class Watchdog:
    """While the hub calls `put_off`, nothing happens; when it does not, the stack of every thread is written and the
    process dies of SIGPROF. No Python code has to run for that."""

    def __init__(self, seconds: float, fd: int) -> None:
        """`seconds` of CPU for each usable core. The stacks go to the file descriptor `fd`."""
        # The timer counts all threads: three native threads that worked ended a process whose one C call of 0.78 s
        # was legitimate. Times the cores it is never too early, and up to so many times later.
        self._seconds = seconds * len(os.sched_getaffinity(0))
        self._put_off = 0.0
        # chain: after the dump, what SIGPROF does by default.
        faulthandler.register(signal.SIGPROF, file=fd, all_threads=True, chain=True)

    def put_off(self, now: float) -> None:
        """The hub runs. `now` is monotonic."""
        if now - self._put_off >= AGAIN:
            self._put_off = now
            signal.setitimer(signal.ITIMER_PROF, self._seconds)

    def close(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.unregister(signal.SIGPROF)
