"""The claims in hand of an executor: ended in batches, and their entries excluded from takes for a while."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

import gevent

from geventjob.backoff import LeftAlone, retry
from geventjob.batch import Batcher
from geventjob.clock import boottime
from geventjob.coordination.base import Claim, Coordination, CoordinationAway
from geventjob.executor.writes import OutOfPatience

log = logging.getLogger(__name__)

TRANSACTION = 200
"""Most claims that one request consumes or releases (docs/reference/queue.md)."""

PASS = 0.5
"""Seconds for which an entry that was passed on is left to other executors."""


class HeldClaims:
    """Consumes and releases claims, each tried again until the end of the claim is certain or the claim is lost."""

    def __init__(self, coordination: Coordination) -> None:
        self._consume = Batcher(_each(coordination.consume), name="consume", count=TRANSACTION)
        self._release = Batcher(_each(coordination.release), name="release", count=TRANSACTION)
        self._interrupt = coordination.interrupt
        self._left_alone = LeftAlone()
        self._passed_on: dict[str, float] = {}

    def consume(self, claim: Claim, patience: float | None = None) -> None:
        """Remove the claim's entry: its job has ended. Raises OutOfPatience after `patience` seconds."""
        _until_done(self._consume, claim, patience)

    def release(self, claim: Claim, patience: float | None = None) -> None:
        """Free the claim's entry for any executor. Raises OutOfPatience after `patience` seconds."""
        _until_done(self._release, claim, patience)

    def leave_alone(self, claim: Claim, patience: float | None = None) -> None:
        """Release the claim, and exclude its entry from takes for 5 s; for twice as long each further time, up to 60 s.

        A take that waits already does not exclude the entry, and is begun anew. Raises OutOfPatience.
        """
        self._left_alone.leave(claim.entry)
        self._interrupt()
        self.release(claim, patience)

    def pass_on(self, claim: Claim, patience: float | None = None) -> None:
        """Release the claim, and let the other executors take its entry first.

        As for `leave_alone`, a take that waits already is begun anew. Raises OutOfPatience.
        """
        self._passed_on[claim.entry] = boottime() + PASS
        self._interrupt()
        self.release(claim, patience)

    def readmit(self) -> None:
        """Take the entries that were passed on again, without further delay."""
        if self._passed_on:
            self._passed_on.clear()
            self._interrupt()

    def excluded(self) -> tuple[set[str], float | None]:
        """Return the entries to exclude from a take now, and the seconds until the first of them may be taken again."""
        now = boottime()
        for entry in [e for e, until in self._passed_on.items() if now >= until]:
            del self._passed_on[entry]
        # Before the names: a name whose time is over in between would have no due time, and the take would not end.
        due = min(self._left_alone.due(), min(self._passed_on.values(), default=math.inf))
        entries = self._left_alone.names() | self._passed_on.keys()
        return entries, due - now if entries else None


def _each(call: Callable[[Sequence[Claim]], None]) -> Callable[[list[Claim]], list[None]]:
    """Return a sender for a Batcher: one call for all claims, and no result for each."""

    def send(claims: list[Claim]) -> list[None]:
        call(claims)
        return [None] * len(claims)

    return send


def _until_done(batch: Batcher[Claim, None], claim: Claim, patience: float | None) -> None:
    """Hand the claim to the batch until coordination has answered, or the claim is lost."""
    with gevent.Timeout(patience, OutOfPatience):
        retry(lambda: None if claim.lost else batch(claim), CoordinationAway)
