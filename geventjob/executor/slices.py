"""Time slices: a greenlet that computes gives way to the hub, and gets its next slice when the hub is idle.

The hub arms ITIMER_REAL again and again, so SIGALRM comes only when the hub did not run for `lag` seconds, and then
repeatedly until the hub runs. The kernel needs no GIL for the signal, unlike a native thread: while `re.match` kept the
GIL for 35 s, a thread did not get to send a single signal (docs/measurements.md, "Ending code that computes").

Parked greenlets are resumed singly, one at each turn of the loop, the longest wait first, and only when nothing else is
pending. With `sleep(0)` instead, an answer of ZooKeeper took 4.2 s of a session of 4 s beside 10 greenlets that
computed; with this queue 105 ms (docs/measurements.md, "Slicing code that computes").
"""

from __future__ import annotations

import select
import signal
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, thread_time
from types import FrameType
from typing import Any

import gevent
from gevent._waiter import Waiter
from gevent.monkey import get_original

FIRST = 2  # priorities of libev watchers: ahead of all others, behind all others
LAST = -2
CHECK = 0x8000  # libev's EV_CHECK
RETRY = 0.001
LOOK = 0.001
"""Seconds between two looks, from the handler of SIGALRM, whether something else is ready."""
SWITCH = 0.0001
"""Seconds after which a slice hands the GIL to a native thread that waits for it, as the threads of SQLite do: each of
the ten statements of a put and a take waits so long."""


@dataclass(frozen=True)
class Pace:
    """Times in seconds. The hub stands still for about `lag + turn` at most, however many greenlets compute."""

    lag: float = 0.1
    """The time for which a greenlet may keep the hub from running before SIGALRM interrupts the greenlet."""
    slice: float = 0.05
    """The time for which a greenlet that computes runs in its turn, if nothing else is ready meanwhile."""
    turn: float = 0.25
    """The time that all greenlets may take together that begin to compute in the same turn of the hub."""
    beat: float = 0.04
    """The interval at which the hub arms the timer again."""


class Slices:
    """The kernel timer and the queue of parked greenlets. One for a process.

    Methods are for the hub, unless their docstring begins with another greenlet or thread.
    """

    def __init__(self, pace: Pace, turned: Callable[[float], None]) -> None:
        """Make the parts; `start` arms the timer.

        `turned(seconds)` is called in the hub at each turn of its loop, ahead of everything else in the turn, with the
        time since the last turn.
        """
        self._pace = pace
        self._turned = turned
        self._gap = pace.turn / 25
        self._parked: deque[tuple[Waiter[None], bool]] = deque()  # and whether the greenlet waits in a system call
        self._quiet = 0.0  # when a parked greenlet last had a slice, or the first was parked
        self._until = 0.0  # the end of the slice that runs, if others may end the slice sooner
        self.ran = monotonic()
        """The time when the hub last ran, monotonic seconds."""
        self._cpu = thread_time()  # of the main thread at that time
        self._interrupting = False
        self.given = 0
        """Slices that greenlets that compute have had after their first."""
        self._hub = gevent.get_hub()
        loop = self._hub.loop
        self._beats = loop.timer(0.0, pace.beat)
        self._first: Any = loop.check(priority=FIRST)
        self._fair = loop.check(priority=LAST)
        # Called when nothing else is pending; also keeps the loop from blocking in poll.
        self._idle = loop.idle(priority=LAST)
        self._previous: Any = signal.SIG_DFL
        self._ready = _poll(loop.fileno())

    def start(self, alarm: Callable[[int, FrameType | None], None], beat: Callable[[], None]) -> None:
        """Arm the timer. `alarm` is the handler of SIGALRM; `beat` is called in the hub each `Pace.beat` seconds."""
        self._previous = signal.signal(signal.SIGALRM, alarm)
        # After signal(), which resets it: let the kernel restart system calls of C code, except sleep, poll and select.
        self.interrupt(False)
        self._first.start(self._turn)
        self._beats.start(self._beat, beat)
        self._beat(beat)  # before the first greenlet runs, which may compute at once

    def close(self) -> None:
        """Disarm the timer and put the handler of SIGALRM back."""
        # A timer that is left behind ends the interpreter with "Alarm clock" while it shuts down.
        signal.setitimer(signal.ITIMER_REAL, 0)
        for watcher in (self._beats, self._first, self._fair, self._idle):
            watcher.stop()
        if self._previous is not None:
            signal.signal(signal.SIGALRM, self._previous)

    def interrupt(self, interrupting: bool) -> None:
        """Let SIGALRM interrupt system calls, or let the kernel restart them. Callable from any native thread.

        The hub ends the interruption at its next turn. A C library that does not expect EINTR gets EINTR only while
        the library holds up the whole process.
        """
        signal.siginterrupt(signal.SIGALRM, interrupting)
        self._interrupting = interrupting  # last: the hub, which resets a mode that is set, may run in between

    def waits(self, now: float) -> bool:
        """Return, in the greenlet that runs, whether a system call that waits was interrupted, and no computing."""
        return self._interrupting and thread_time() - self._cpu < (now - self.ran) / 2

    def goes_on(self, now: float) -> bool:
        """Return, in the greenlet that runs, whether its slice is not over and nothing else is ready.

        The kernel knows of files that are ready, not of timers that are due: these wait for the end of the slice.
        """
        left = self._until - now
        if left <= 0 or self._ready(0):
            return False
        # A system call that waits keeps its whole slice: each look would wake the process for nothing.
        self._arm(left if self.waits(now) else min(LOOK, left))
        return True

    def park(self, now: float) -> Waiter[None]:
        """Queue the greenlet that runs, called in it. Its slice is over when it waits for the returned waiter."""
        waiter: Waiter[None] = Waiter(self._hub)
        # A call that waits is made again in the next slice, and must be interrupted again when the slice is over.
        self._parked.append((waiter, self.waits(now)))
        # When many greenlets compute in one turn of the hub, their slices become shorter and shorter, so that all have
        # `turn` together: with 50 greenlets the largest gap was 288 ms, against 869 with turn / 50 for each.
        gap = max(0.001, (self.ran + self._pace.lag + self._pace.turn - now) / 25)
        self._arm(gap)
        if len(self._parked) == 1:
            self._quiet = now
            self._idle.start(self._resume)
            self._fair.start(self._resume_beside_others)
        return waiter

    def retry(self) -> None:
        """Look again soon at the greenlet that runs, called in it: it is at no safe point.

        A loop that only logs is at a safe point for a hundredth of its time: looked at each 10 ms, the loop held up the
        hub for 2.9 s; looked at each millisecond, for 0.1 to 0.4 s.
        """
        self._arm(min(RETRY, self._gap))

    def turn_soon(self) -> None:
        """Have `turned` called ahead of everything pending, once the greenlet that runs gives way. Called in it.

        Without this call, a process that was stopped among the sleepers of a turn ran all others of the turn first: 300
        of 300.
        """
        self._first.feed(CHECK, self._turn)

    def parked(self, greenlet: object) -> bool:
        """Return whether this greenlet waits for its next slice."""
        return any(waiter.greenlet is greenlet for waiter, _ in self._parked)

    def _arm(self, seconds: float) -> None:
        """Send SIGALRM in `seconds`, and again each `lag` until the handler, which arms the timer anew, has run.

        Signals are rare because they shorten the sleeps of C code: SQLite, which counts the sleeps that it intended,
        waited 0.6 of 5 s for a locked database with a signal each 10 ms, and 5 s with a signal each 0.1 s.
        """
        signal.setitimer(signal.ITIMER_REAL, seconds, self._pace.lag)

    # --- in the hub

    def _beat(self, beat: Callable[[], None]) -> None:
        self._arm(self._pace.lag)
        beat()

    def _turn(self) -> None:
        last, self.ran = self.ran, monotonic()
        self._until = 0.0
        self._cpu = thread_time()
        if self._interrupting:
            self.interrupt(False)
        self._turned(self.ran - last)

    def _resume(self, others: bool = True) -> None:
        """Give the greenlet that was parked first its next slice. `others`: whether they may end the slice sooner."""
        self._turn()
        if not self._parked:
            return
        waiter, waits = self._parked.popleft()
        self.given += 1
        if not self._parked:
            self._idle.stop()
            self._fair.stop()
        if waits:
            self.interrupt(True)
        self._until = self.ran + self._pace.slice if others else 0.0
        self._arm(min(LOOK, self._pace.slice) if others else self._pace.slice)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(min(SWITCH, interval))
        waiter.switch(None)  # does nothing if an exception was thrown into its greenlet meanwhile
        sys.setswitchinterval(interval)
        self._quiet = monotonic()

    def _resume_beside_others(self) -> None:
        """Give parked greenlets every second slice while the hub is busy without end."""
        if monotonic() - self._quiet > self._pace.slice:
            self._resume(others=False)


def _poll(fd: int | None) -> Callable[[int], Any]:
    """Return a function that asks the kernel, within so many milliseconds, whether a file of the loop is ready."""
    if fd is None:  # a loop of another kind than libev's with epoll
        return lambda _: False
    poll = get_original("select", "poll")()
    poll.register(fd, select.POLLIN)
    ask: Callable[[int], Any] = poll.poll
    return ask
