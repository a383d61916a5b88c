"""Rounds of taking: list the queue where a list is due, choose entries, and make them ours in one transaction."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
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
from geventjob.coordination.zookeeper.ensemble import Ensemble
from geventjob.coordination.zookeeper.membership import Membership
from geventjob.coordination.zookeeper.nodes import (
    TAKEN,
    TAKERS,
    Watch,
    ZooKeeperNodes,
    entry_path,
    name_of,
    taken_path,
)
from geventjob.coordination.zookeeper.numbers import renew
from geventjob.coordination.zookeeper.takers import Takers
from geventjob.coordination.zookeeper.transactions import Failure, Group, commit

log = logging.getLogger(__name__)

PAUSE = 0.1
"""Seconds between a round that failed and the next."""
RELOOK = 0.05
"""Seconds after which the takers are listed again, while there are candidates from an earlier list of the queue."""


class Rounds:
    """Rounds of this process, one at a time, each in a greenlet of its own.

    A caller of `take` may be killed, be interrupted or run out of time during a round. The claims of the round are
    offered to the next caller.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        claims: ZooKeeperClaims,
        takers: Takers,
        name: str,
        interval: float,
        age_share: int = 0,
    ) -> None:
        """Make the rounds of the process `name`. `interval`: shortest time between two lists of the queue, seconds.

        `age_share`: see `AgeShare`.
        """
        self._ensemble = ensemble
        self._claims = claims
        self._takers = takers
        self._name = name.encode()
        self._candidates = Candidates(name, interval, age_share)
        self._stir = claims.arrived  # wakes a `take` that waits
        self._round: gevent.Greenlet[..., Any] | None = None
        self._dry = False  # the next list will probably find nothing
        self._armed = False  # a watch will fire when there may be something to take
        self._not_before = -math.inf
        self._left: set[str] = set()  # names that the last list passed over
        self._forbidden = LeftAlone()  # names of entries that this process may not read or change
        self._trouble = Trouble(log, "no entries can be taken")
        self.ended = 0
        """Rounds that have ended."""
        self.collisions = 0
        """Takes that were lost to another process."""

    @property
    def under_way(self) -> bool:
        """Return whether a round is running."""
        return self._round is not None and not self._round.ready()

    def forget(self) -> None:
        """Drop what earlier sessions knew of the queue."""
        self._candidates.forget()
        self._forbidden.forget()
        self._armed = self._dry = False
        self._not_before = -math.inf

    def begin_if_due(self, membership: Membership, limit: int, exclude: frozenset[str], now: bool) -> float:
        """Begin a round if one is due. Return when (boottime) the next is due, if nothing wakes the caller before.

        `now`: the caller does not wait, and takes from the head of the queue as it is at this moment.
        """
        if self.under_way:
            return math.inf
        again = self._forbidden.due()  # read before the names: a name that is still passed over has its time in `again`
        passed_over = {name_of(entry) for entry in exclude} | self._forbidden.names()
        if not self._left <= passed_over:
            self._armed = False  # an entry that was passed over may be taken now, and no watch fires for it
        due = self._candidates.due
        if not now:
            due = -math.inf if self._candidates else again if self._armed else due
        due = max(due, self._not_before)
        if boottime() < due:
            return due
        run = partial(self._run, membership, limit, passed_over, now)
        self._round = supervise.spawn("a take", run, supervise.end_process)
        return math.inf

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
            self.ended += 1
            self._stir.set()

    # --- list

    def _list(self, membership: Membership, limit: int, passed_over: set[str], now: bool, watched: bool) -> None:
        """List the queue and choose candidates. Leave a watch only with a list that will probably find nothing."""
        self._armed = watched
        if now:
            membership.ask(membership.nodes.sync())
        entries, free, cpu = self._free(membership, passed_over, self._changed if watched else None)
        if watched and entries and not free:  # the death of an owner must wake this process too
            entries, free, cpu = self._free(membership, passed_over, self._changed, self._changed)
        if not entries:
            renew(membership)
        self._candidates.choose(free, [] if now else self._takers.names, self._takers.raced, limit, cpu)
        self._dry = len(free) <= limit  # this round takes all of them
        if free:
            self._armed = False

    def _free(
        self, membership: Membership, passed_over: set[str], on_entries: Watch | None, on_taken: Watch | None = None
    ) -> tuple[int, list[str], float]:
        """Return the number of entries, the names of the free ones, and the seconds of CPU that the list took.

        The taken nodes are listed first: an entry that is consumed between the two lists is in the first list only.
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
        """Wake the caller for an event of a watch, unless this process made the change or lists the queue anyway."""
        if self._armed:
            self._armed = self._dry = False
            self._stir.set()

    # --- grab

    def _grab(self, membership: Membership, names: Sequence[str]) -> None:
        """Take the entries, and offer the claims even if the greenlet is killed halfway.

        Raises the refusal of a take that concerns more than one entry, such as a full quota.
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
        """Return the operations of one take.

        The first writes the same data again: the write fails if the entry is gone, and its zxid is the fencing token.
        """
        return [nodes.write(entry_path(name), data), nodes.create(taken_path(name), self._name, ephemeral=True)]

    def _missed(self, name: str, error: Exception | None, at: int = 0) -> Exception | None:
        """Note why an entry was not taken: `error` of operation `at`. Return an error that concerns others too."""
        if error is None or isinstance(error, (NodeExistsError, NoNodeError)):
            self.collisions += 1
        elif isinstance(error, NoAuthError) and at == 0:
            if self._forbidden.leave(name):
                log.error("%s: no permission; the entry is passed over for a while: %r", entry_path(name), error)
        elif not isinstance(error, CoordinationAway):
            return error
        return None
