"""Places for suspects: jobs that were interrupted so often that they may be what kills executors (DESIGN §5.7).

A job that kills its executor takes its neighbours with it, which are then interrupted as often as itself. So suspects
are spread thin: an executor runs only so many at once. A suspect without a place waits with its claim in hand, for a
moment; then it is given back, since another executor may have a place. So a place that is free anywhere in the fleet
is filled within HOLD, by a suspect that waits there or by one that is passed on.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from gevent.event import Event
from gevent.lock import Semaphore

from geventjob.coordination.base import Claim

SUSPICIOUS = 2
"""Interruptions from which on a job is a suspect."""
HOLD = 0.5
"""Seconds for which a suspect waits for a place before it is passed on, at most; a quarter of it at least."""
PASSED_ON = 200
"""Most suspects that one executor passes on in a second: with more of them in hand, each waits longer."""


class Quarantine:
    """Counts the suspects that run, and starts those that wait as places become free."""

    def __init__(self, slots: Semaphore, places: Callable[[int], int]) -> None:
        """`places(n)`: how many jobs that were interrupted n times or more may run at once. Who waits for a place
        holds none of `slots`, and takes one with the place."""
        self._slots = slots
        self._places = places
        self._inside: dict[Claim, int] = {}
        self._waiting: dict[Claim, tuple[int, Event]] = {}
        self._closed = False

    def enter(self, claim: Claim, interruptions: int) -> bool:
        """Take a place, without waiting; return whether there was one."""
        if self._closed or not self._room(interruptions):
            return False
        self._inside[claim] = interruptions
        return True

    def wait(self, claim: Claim, interruptions: int) -> bool:
        """Wait for a place and a slot, first come first served; False after a moment: give the claim back."""
        admitted = Event()
        self._waiting[claim] = interruptions, admitted
        try:
            if not self._closed:
                longest = max(HOLD, len(self._waiting) / PASSED_ON)
                admitted.wait(random.uniform(longest / 4, longest))  # noqa: S311  (each at another time)
        finally:
            self._waiting.pop(claim, None)
        return claim in self._inside

    def leave(self, claim: Claim) -> bool:
        """Free the place of a claim; return whether it had one that nobody who waits here could take."""
        if self._inside.pop(claim, None) is None:
            return False
        return not self._admit()

    def close(self) -> None:
        """Let nobody enter any more: those that wait are given back."""
        self._closed = True
        for _, admitted in self._waiting.values():
            admitted.set()

    def _admit(self) -> int:
        """Start those that wait and fit in; return how many."""
        started = 0
        for claim, (interruptions, admitted) in list(self._waiting.items()):
            if self._closed or not self._room(interruptions):
                continue
            if not self._slots.acquire(blocking=False):
                break
            del self._waiting[claim]
            self._inside[claim] = interruptions
            admitted.set()
            started += 1
        return started

    def _room(self, interruptions: int) -> bool:
        """Return whether one more fits in, at its own number of interruptions and at each below it."""
        return all(
            sum(inside >= level for inside in self._inside.values()) < self._places(level)
            for level in range(SUSPICIOUS, interruptions + 1)
        )
