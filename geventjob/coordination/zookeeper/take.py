"""Take entries for callers: one take at a time serves the whole process (docs/decisions/0010)."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection
from functools import partial

import gevent
from kazoo.exceptions import KazooException

from geventjob import supervise
from geventjob.clock import boottime
from geventjob.coordination.base import Claim, CoordinationAway
from geventjob.coordination.zookeeper.claims import ZooKeeperClaims
from geventjob.coordination.zookeeper.ensemble import PATIENCE, Ensemble
from geventjob.coordination.zookeeper.membership import Membership
from geventjob.coordination.zookeeper.part import Part
from geventjob.coordination.zookeeper.queue import ZooKeeperQueue
from geventjob.coordination.zookeeper.rounds import Rounds
from geventjob.coordination.zookeeper.takers import Takers

LINGER = 0.5
"""Seconds after the end of a take for which this process still counts as a taker."""


class ZooKeeperTaker(Part):
    """The caller's side of `Coordination.take`, and the care for claims that have no caller."""

    def __init__(
        self, ensemble: Ensemble, queue: ZooKeeperQueue, claims: ZooKeeperClaims, takers: Takers, rounds: Rounds
    ) -> None:
        """Make the taker of this process; `rounds` do the taking."""
        self._ensemble = ensemble
        self._queue = queue
        self._claims = claims
        self._takers = takers
        self._rounds = rounds
        self._stir = claims.arrived  # wakes a `take` that waits
        self._interrupted = False
        self._closed = False
        # without a caller
        self._attended: Membership | None = None
        self._inside = False
        self._last = -math.inf
        self._unwanted: list[Claim] = []

    # --- the caller's side

    def take(self, limit: int, exclude: Collection[str], timeout: float | None) -> list[Claim]:
        """See `Coordination.take`."""
        if limit < 1:
            raise ValueError(f"limit: at least 1 entry is taken at a time, not {limit}")
        self._inside = True
        try:
            return self._take(limit, frozenset(exclude), timeout)
        finally:
            self._inside = False
            self._interrupted = False
            self._last = boottime()

    def interrupt(self) -> None:
        """See `Coordination.interrupt`."""
        self._interrupted = True
        self._stir.set()

    def close(self) -> None:
        """Take nothing more; a take that waits returns."""
        self._closed = True
        self._stir.set()

    def _take(self, limit: int, exclude: frozenset[str], timeout: float | None) -> list[Claim]:
        until = math.inf if timeout is None else boottime() + timeout
        first, rounds = self._ensemble.present, self._rounds.ended + self._rounds.under_way
        while True:
            self._stir.clear()
            if claims := self._give(limit, exclude):
                return claims
            membership = self._ensemble.present
            if self._interrupted or self._closed or (first is not None and membership is not first):
                return []
            first, due, end = membership, math.inf, until
            if membership is not None:
                self._takers.join(membership)
                self._attend(membership)
                due = self._rounds.begin_if_due(membership, limit, exclude, now=timeout == 0)
                if timeout == 0 and self._rounds.ended <= rounds:
                    end += membership.session.timeout / PATIENCE  # with timeout 0, one round is still awaited
            if boottime() >= end:
                return []
            self._stir.wait(None if end == due == math.inf else max(0.0, min(due, end) - boottime()))

    def _give(self, limit: int, exclude: frozenset[str]) -> list[Claim]:
        """Return claims that were offered. Set aside those of excluded entries, to be released."""
        given: list[Claim] = []
        for claim in self._claims.give(limit):
            (self._unwanted if claim.entry in exclude else given).append(claim)
        return given

    # --- without a caller

    def _attend(self, membership: Membership) -> None:
        """Start the attendant of this session once."""
        if self._attended is not membership:
            self._attended = membership
            supervise.spawn("the attendant of takes", partial(self._tidy, membership), supervise.end_process)

    def _tidy(self, membership: Membership) -> None:
        """Release claims that no caller fetches, and leave the takers, for as long as the session lives."""
        while not membership.session.over:
            if self._inside:
                self._takers.join(membership)  # again, if the node is gone
            elif boottime() >= self._last + LINGER:
                self._takers.leave()
                self._unwanted += self._claims.give_all()
            if self._unwanted:
                self._give_back()
            gevent.sleep(LINGER / 2)

    def _give_back(self) -> None:
        """Release the unwanted claims; keep them for another try if ZooKeeper does not answer or refuses."""
        claims, self._unwanted = self._unwanted, []
        with contextlib.suppress(CoordinationAway, KazooException):
            self._queue.release(claims)
            return
        self._unwanted += claims

    # --- as a part

    def began(self, membership: Membership) -> None:
        self._closed = False
        self._rounds.forget()
        self._stir.set()

    def ended(self, membership: Membership) -> None:
        self._unwanted.clear()
        self._stir.set()
