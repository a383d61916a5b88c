"""The queue without the take: put, remove, discard, read, consume, release, stats."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from kazoo.exceptions import NodeExistsError, NoNodeError

from geventjob.coordination.base import ENTRIES, Claim, QueueStats, Waiting
from geventjob.coordination.names import check_priorities, entry_prefix, parse_entry
from geventjob.coordination.zookeeper.apart import apart
from geventjob.coordination.zookeeper.claims import ZooKeeperClaims
from geventjob.coordination.zookeeper.election import ZooKeeperLeadership
from geventjob.coordination.zookeeper.ensemble import Ensemble
from geventjob.coordination.zookeeper.membership import Membership
from geventjob.coordination.zookeeper.nodes import TAKEN, ZooKeeperNodes, entry_path, name_of, taken_path
from geventjob.coordination.zookeeper.numbers import NUMBERS, Numbers, used
from geventjob.coordination.zookeeper.order import before, first_of, priority_of
from geventjob.coordination.zookeeper.transactions import Failure, Group, commit


class ZooKeeperQueue:
    """Operations on entries, for executors and for servers."""

    def __init__(self, ensemble: Ensemble, claims: ZooKeeperClaims, name: str) -> None:
        """Keep the parts. `name` is the holder that other processes see."""
        self._ensemble = ensemble
        self._claims = claims
        self._name = name.encode()
        self._numbers = Numbers()

    # --- servers

    def put(
        self,
        items: Sequence[tuple[str, int]],
        places: Sequence[str | None] = (),
        leadership: ZooKeeperLeadership | None = None,
    ) -> list[str]:
        """See `Coordination.put`."""
        check_priorities(items)
        if not items:
            return []
        membership = self._ensemble.now()
        back = self._put_back(membership, items, places, leadership) if any(places) else {}
        rest = [item for number, item in enumerate(items) if number not in back]
        new = iter(self._put_new(membership, rest, leadership) if rest else ())
        return [back.get(number) or next(new) for number in range(len(items))]

    def _put_back(
        self,
        membership: Membership,
        items: Sequence[tuple[str, int]],
        places: Sequence[str | None],
        leadership: ZooKeeperLeadership | None,
    ) -> dict[int, str]:
        """Put items at their places again where these are free. Return number of an item → path."""
        given_out = self._numbers.given_out(membership)
        named = [
            (number, place)
            for number, ((_, priority), place) in enumerate(zip(items, places, strict=True))
            if place and (shown := parse_entry(place)) and shown[0] == priority and given_out(shown[1])
        ]
        groups = [self._return(membership.nodes, place, items[number][0]) for number, place in named]
        back, in_use = {}, []
        for at, outcome in commit(membership, groups, leadership):
            if not isinstance(outcome, Failure):
                back[named[at][0]] = named[at][1]
            elif isinstance(outcome.error, NodeExistsError):
                in_use.append(named[at])
            else:
                raise outcome.error
        paths = [place for _, place in in_use]
        for (number, place), job, holder in zip(in_use, self.jobs(paths), self.holders(paths), strict=True):
            if job == items[number][0] and holder is None:  # an earlier put, whose answer was lost
                back[number] = place
        return back

    def _return(self, nodes: ZooKeeperNodes, entry: str, job: str) -> Group:
        """Return the operations that make an entry whose name is free. They fail where a process holds the name."""
        return [*self._lock(nodes, entry), nodes.create(entry, job.encode())]

    def _put_new(
        self, membership: Membership, items: Sequence[tuple[str, int]], leadership: ZooKeeperLeadership | None
    ) -> list[str]:
        """Put items at the end."""
        put = self._numbers.put if self._numbers.own(membership) else self._put_sequential
        paths = put(membership, items, leadership)
        self._numbers.seen(paths)
        return paths

    def _put_sequential(
        self, membership: Membership, items: Sequence[tuple[str, int]], leadership: ZooKeeperLeadership | None
    ) -> list[str]:
        """Put entries whose sequences ZooKeeper chooses."""
        create = membership.nodes.create
        groups = [[create(entry_prefix(priority), job.encode(), sequential=True)] for job, priority in items]
        paths = {}
        for number, outcome in commit(membership, groups, leadership):
            if isinstance(outcome, Failure):
                raise outcome.error
            paths[number] = membership.nodes.plain(outcome[0])
        return [paths[number] for number in range(len(items))]

    def remove(self, entries: Sequence[str], leadership: ZooKeeperLeadership | None = None) -> list[bool]:
        """See `Coordination.remove`."""
        membership = self._ensemble.now()
        held = []
        there = [entry for entry in entries if parse_entry(entry)]
        removals = [self._removal(membership.nodes, entry) for entry in there]
        for number, outcome in commit(membership, removals, leadership):
            if isinstance(outcome, Failure) and not isinstance(outcome.error, NoNodeError):
                if not isinstance(outcome.error, NodeExistsError):
                    raise outcome.error
                held.append(there[number])
        held = [entry for entry, stands in zip(held, self.jobs(held), strict=True) if stands is not None]
        return [entry not in held for entry in entries]

    def _removal(self, nodes: ZooKeeperNodes, entry: str) -> Group:
        """Return the operations that take and delete an entry at once. They fail for an entry that a process holds."""
        return [*self._lock(nodes, entry), nodes.delete(entry)]

    def _lock(self, nodes: ZooKeeperNodes, entry: str) -> Group:
        """Return the operations that fail where a process holds the entry."""
        lock = taken_path(name_of(entry))
        return [nodes.create(lock, self._name, ephemeral=True), nodes.delete(lock)]

    def discard(self, entries: Sequence[str]) -> None:
        """See `Coordination.discard`. The taken node of a held entry goes when its holder ends the claim."""
        there = [entry for entry in entries if parse_entry(entry)]
        membership = self._ensemble.now()
        for answer in membership.ask_all([membership.nodes.delete(entry) for entry in there]):
            if isinstance(answer, Exception) and not isinstance(answer, NoNodeError):
                raise answer

    def holders(self, entries: Sequence[str]) -> list[str | None]:
        """See `Coordination.holders`."""
        there = [entry for entry in entries if parse_entry(entry)]
        membership = self._ensemble.now()
        membership.ask(membership.nodes.sync())
        found = dict(zip(there, membership.read(taken_path(name_of(entry)) for entry in there), strict=True))
        return [_said(found.get(entry)) for entry in entries]

    def jobs(self, entries: Sequence[str]) -> list[str | None]:
        """See `Coordination.jobs`. The text of an entry without permission is empty."""
        return [_said(node) for node in self._read(entries)]

    def fences(self, entries: Sequence[str]) -> list[int | None]:
        """See `Coordination.fences`. The number is the zxid of the entry's last change."""
        return [node[1].mzxid if isinstance(node, tuple) else None for node in self._read(entries)]

    def _read(self, entries: Sequence[str]) -> list[Any]:
        """Return the result of `Membership.read` for each entry, no older than this call."""
        there = [entry for entry in entries if parse_entry(entry)]
        membership = self._ensemble.now()
        membership.ask(membership.nodes.sync())
        found = dict(zip(there, membership.read(there), strict=True))
        return [found.get(entry) for entry in entries]

    def ahead(self, entry: str) -> int | None:
        """See `Coordination.ahead`."""
        membership = self._ensemble.now()
        nodes = membership.nodes
        _, names, taken = membership.ask_each([nodes.sync(), nodes.entries(), nodes.children(TAKEN)])
        if parse_entry(entry) is None or name_of(entry) not in names:
            return None
        return before(set(names).difference(taken), name_of(entry))

    def stats(self, head: int) -> QueueStats:
        """See `Coordination.stats`."""
        membership = self._ensemble.now()
        nodes = membership.nodes
        _, names, taken, stat = membership.ask_each(
            [nodes.sync(), nodes.entries(), nodes.children(TAKEN), nodes.exists(ENTRIES)]
        )
        first = first_of(names, max(1, head))
        free = first_of(set(names).difference(taken), head)
        read = list(dict.fromkeys([*first, *free]))
        entries = dict(_present(read, membership.read(map(entry_path, read))))
        holders = {name: _text(data) for name, (data, _) in _present(taken, membership.read(map(taken_path, taken)))}

        def waiting(names: Sequence[str]) -> list[Waiting]:
            return [
                Waiting(entry_path(name), priority_of(name), _text(entries[name][0]), holders.get(name))
                for name in names
                if name in entries
            ]

        oldest = next((entries[name][1] for name in first if name in entries), None)
        return QueueStats(
            entries=len(names),
            taken=len(holders),
            oldest=max(0.0, time.time() - oldest.ctime / 1000) if oldest else None,
            head=waiting(first[:head]),
            next=waiting(free),
            holders=Counter(holders.values()),
            numbers=used(stat) / NUMBERS if stat else 0.0,
        )

    # --- executors

    def consume(self, claims: Sequence[Claim]) -> None:
        """See `Coordination.consume`."""
        apart(self._end, claims, lambda nodes, claim: [nodes.delete(taken_of(claim)), nodes.delete(claim.entry)])

    def release(self, claims: Sequence[Claim]) -> None:
        """See `Coordination.release`."""
        apart(self._end, claims, lambda nodes, claim: [nodes.delete(taken_of(claim))])

    def _end(self, claims: Sequence[Claim], operations: Callable[[ZooKeeperNodes, Claim], Group]) -> None:
        claims = self._claims.ours(claims)
        if not claims:
            return
        membership = self._ensemble.now()
        claims = self._seen_ours(membership, claims)
        self._claims.ending(claims)
        alone: list[Claim] = []
        unknown: list[Exception] = []
        for number, outcome in commit(membership, [operations(membership.nodes, claim) for claim in claims]):
            claim = claims[number]
            if not isinstance(outcome, Failure):
                self._claims.drop(claim)
            elif not isinstance(outcome.error, NoNodeError):
                unknown.append(outcome.error)
            elif outcome.at == 0:
                self._claims.revoke([claim])
            else:
                alone.append(claim)
        if alone:
            self.release(alone)  # the entry was deleted by another
        if unknown:
            raise unknown[0]

    def _seen_ours(self, membership: Membership, claims: Sequence[Claim]) -> list[Claim]:
        """Return the claims whose taken node is ours, and revoke the others.

        Another process may own a taken node by now, if ours was removed by hand.
        """
        me = membership.identity
        nodes = zip(claims, membership.read(map(taken_of, claims)), strict=True)
        others = [claim for claim, node in nodes if not (isinstance(node, tuple) and node[1].ephemeralOwner == me)]
        if others:
            self._claims.revoke(others)
        return [claim for claim in claims if claim not in others] if others else list(claims)


def _present(names: Sequence[str], found: Sequence[Any]) -> list[tuple[str, Any]]:
    """Return the names that exist with their nodes."""
    return [(name, node) for name, node in zip(names, found, strict=True) if isinstance(node, tuple)]


def _text(data: bytes | None) -> str:
    return (data or b"").decode(errors="replace")


def taken_of(claim: Claim) -> str:
    """Return the path of the node that makes the claim ours."""
    return taken_path(name_of(claim.entry))


def _said(node: Any) -> str | None:
    """Return the text of a node that `Membership.read` returned; None for a missing node."""
    if node is None:
        return None
    return node[0].decode(errors="replace") if isinstance(node, tuple) else ""
