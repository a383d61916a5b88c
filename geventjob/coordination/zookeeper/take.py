"""Taking: one take at a time serves the whole process (DESIGN §4)."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import gevent
from kazoo.exceptions import KazooException, NoAuthError, NodeExistsError, NoNodeError

from geventjob import supervise
from geventjob.backoff import LeftAlone, Trouble
from geventjob.clock import boottime
from geventjob.coordination.base import Claim, CoordinationAway
from geventjob.coordination.zookeeper.candidates import Candidates
from geventjob.coordination.zookeeper.claims import ZooKeeperClaims
from geventjob.coordination.zookeeper.ensemble import PATIENCE, Ensemble, Part
from geventjob.coordination.zookeeper.membership import Membership
from geventjob.coordination.zookeeper.nodes import TAKEN, TAKERS, Watch, ZooKeeperNodes, entry_path, name_of, taken_path
from geventjob.coordination.zookeeper.numbers import renew
from geventjob.coordination.zookeeper.queue import ZooKeeperQueue
from geventjob.coordination.zookeeper.takers import Takers
from geventjob.coordination.zookeeper.transactions import Failure, Group, commit

log = logging.getLogger(__name__)

PAUSE = 0.1
"""Seconds after a round that failed."""
RELOOK = 0.05
"""Seconds after which the takers are looked at again, while there are candidates from an earlier list."""
LINGER = 0.5
"""Seconds after a take for which this process still counts as one that takes."""


class ZooKeeperTaker(Part):
    """Takes entries, in rounds.

    A round looks at the queue if it must and may, and takes what it can. It runs in a greenlet of its own, since the
    caller may be killed, interrupted or run out of time meanwhile; what it brings then waits for the next caller.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        queue: ZooKeeperQueue,
        claims: ZooKeeperClaims,
        takers: Takers,
        name: str,
        interval: float,
    ) -> None:
        """`interval`: least seconds between two lists of the queue."""
        self._ensemble = ensemble
        self._queue = queue
        self._claims = claims
        self._takers = takers
        self._name = name.encode()
        self._candidates = Candidates(name, interval)
        self._stir = claims.arrived  # something happened that a waiting take should look at
        self._interrupted = False
        self._closed = False
        # rounds
        self._round: gevent.Greenlet[..., Any] | None = None
        self._rounds = 0
        self._dry = False  # the next list is not likely to find anything
        self._armed = False  # a watch will tell when there may be something to take
        self._not_before = -math.inf
        self._left: set[str] = set()  # passed over when the queue was listed last
        self._forbidden = LeftAlone()  # names of entries that we may not read or change
        self._trouble = Trouble(log, "no entries can be taken")
        self.collisions = 0
        """Takes that were lost to another process."""
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
        first, rounds = self._ensemble.present, self._rounds + self._under_way
        while True:
            self._stir.clear()
            if claims := self._give(limit, exclude):
                return claims
            membership = self._ensemble.present
            if self._interrupted or self._closed or (first is not None and membership is not first):
                return []
            first, due, end = membership, math.inf, until
            if membership is not None:
                due = self._go_on(membership, limit, exclude, now=timeout == 0)
                if timeout == 0 and self._rounds <= rounds:
                    end += membership.session.timeout / PATIENCE  # a look is no wait
            if boottime() >= end:
                return []
            self._stir.wait(None if end == due == math.inf else max(0.0, min(due, end) - boottime()))

    def _give(self, limit: int, exclude: frozenset[str]) -> list[Claim]:
        given: list[Claim] = []
        for claim in self._claims.give(limit):
            (self._unwanted if claim.entry in exclude else given).append(claim)
        return given

    @property
    def _under_way(self) -> bool:
        return self._round is not None and not self._round.ready()

    def _go_on(self, membership: Membership, limit: int, exclude: frozenset[str], now: bool) -> float:
        """Begin a round if it is time for one; when (boottime) it will be, if nothing stirs before.

        `now`: for a caller who does not wait, and wants what is first in the queue at this moment.
        """
        self._takers.join(membership)
        self._attend(membership)
        if self._under_way:
            return math.inf
        passed_over = self._passed_over(exclude)
        if not self._left <= passed_over:
            self._armed = False  # what was left alone may be taken now, and no watch tells of that
        due = self._candidates.due
        if not now:
            due = -math.inf if self._candidates else self._forbidden.due() if self._armed else due
        due = max(due, self._not_before)
        if boottime() < due:
            return due
        run = partial(self._run, membership, limit, passed_over, now)
        self._round = supervise.spawn("a take", run, supervise.end_process)
        return math.inf

    def _passed_over(self, exclude: frozenset[str]) -> set[str]:
        """Names of entries that are not to be taken now."""
        return {name_of(entry) for entry in exclude} | self._forbidden.names()

    # --- a round

    def _run(self, membership: Membership, limit: int, passed_over: set[str], now: bool) -> None:
        try:
            if self._candidates and self._takers.seen + RELOOK < boottime():
                self._takers.listed(*membership.ask(membership.nodes.children_and_stat(TAKERS)))
                self._candidates.reconsider(self._takers.names, self._takers.raced)
            names = self._candidates.draw(limit, passed_over) if self._candidates and not now else []
            if len(names) < limit and boottime() >= self._candidates.due:
                self._list(membership, limit, passed_over, now=now, watched=self._dry and not names and not now)
                self._left = passed_over
                names = self._candidates.draw(limit, passed_over)
            if names:
                self._grab(membership, names)
        except (CoordinationAway, KazooException) as error:
            if isinstance(error, NoNodeError):
                self._ensemble.mend(membership)
            away = isinstance(error, CoordinationAway)
            self._armed = False  # a list that failed may have left no watch
            self._not_before = boottime() + (PAUSE if away else self._trouble.pause(repr(error)))
        finally:
            self._rounds += 1
            self._stir.set()

    def _list(self, membership: Membership, limit: int, passed_over: set[str], now: bool, watched: bool) -> None:
        """Find candidates. Only a list that is not likely to find any leaves a watch."""
        self._armed = watched
        if now:
            membership.ask(membership.nodes.sync())
        entries, free, cpu = self._free(membership, passed_over, self._changed if watched else None)
        if watched and entries and not free:  # the death of an owner is to be seen, too
            entries, free, cpu = self._free(membership, passed_over, self._changed, self._changed)
        if not entries:
            renew(membership)
        self._candidates.choose(free, [] if now else self._takers.names, self._takers.raced, limit, cpu)
        self._dry = len(free) <= limit  # and all of them are taken now
        if free:
            self._armed = False

    def _free(
        self, membership: Membership, passed_over: set[str], on_entries: Watch | None, on_taken: Watch | None = None
    ) -> tuple[int, list[str], float]:
        """How many entries there are, those that nobody holds, and the seconds of CPU that this took.

        What is taken is listed first: an entry that is consumed between the two lists is in the first of them only.
        """
        nodes = membership.nodes
        listing = nodes.entries(on_entries)
        taken, entries, takers = membership.ask_each(
            [nodes.children(TAKEN, on_taken), listing, nodes.children_and_stat(TAKERS)]
        )
        self._takers.listed(*takers)
        began = time.thread_time()
        held = passed_over.union(taken)
        free = [name for name in entries if name not in held]
        return len(entries), free, listing.cpu + time.thread_time() - began

    def _changed(self, _: Any) -> None:
        if self._armed:  # or else it is what we did ourselves, or were going to look at anyway
            self._armed = self._dry = False
            self._stir.set()

    def _grab(self, membership: Membership, names: Sequence[str]) -> None:
        """Make the entries ours. What is got is told even if this breaks off.

        Raises the refusal of a take that concerns no entry alone, such as a full quota.
        """
        entries = zip(names, membership.read(map(entry_path, names)), strict=True)
        wanted = [(name, entry[0]) for name, entry in entries if isinstance(entry, tuple) or self._missed(name, entry)]
        claims: dict[int, Claim] = {}
        refusal: Exception | None = None
        try:
            for number, outcome in commit(membership, [self._taking(membership.nodes, *entry) for entry in wanted]):
                name, data = wanted[number]
                if isinstance(outcome, Failure):
                    refusal = self._missed(name, outcome.error, outcome.at) or refusal
                elif claim := self._claims.add(membership, name, data, outcome[0]):
                    claims[number] = claim
            if refusal is not None:
                raise refusal
            self._trouble.end()
            if len(claims) < len(names):
                self._takers.lost_race(membership)
                self._candidates.reconsider(self._takers.names, raced=True)
        finally:
            self._claims.offer(claims[number] for number in sorted(claims))

    def _taking(self, nodes: ZooKeeperNodes, name: str, data: bytes | None) -> Group:
        """The same data once more: the entry is there, and the number of this change is the fencing token."""
        return [nodes.write(entry_path(name), data), nodes.create(taken_path(name), self._name, ephemeral=True)]

    def _missed(self, name: str, error: Exception | None, at: int = 0) -> Exception | None:
        """Note why an entry was not got, by the error of the operation `at` on it. Return what concerns others too."""
        if error is None or isinstance(error, (NodeExistsError, NoNodeError)):
            self.collisions += 1
        elif isinstance(error, NoAuthError) and at == 0:
            if self._forbidden.leave(name):
                log.error("%s is not for us, and is left alone for a while: %r", entry_path(name), error)
        elif not isinstance(error, CoordinationAway):
            return error
        return None

    # --- without a caller

    def _attend(self, membership: Membership) -> None:
        if self._attended is not membership:
            self._attended = membership
            supervise.spawn("the attendant of takes", partial(self._tidy, membership), supervise.end_process)

    def _tidy(self, membership: Membership) -> None:
        """For as long as the session lives, see to it that nothing waits for a process that does not take."""
        while not membership.session.over:
            if self._inside:
                self._takers.join(membership)  # again, should the node be gone
            elif boottime() >= self._last + LINGER:
                self._takers.leave()
                self._unwanted += self._claims.give_all()
            if self._unwanted:
                self._give_back()
            gevent.sleep(LINGER / 2)

    def _give_back(self) -> None:
        claims, self._unwanted = self._unwanted, []
        with contextlib.suppress(CoordinationAway, KazooException):
            self._queue.release(claims)
            return
        self._unwanted += claims  # tried again

    # --- as a part

    def began(self, membership: Membership) -> None:
        self._closed = False
        self._candidates.forget()
        self._forbidden.forget()
        self._armed = self._dry = False
        self._not_before = -math.inf
        self._stir.set()

    def ended(self, membership: Membership) -> None:
        self._unwanted.clear()
        self._stir.set()
