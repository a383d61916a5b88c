"""A native thread that sees a hub held up by code that waits: a system call that blocks, and uses no CPU.

Neither kernel timer sees such a call: the kernel restarts it after SIGALRM, and ITIMER_PROF counts CPU time. The
thread lets SIGALRM interrupt the call, so that its action can be parked or ended like one that computes; a call that
cannot be interrupted (docs/reference/blocking-calls.md) ends the process in the end.

Nothing here takes a lock of gevent's: the greenlet that holds it may be the one that is blocked.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from gevent import monkey
from greenlet import greenlet

from geventjob import debug, log
from geventjob.executor.running import Running

native_sleep: Any = monkey.get_original("time", "sleep")
native_thread: Any = monkey.get_original("_thread", "start_new_thread")
native_lock: Any = monkey.get_original("_thread", "allocate_lock")
native_ident: Any = monkey.get_original("_thread", "get_ident")

TICK = 0.2
"""Seconds between two looks."""
BUSY = 0.25
"""Share of the CPU from which on the main thread computes; a blocked one that SIGALRM wakes each ms needs 0.1."""
LAST_WORDS = 2.0
"""Seconds for what a process has to write at its end: nobody may read its stderr."""


@dataclass
class Stage:
    """What to do once the hub has been held up for so many `seconds`; at most once each time."""

    seconds: float
    act: Callable[[], None]


class Blocking:
    """The thread. Made in the main thread, which is the one that is watched."""

    def __init__(self, ran: Callable[[], float], *stages: Stage) -> None:
        """`ran` tells when the hub last ran; each value differs from the last one."""
        self._ran = ran
        self._stages = sorted(stages, key=lambda stage: stage.seconds)
        self._closed = False
        self._main = native_ident()
        self._clock = time.pthread_getcpuclockid(self._main)
        self._task = f"/proc/self/task/{monkey.get_original('_thread', 'get_native_id')()}/stat"
        native_thread(self._run, ())

    def close(self) -> None:
        """End within a tick."""
        self._closed = True

    def frame(self) -> FrameType | None:
        """Return the innermost frame of the main thread."""
        return sys._current_frames().get(self._main)

    def _run(self) -> None:
        # Signals are the main thread's: one that woke this thread first, after SIGCONT say, would come late to it.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        waited, ran, now, cpu, due = 0.0, 0.0, time.monotonic(), 0.0, self._stages
        while not self._closed:
            native_sleep(TICK)
            tick, used, last = time.monotonic() - now, time.clock_gettime(self._clock) - cpu, ran
            now, cpu, ran = now + tick, cpu + used, self._ran()
            if ran != last or used > BUSY * tick:
                waited, due = 0.0, self._stages
            elif self._sleeps():
                waited += min(tick, TICK)  # of the time for which the process was frozen, no more than one tick
            while due and waited > due[0].seconds and not self._closed:
                due[0].act()
                due = due[1:]

    def _sleeps(self) -> bool:
        """Whether the main thread waits, rather than wants a CPU that others have, or is held by a debugger."""
        with suppress(OSError, ValueError, IndexError), open(self._task, "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] in (b"S", b"D")
        return True


def blocked(runnings: Iterable[Running]) -> Running | None:
    """Return the action whose code, or a greenlet of whose, the main thread executes; from another native thread."""
    for running in list(runnings):
        if any(map(_on_stack, (running.greenlet, *running.children))):
            return running
    return None


def _on_stack(one: greenlet) -> bool:
    return greenlet.__bool__(one) and one.gr_frame is None  # of a suspended one there is a frame


def end_process(fd: int, running: Running | None, frame: FrameType | None, session_timeout: float) -> NoReturn:
    """Write a line that names job, action and call, and the stack of each thread; exit with code 1."""
    who = f"{running.job_id} {running.action}" if running else "-"
    text = (
        f"the hub has not run for longer than the session lives ({session_timeout:g} s): held up without using the CPU"
        f" by {debug.place(frame)}, which cannot be interrupted; the process ends"
    )
    stacks = "".join(f"\nthread {ident}\n{debug.stack(each)}" for ident, each in sys._current_frames().items())
    line = log.format_line(time.time(), "CRITICAL", __name__, who, text + stacks)
    done = native_lock()
    done.acquire()

    def write() -> None:
        with suppress(OSError):
            os.write(fd, log.encode(line))
        done.release()

    native_thread(write, ())
    done.acquire(timeout=LAST_WORDS)
    os._exit(1)
