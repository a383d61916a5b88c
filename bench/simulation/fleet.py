"""Executors with the real take loop, and a server with the real promoter, over one model of ZooKeeper."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import Semaphore

from bench.simulation.model import Model, ModelClient
from bench.simulation.tree import Node
from geventjob.clock import boottime
from geventjob.coordination.base import ENTRIES, Claim
from geventjob.coordination.zookeeper import ZooKeeperCoordination, ensemble
from geventjob.executor.claims import TRANSACTION, HeldClaims
from geventjob.executor.take import Taker

PRIORITIES = (100, 500, 999)


def joined(model: Model, name: str, timeout: float, **more: Any) -> ZooKeeperCoordination:
    """Return a member of the fleet, with a session of its own in the model."""
    made: Any = ensemble
    made.ZooKeeperClient = partial(ModelClient, model)
    member = ZooKeeperCoordination("model:2181", name, timeout, **more)
    member.start()
    return member


def fill(model: Model, entries: int) -> None:
    """Put entries into the queue before the clock starts. A member has made the folders."""
    tree = model.tree
    folder = tree.nodes[ENTRIES]
    moment = 0
    for number in range(entries):
        path = f"{ENTRIES}/entry-{PRIORITIES[number % len(PRIORITIES)]}-{number:010d}"
        tree.add(path, Node(f"job/{number}".encode(), 0, 0, 0, moment))
    folder.made += entries


class Executor:
    """An executor: takes claims by the real loop, and ends each when its job has run for `lasting` seconds.

    `start_cost`: CPU of the executor for a job, which starts them one after the other. `write`: seconds of the server
    for RUNNING and for the outcome.
    """

    def __init__(
        self,
        member: ZooKeeperCoordination,
        slots: int,
        lasting: float,
        start_cost: float,
        write: float,
        taken: Callable[[Claim], None],
    ) -> None:
        self.member = member
        self.taken = 0
        self._taken = taken
        self._lasting = lasting + 2 * write
        self._cost = start_cost
        self._free = 0.0
        self._slots = Semaphore(slots)
        self._running: deque[tuple[float, Claim]] = deque()
        self._begun = Event()
        up = Event()
        up.set()
        taker = Taker(member, HeldClaims(member), up, self._slots, self._begin)
        gevent.spawn(taker.run)
        gevent.spawn(self._end)

    @property
    def collisions(self) -> int:
        return self.member._rounds.collisions

    def _begin(self, claim: Claim) -> None:
        self._free = max(self._free, boottime()) + self._cost
        self._running.append((self._free + self._lasting, claim))
        self.taken += 1
        self._taken(claim)
        self._begun.set()

    def _end(self) -> None:
        """Consume the claims whose jobs have ended, in the batches of an executor."""
        while True:
            if not self._running:
                self._begun.clear()
                self._begun.wait()
            gevent.sleep(max(0.0, self._running[0][0] - boottime()))
            ended: list[Claim] = []
            while self._running and len(ended) < TRANSACTION and self._running[0][0] <= boottime():
                ended.append(self._running.popleft()[1])
            self.member.consume(ended)
            for _ in ended:
                self._slots.release()


def spread(taken: Sequence[int]) -> float:
    """Return Jain's index of fairness: 1 if all have taken the same number, 1/n if one has taken all."""
    return sum(taken) ** 2 / (len(taken) * sum(number**2 for number in taken)) if any(taken) else 0.0
