"""Places for suspects: jobs that were interrupted so often that they may be the ones that kill executors.

A job that kills its executor interrupts its neighbours too, as often as itself. So suspects are spread thin: each
executor runs a few at a time. A suspect without a place waits for a moment with its claim in hand; then the claim is
passed on, since another executor may have a place. A free place is filled within HOLD, by a suspect in hand there or by
a suspect from another executor.
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
"""Most seconds that a suspect waits for a place before it is passed on; at least it waits a quarter of them."""
PASSED_ON = 200
"""Most suspects that an executor passes on in a second: with more of them in hand, each waits longer."""


class Quarantine:
    """Counts the suspects that run, and starts waiting suspects as places become free."""

    def __init__(self, slots: Semaphore, places: Callable[[int], int]) -> None:
        """Set the places: `places(n)` returns how many jobs with n interruptions or more may run at once.

        A suspect that waits for a place holds none of `slots`, and takes a slot with the place.
        """
        self._slots = slots
        self._places = places
        self._inside: dict[Claim, int] = {}
        self._waiting: dict[Claim, tuple[int, Event]] = {}
        self._closed = False

    def enter(self, claim: Claim, interruptions: int) -> bool:
        """Take a place, without waiting; return whether a place was free."""
        if self._closed or not self._room(interruptions):
            return False
        self._inside[claim] = interruptions
        return True

    def wait(self, claim: Claim, interruptions: int) -> bool:
        """Wait for a place and a slot, first come first served; return False after a moment without them."""
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
        """Free the place of a claim; return whether it had a place that no suspect in hand could take."""
        if self._inside.pop(claim, None) is None:
            return False
        return not self._admit()

    def close(self) -> None:
        """Let no suspect enter any more, and end all waiting."""
        self._closed = True
        for _, admitted in self._waiting.values():
            admitted.set()

    def _admit(self) -> int:
        """Start the waiting suspects that fit in; return their number."""
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
        """Return whether a suspect with so many interruptions may start.

        At each count from 2 to its own, the suspects with as many interruptions or more must leave a place free.
        """
        return all(
            sum(inside >= level for inside in self._inside.values()) < self._places(level)
            for level in range(SUSPICIOUS, interruptions + 1)
        )
