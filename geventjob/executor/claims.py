"""What happens to claims in the queue: ended in batches, and left alone for a while when they cannot run here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gevent

from geventjob.backoff import delays
from geventjob.batch import Batcher
from geventjob.clock import boottime
from geventjob.coordination.base import Claim, Coordination, CoordinationAway
from geventjob.executor.writes import OutOfPatience

log = logging.getLogger(__name__)

TRANSACTION = 200
"""Most claims that are consumed or released at once (DESIGN §4)."""

FIRST_LEAVE = 5.0
LONGEST_LEAVE = 60.0
PASS = 0.5
"""Seconds for which an entry that was passed on is left to other executors."""


class Claims:
    """Consumes and releases claims, each tried again until it is known to have happened or the claim is lost."""

    def __init__(self, coordination: Coordination) -> None:
        self._consume = Batcher(_each(coordination.consume), count=TRANSACTION)
        self._release = Batcher(_each(coordination.release), count=TRANSACTION)
        self._interrupt = coordination.interrupt
        self._left: dict[str, _Left] = {}
        self._passed_on: dict[str, float] = {}

    def consume(self, claim: Claim, patience: float | None = None) -> None:
        """The job is done. Raises OutOfPatience after `patience` seconds."""
        _until_done(self._consume, claim, patience)

    def release(self, claim: Claim, patience: float | None = None) -> None:
        """Somebody else may run the job. Raises OutOfPatience after `patience` seconds."""
        _until_done(self._release, claim, patience)

    def leave_alone(self, claim: Claim, patience: float | None = None) -> None:
        """Release the claim, and do not take its entry again for 5 s; doubled each further time, to 60 s.

        A take that waits already knows nothing of this, and is made to begin anew. Raises OutOfPatience.
        """
        left = self._left.get(claim.entry)
        delay = min(LONGEST_LEAVE, left.delay * 2) if left else FIRST_LEAVE
        self._left[claim.entry] = _Left(boottime() + delay, delay)
        self._interrupt()
        self.release(claim, patience)

    def pass_on(self, claim: Claim, patience: float | None = None) -> None:
        """Release the claim, and let the other executors take its entry first.

        As for `leave_alone`, a take that waits already is made to begin anew. Raises OutOfPatience.
        """
        self._passed_on[claim.entry] = boottime() + PASS
        self._interrupt()
        self.release(claim, patience)

    def recall(self) -> None:
        """Take those entries again that were passed on."""
        if self._passed_on:
            self._passed_on.clear()
            self._interrupt()

    def left_alone(self) -> tuple[set[str], float | None]:
        """Return the entries to pass over now, and the seconds until the first of them may be taken again."""
        now = boottime()
        for entry in [e for e, left in self._left.items() if now > left.until + 2 * LONGEST_LEAVE]:
            del self._left[entry]  # gone, or run by somebody else
        for entry in [e for e, until in self._passed_on.items() if now >= until]:
            del self._passed_on[entry]
        waiting = {entry: left.until for entry, left in self._left.items() if left.until > now} | self._passed_on
        return set(waiting), min(waiting.values()) - now if waiting else None


@dataclass(frozen=True)
class _Left:
    until: float
    delay: float


def _each(call: Callable[[Sequence[Claim]], None]) -> Callable[[list[Claim]], list[None]]:
    def send(claims: list[Claim]) -> list[None]:
        call(claims)
        return [None] * len(claims)

    return send


def _until_done(batch: Batcher[Claim, None], claim: Claim, patience: float | None) -> None:
    with gevent.Timeout(patience, OutOfPatience):
        for delay in delays():
            if claim.lost:
                return
            try:
                batch(claim)
            except CoordinationAway:
                gevent.sleep(delay)
            else:
                return
