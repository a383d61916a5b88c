"""Which entries to take next: this executor's part of the head of the queue, as the last list showed it."""

from __future__ import annotations

import math
import time
import zlib
from collections import deque
from collections.abc import Collection, Iterable, Sequence

from geventjob.clock import boottime
from geventjob.coordination.zookeeper.order import first_of

SHARE_OF_CPU = 20
"""A list costs CPU in proportion to the depth of the queue, so lists get a twentieth of it at most (FINDINGS §3)."""
CROWD = 0.05
"""Seconds: takers who wait together look the less often the more they are, so that the first who looks finds what is
new as soon as one alone would, and ZooKeeper has no more to do; each of them looks this often at least."""
FRESH = 1.0
"""Seconds after which candidates are too old: an urgent entry may have come since."""
FAST = 5000.0
"""Entries a second that this executor may take, before it is known how fast it is."""


class Candidates:
    """Names of entries, in the order in which to take them."""

    def __init__(self, name: str, interval: float) -> None:
        """`interval`: least seconds between two lists, for one who takes alone."""
        self._name = name
        self._interval = interval
        self.forget()

    def forget(self) -> None:
        """As after the beginning of a session."""
        self._names: deque[str] = deque()
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
        """When (boottime) the next list may be made."""
        return self._listed + self._pace

    def draw(self, count: int, exclude: Collection[str]) -> list[str]:
        """The first `count` of them, which are candidates no longer; those to be left alone are passed over."""
        drawn: list[str] = []
        while self._names and len(drawn) < count:
            name = self._names.popleft()
            if name not in exclude:
                drawn.append(name)
        self._drawn += len(drawn)
        if not self._names:
            self._run_out = min(self._run_out, boottime())
        return drawn

    def choose(self, free: Sequence[str], takers: Collection[str], raced: bool, limit: int, cpu: float) -> None:
        """Anew, from all entries that may be taken.

        The head is twice what all the takers could take: until the next list if they are fast, at least `limit` each.
        It is parted among them, so that they do not race for the same entries; what is not ours becomes ours only when
        ours is empty and the others have left it from one list to the next. A queue that is no longer than its head is
        parted only if there have been races (`raced`): who takes by turns with others takes in the queue's order, and
        waits for nobody's part. `cpu`: seconds that the list has cost.
        """
        began, now = time.thread_time(), boottime()
        if self._drawn:
            self._speed = self._drawn / max(0.001, min(now, self._run_out) - self._listed)
        until_next = max(self._pace, 2 * SHARE_OF_CPU * cpu)  # the choice costs as much as the list
        crowd = len({*takers, self._name})
        self._deep = len(free) > 2 * crowd * limit
        self._takers = self._partners(takers, raced)
        head = first_of(free, 2 * len(self._takers) * max(limit, math.ceil(self._speed * until_next)))
        mine = self._part(head)
        rest = [] if mine else [name for name in head if name in self._others]
        near = rest[: len(self._takers) * limit]  # no more than all can take next, for the sake of the queue's order
        self._names = deque(mine or self._part(near, again=True) or rest)
        self._others = frozenset(head).difference(mine)
        least = max(self._interval, min(CROWD, self._interval * crowd))
        self._pace = max(least, SHARE_OF_CPU * (cpu + time.thread_time() - began))
        self._listed, self._drawn, self._run_out = now, 0, math.inf

    def reconsider(self, takers: Collection[str], raced: bool) -> None:
        """Leave to takers who have come since the list what is theirs, or to all after a race."""
        partners = self._partners(takers, raced)
        if partners != self._takers:
            self._takers = partners
            self._names = deque(self._part(self._names))

    def _partners(self, takers: Collection[str], raced: bool) -> list[str]:
        return sorted({*takers, self._name}) if raced or self._deep else [self._name]

    def _part(self, names: Iterable[str], again: bool = False) -> list[str]:
        """What is ours of them; `again`: of a part that is another's, since several may have nothing left of theirs."""
        parts, rank = len(self._takers), self._takers.index(self._name)
        divisor = parts if again else 1
        return [name for name in names if zlib.crc32(name.encode()) // divisor % parts == rank]
