"""The entries to take next: this executor's part of the head of the queue, as the last list showed the queue."""

from __future__ import annotations

import math
import time
import zlib
from collections import deque
from collections.abc import Collection, Iterable, Sequence

from geventjob.clock import boottime
from geventjob.coordination.ages import AgeShare
from geventjob.coordination.zookeeper.order import first_of, oldest_of

SHARE_OF_CPU = 20
"""Lists get at most a twentieth of the CPU: the cost of a list grows with the depth of the queue (docs/measurements.md,
"Taking from a queue").
"""
CROWD = 0.05
"""Longest interval between two lists of one taker, seconds, however many takers wait together.

More takers list less often each: the first list after a put comes as soon as with one taker, and ZooKeeper has no more
work.
"""
FRESH = 1.0
"""Seconds after which candidates are too old: an entry of a lower priority number may have come."""
FAST = 5000.0
"""Entries a second that this executor may take, until its speed is known."""


class Candidates:
    """Names of entries, in the order in which to take them."""

    def __init__(self, name: str, interval: float, age_share: int = 0) -> None:
        """Keep the name of this taker. `interval`: shortest time between two lists for a single taker, seconds.

        `age_share`: see `AgeShare`.
        """
        self._name = name
        self._interval = interval
        self._ages = AgeShare(age_share)
        self.forget()

    def forget(self) -> None:
        """Reset everything, as at the beginning of a session."""
        self._names: deque[str] = deque()
        self._oldest: deque[str] = deque()
        self._given: set[str] = set()  # drawn from either of the two, and perhaps still in the other
        self._others: frozenset[str] = frozenset()
        self._takers = [self._name]
        self._deep = False
        self._listed = -math.inf
        self._pace = self._interval
        self._drawn = 0
        self._run_out = math.inf
        self._speed = FAST

    def __bool__(self) -> bool:
        return bool(self._names) and boottime() < self._listed + max(FRESH, 2 * self._pace)

    @property
    def due(self) -> float:
        """The time (boottime) from which the next list may be made."""
        return self._listed + self._pace

    def draw(self, count: int, exclude: Collection[str]) -> list[str]:
        """Remove and return the first `count` candidates, without the names in `exclude`.

        The share for the oldest ones is drawn first.
        """
        drawn = self._draw(self._oldest, self._ages.due(min(count, len(self._names))), exclude)
        drawn += self._draw(self._names, count - len(drawn), exclude)
        self._ages.count(len(drawn))
        self._drawn += len(drawn)
        if not self._names:
            self._run_out = min(self._run_out, boottime())
        return drawn

    def _draw(self, names: deque[str], count: int, exclude: Collection[str]) -> list[str]:
        drawn: list[str] = []
        while names and len(drawn) < count:
            name = names.popleft()
            if name not in exclude and name not in self._given:
                drawn.append(name)
                self._given.add(name)
        return drawn

    def choose(self, free: Sequence[str], takers: Collection[str], raced: bool, limit: int, cpu: float) -> None:
        """Choose candidates from `free`, the names of all entries that may be taken.

        The head is twice what all takers could take: until the next list if the takers are fast, at least `limit` each.
        The takers share the head by a hash, so that they do not race for the same entries. A taker turns to the parts
        of others only when its own part is empty and the others have left an entry from one list to the next. A queue
        no longer than its head is shared only after races (`raced`): takers that alternate then keep the order of the
        queue, and no entry waits for the taker of its part. `cpu`: seconds of CPU that the list took.
        """
        began, now = time.thread_time(), boottime()
        if self._drawn:
            self._speed = self._drawn / max(0.001, min(now, self._run_out) - self._listed)
        until_next = max(self._pace, 2 * SHARE_OF_CPU * cpu)  # a choice costs as much as a list
        crowd = len({*takers, self._name})
        self._deep = len(free) > 2 * crowd * limit
        self._takers = self._partners(takers, raced)
        count = 2 * len(self._takers) * max(limit, math.ceil(self._speed * until_next))
        head = first_of(free, count)
        mine = self._part(head)
        rest = [] if mine else [name for name in head if name in self._others]
        near = rest[: len(self._takers) * limit]  # at most the number that all takers take next, to keep the order
        self._names = deque(mine or self._part(near, again=True) or rest)
        self._others = frozenset(head).difference(mine)
        self._oldest = deque(self._part(oldest_of(free, self._ages.ready(count))))
        self._given.clear()
        least = max(self._interval, min(CROWD, self._interval * crowd))
        self._pace = max(least, SHARE_OF_CPU * (cpu + time.thread_time() - began))
        self._listed, self._drawn, self._run_out = now, 0, math.inf

    def reconsider(self, takers: Collection[str], raced: bool) -> None:
        """Leave their parts to takers that came after the list, or to all takers after a race."""
        partners = self._partners(takers, raced)
        if partners != self._takers:
            self._takers = partners
            self._names = deque(self._part(self._names))
            self._oldest = deque(self._part(self._oldest))

    def _partners(self, takers: Collection[str], raced: bool) -> list[str]:
        return sorted({*takers, self._name}) if raced or self._deep else [self._name]

    def _part(self, names: Iterable[str], again: bool = False) -> list[str]:
        """Return this taker's part of `names`.

        `again`: share a part of another taker once more, by other digits of the hash, since several takers may have
        emptied their own parts.
        """
        parts, rank = len(self._takers), self._takers.index(self._name)
        divisor = parts if again else 1
        return [name for name in names if zlib.crc32(name.encode()) // divisor % parts == rank]
