"""Time slices: a greenlet that computes gives way to the hub, and gets its next slice when the hub has time.

ITIMER_REAL is armed again by the hub, so SIGALRM comes only when the hub did not run for `lag` seconds, and then
again and again until it runs. The kernel needs no GIL for that, as a native thread would: while `re.match` kept the
GIL for 35 s, such a thread did not get to send a single signal (FINDINGS §1).

Greenlets that are parked are resumed one at a turn of the loop, the one that waited longest first, and only when
nothing else is pending. With `sleep(0)` instead, an answer of ZooKeeper took 4.2 s of a session of 4 s beside 10
greenlets that computed; with this queue 105 ms (FINDINGS §1b).
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, thread_time
from types import FrameType
from typing import Any

import gevent
from gevent._waiter import Waiter

FIRST = 2  # priorities of libev watchers: ahead of all others, behind all others
LAST = -2
CHECK = 0x8000  # libev's EV_CHECK
RETRY = 0.001


@dataclass(frozen=True)
class Pace:
    """Seconds. The largest gap in which the hub does not run is about `lag + turn`, however many compute."""

    lag: float = 0.1
    """How long a greenlet may keep the hub from running before it is interrupted."""
    slice: float = 0.05
    """How long a greenlet that computes runs when its turn comes."""
    turn: float = 0.25
    """What greenlets that begin to compute in one and the same turn of the hub may take in sum."""
    beat: float = 0.04
    """How often the hub says that it runs."""


class Slices:
    """The kernel timer and the queue of parked greenlets. One for a process; the hub's, except where said."""

    def __init__(self, pace: Pace, turned: Callable[[float], None]) -> None:
        """`turned(seconds since the last)` is called in the hub at each turn of its loop, ahead of all else in it."""
        self._pace = pace
        self._turned = turned
        self._gap = pace.turn / 25
        self._parked: deque[tuple[Waiter[None], bool]] = deque()  # with whether it waits in a system call
        self._quiet = 0.0  # when a parked greenlet last had a slice
        self.ran = monotonic()
        """When the hub last ran, monotonic seconds."""
        self._cpu = thread_time()  # of the main thread, then
        self._interrupting = False
        self._hub = gevent.get_hub()
        loop = self._hub.loop
        self._beats = loop.timer(0.0, pace.beat)
        self._first: Any = loop.check(priority=FIRST)
        self._fair = loop.check(priority=LAST)
        self._idle = loop.idle(priority=LAST)  # nothing else is pending; it also keeps the loop from blocking in poll
        self._previous: Any = signal.SIG_DFL

    def start(self, alarm: Callable[[int, FrameType | None], None], beat: Callable[[], None]) -> None:
        """`alarm` is the handler of SIGALRM, `beat` is called in the hub each `Pace.beat` seconds."""
        self._previous = signal.signal(signal.SIGALRM, alarm)
        # Restart system calls of C code; it does not cover sleep, poll and select. In this order: signal() resets it.
        self.interrupt(False)
        self._first.start(self._turn)
        self._beats.start(self._beat, beat)
        self._beat(beat)  # before the first greenlet runs: unarmed, a first one that computes would never be caught

    def close(self) -> None:
        # A timer left behind ends the interpreter with "Alarm clock" while it shuts down.
        signal.setitimer(signal.ITIMER_REAL, 0)
        for watcher in (self._beats, self._first, self._fair, self._idle):
            watcher.stop()
        if self._previous is not None:
            signal.signal(signal.SIGALRM, self._previous)

    def interrupt(self, interrupting: bool) -> None:
        """Let SIGALRM interrupt system calls, or have the kernel restart them. From any native thread.

        The hub ends the interruption at its next turn. C libraries that do not expect EINTR see it only while they
        hold up everybody.
        """
        signal.siginterrupt(signal.SIGALRM, interrupting)
        self._interrupting = interrupting  # last: the hub, which resets the mode where it is set, may run in between

    def waits(self, now: float) -> bool:
        """In the greenlet that runs: whether it was interrupted in a system call that waits, rather than computes."""
        return self._interrupting and thread_time() - self._cpu < (now - self.ran) / 2

    def park(self, now: float) -> Waiter[None]:
        """In the greenlet that runs: queue it. Its slice is over when it waits for what this returns."""
        waiter: Waiter[None] = Waiter(self._hub)
        # A call that waits is made again in the next slice, and is to be interrupted again when that is over.
        self._parked.append((waiter, self.waits(now)))
        # When many compute in one turn of the hub, their slices become shorter and shorter, so that all of them
        # have `turn` together: with 50 of them the largest gap was 288 ms, against 869 with turn / 50 for each.
        gap = max(0.001, (self.ran + self._pace.lag + self._pace.turn - now) / 25)
        self._arm(gap)
        if len(self._parked) == 1:
            self._idle.start(self._resume)
            self._fair.start(self._resume_beside_others)
        return waiter

    def retry(self) -> None:
        """In the greenlet that runs, which is not at a safe point: look again soon.

        A loop that does nothing but log is at one for a hundredth of its time: looked at each 10 ms it held up the hub
        for 2.9 s, each millisecond for 0.1 to 0.4 s.
        """
        self._arm(min(RETRY, self._gap))

    def turn_soon(self) -> None:
        """In the greenlet that runs: as soon as it gives way, `turned` is called, ahead of all that is pending.

        Without it a process that was stopped among the sleepers of a turn ran the rest of them first: 300 of 300.
        """
        self._first.feed(CHECK, self._turn)

    def parked(self, greenlet: object) -> bool:
        """Whether this greenlet waits for its next slice."""
        return any(waiter.greenlet is greenlet for waiter, _ in self._parked)

    def _arm(self, seconds: float) -> None:
        """Send SIGALRM then, and again only if its handler, which arms the timer anew, did not get to run.

        Seldom, since it shortens sleeps of C code: SQLite, which counts the sleeps that it meant to make, waited 0.6
        of 5 s for a locked database with a signal each 10 ms, and 5 s with one each 0.1 s.
        """
        signal.setitimer(signal.ITIMER_REAL, seconds, self._pace.lag)

    # --- in the hub

    def _beat(self, beat: Callable[[], None]) -> None:
        self._arm(self._pace.lag)
        beat()

    def _turn(self) -> None:
        last, self.ran = self.ran, monotonic()
        self._cpu = thread_time()
        if self._interrupting:
            self.interrupt(False)
        self._turned(self.ran - last)

    def _resume(self) -> None:
        """Give the greenlet that is parked longest its next slice."""
        self._turn()
        if not self._parked:
            return
        waiter, waits = self._parked.popleft()
        if not self._parked:
            self._idle.stop()
            self._fair.stop()
        if waits:
            self.interrupt(True)
        self._arm(self._pace.slice)
        waiter.switch(None)  # does nothing if an exception was thrown into its greenlet meanwhile
        self._quiet = monotonic()

    def _resume_beside_others(self) -> None:
        """The hub is busy without end: what computes gets every second slice."""
        if monotonic() - self._quiet > self._pace.slice:
            self._resume()
