"""Claims of this process: one take at a time, and no entry lost when the caller is killed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial

import gevent
from gevent.event import AsyncResult, Event

from geventjob.clock import boottime
from geventjob.coordination.ages import AgeShare
from geventjob.coordination.base import Claim, CoordinationAway, Session
from geventjob.coordination.sqlite import queue
from geventjob.coordination.sqlite.bell import QUEUE, SESSIONS, Bell
from geventjob.coordination.sqlite.database import Database

log = logging.getLogger(__name__)

LINGER = 0.5
"""Seconds after the end of a take for which claims that came too late wait for the next take."""

Taken = list[tuple[int, Claim]]
"""Sequences and claims, in the order of the queue."""


class SqliteClaims:
    """The claims of this process, from the take to their end."""

    def __init__(
        self, database: Database, bell: Bell, session: Callable[[], Session | None], age_share: int = 0
    ) -> None:
        """Keep the parts. `session()` returns the session to work in, None while there is none.

        `age_share`: see `AgeShare`.
        """
        self._database = database
        self._bell = bell
        self._session = session
        self._ages = AgeShare(age_share)
        self._held: dict[Claim, int] = {}
        self._question: AsyncResult[Taken | None] | None = None
        self._in_hand: Taken = []  # taken, and not yet returned to a caller
        self._waits_in: Session | None = None  # the session in whose name the file has a waiting take
        self._stop = Event()  # clear only while a take may wait
        self._stop.set()
        self._interrupted = False
        self._closed = False
        self._takes = 0
        """Takes that have begun."""

    def take(self, limit: int, exclude: Collection[str], timeout: float | None) -> list[Claim]:
        """See `Coordination.take`."""
        if limit < 1:
            raise ValueError(f"limit: at least 1 entry is taken at a time, not {limit}")
        self._takes += 1
        if not self._interrupted and not self._closed:
            self._stop.clear()
        try:
            with self._bell.heard(QUEUE) as rung:
                return self._take(limit, exclude, timeout, rung)
        finally:
            self._interrupted = False
            self._stop.set()
            self._withdraw()
            if self._question is not None or self._in_hand:
                gevent.spawn_later(LINGER, self._tidy, self._takes)

    def interrupt(self) -> None:
        """See `Coordination.interrupt`."""
        self._interrupted = True
        self._stop.set()

    def end(self, operation: Callable[..., None], claims: Sequence[Claim]) -> None:
        """Consume or release claims by an operation of `queue`. Raises CoordinationAway."""
        mine = [(self._held[claim], claim) for claim in claims if claim in self._held and not claim.lost]
        if mine:
            self._database.call(partial(operation, claims=mine))
            for _, claim in mine:
                self._held.pop(claim, None)

    def lose(self) -> list[Claim]:
        """Return the claims of a session that is over, and make a waiting take return."""
        lost = list(self._held)
        self._held.clear()
        self._in_hand.clear()
        self._stop.set()
        return lost

    def close(self) -> None:
        """Take nothing more."""
        self._closed = True
        self._stop.set()

    def _take(self, limit: int, exclude: Collection[str], timeout: float | None, rung: Event) -> list[Claim]:
        until = None if timeout is None else boottime() + timeout
        while not self._stop.is_set():
            rung.clear()
            session = self._session()
            if session is not None:
                claims = self._ask(session, limit, exclude, waits=timeout != 0)
                if claims:
                    return claims
            left = None if until is None else max(0.0, until - boottime())
            if not gevent.wait([rung, self._stop], timeout=left, count=1):
                break
        return []

    def _ask(self, session: Session, limit: int, exclude: Collection[str], waits: bool) -> list[Claim]:
        self._hear()  # the answer to an earlier caller that was killed
        if self._question is None and not self._in_hand:
            oldest = self._ages.due(limit)
            take = partial(queue.take, session=session, limit=limit, exclude=exclude, waits=waits, oldest=oldest)
            self._question = self._database.submit(take)
            self._waits_in = session if waits else None
            self._hear()
        return self._give(limit, exclude)

    def _hear(self) -> None:
        """Wait for the answer to the open question.

        A caller who is killed here leaves the question open for the next one.
        """
        if self._question is None:
            return
        question = self._question
        gevent.wait([question, self._stop], count=1)
        if not question.ready() or self._question is not question:
            return
        self._question = None
        if not question.successful():
            log.warning("a take failed: %s", question.exception)
        elif question.value is None:
            self._bell.wake(SESSIONS)
        elif question.value:
            self._in_hand += question.value
            self._ages.count(len(question.value))
            self._waits_in = None

    def _give(self, limit: int, exclude: Collection[str]) -> list[Claim]:
        hand = [(sequence, claim) for sequence, claim in self._in_hand if not claim.lost]
        excluded = [taken for taken in hand if taken[1].entry in exclude]  # excluded after the question
        if excluded:
            self._database.submit(partial(queue.release, claims=excluded))
            hand = [taken for taken in hand if taken[1].entry not in exclude]
        given, self._in_hand = hand[:limit], hand[limit:]
        self._held.update((claim, sequence) for sequence, claim in given)
        return [claim for _, claim in given]

    def _tidy(self, takes: int) -> None:
        """Release claims that no caller has fetched, unless another take has begun since: `takes` counts them."""
        if self._question is not None:
            self._question.wait()
        self._hear()
        if self._takes != takes or self._closed:
            return
        hand, self._in_hand = self._in_hand, []
        try:
            self._database.call(partial(queue.release, claims=hand))
        except CoordinationAway:
            self._in_hand = hand + self._in_hand
            gevent.spawn_later(LINGER, self._tidy, takes)

    def _withdraw(self) -> None:
        if self._waits_in is not None:
            self._database.submit(partial(queue.withdraw, session=self._waits_in))
            self._waits_in = None
