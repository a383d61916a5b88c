"""A native thread that finds a hub held up by code that waits: by a system call that blocks and uses no CPU.

Neither kernel timer finds the call: the kernel restarts it after SIGALRM, and ITIMER_PROF counts CPU time. The thread
lets SIGALRM interrupt the call, so that its action can be parked or ended like an action that computes. A call that
cannot be interrupted (docs/reference/blocking-calls.md) ends the process at last.

No code here takes a lock of gevent: the greenlet that holds the lock may be the blocked one.
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
"""Share of the CPU from which on the main thread computes. A blocked thread that SIGALRM wakes each ms needs 0.1."""
LAST_WORDS = 2.0
"""Most seconds for the last line of a process: its stderr may have no reader."""


@dataclass
class Stage:
    """An act for a hub that has been held up for so many `seconds`; at most once each time."""

    seconds: float
    act: Callable[[], None]


class Blocking:
    """The native thread. Made in the main thread, which is watched."""

    def __init__(self, ran: Callable[[], float], *stages: Stage) -> None:
        """Start the thread. `ran` returns when the hub last ran, a new value after each run."""
        self._ran = ran
        self._stages = sorted(stages, key=lambda stage: stage.seconds)
        self._closed = False
        self._main = native_ident()
        self._clock = time.pthread_getcpuclockid(self._main)
        self._task = f"/proc/self/task/{monkey.get_original('_thread', 'get_native_id')()}/stat"
        native_thread(self._run, ())

    def close(self) -> None:
        """End the thread within a tick."""
        self._closed = True

    def frame(self) -> FrameType | None:
        """Return the innermost frame of the main thread."""
        return sys._current_frames().get(self._main)

    def _run(self) -> None:
        # Signals are for the main thread: a signal that woke this thread first, after SIGCONT say, would be late there.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        waited, ran, now, cpu, due = 0.0, 0.0, time.monotonic(), 0.0, self._stages
        while not self._closed:
            native_sleep(TICK)
            tick, used, last = time.monotonic() - now, time.clock_gettime(self._clock) - cpu, ran
            now, cpu, ran = now + tick, cpu + used, self._ran()
            if ran != last or used > BUSY * tick:
                waited, due = 0.0, self._stages
            elif self._sleeps():
                waited += min(tick, TICK)  # a freeze of the process counts as one tick
            while due and waited > due[0].seconds and not self._closed:
                due[0].act()
                due = due[1:]

    def _sleeps(self) -> bool:
        """Return whether the main thread waits: it neither wants a CPU that others have nor is held by a debugger."""
        with suppress(OSError, ValueError, IndexError), open(self._task, "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] in (b"S", b"D")
        return True


def blocked(runnings: Iterable[Running]) -> Running | None:
    """Return the action whose code, or whose child, the main thread executes. Callable from other native threads."""
    for running in list(runnings):
        if any(map(_on_stack, (running.greenlet, *running.children))):
            return running
    return None


def _on_stack(one: greenlet) -> bool:
    return greenlet.__bool__(one) and one.gr_frame is None  # a suspended greenlet has a frame


def end_process(fd: int, running: Running | None, frame: FrameType | None, session_timeout: float) -> NoReturn:
    """Write a line with job, action and call, and the stack of each thread; exit with code 1."""
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
