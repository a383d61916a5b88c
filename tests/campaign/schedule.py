"""The schedule of faults: made of a seed alone, so that the seed replays it on any machine.

Faults come in rounds. Each fourth round has one fault alone, so that its effect can be measured; the others have two to
four at once, on different parts. A quiet time follows each round.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

EXECUTORS, DISTRIBUTORS, NODES = 4, 2, 3


@dataclass(frozen=True)
class Shape:
    """The processes of a system, and the session timeout of all of them, seconds."""

    servers: int = 1
    elasticsearch: bool = False
    executors: int = EXECUTORS
    distributors: int = DISTRIBUTORS
    session: float = 3.0

    def names(self, role: str) -> list[str]:
        """Return the names of the processes of a role."""
        return [f"{role}-{number}" for number in range(getattr(self, f"{role}s"))]

    @property
    def processes(self) -> list[str]:
        return [name for role in ("server", "executor", "distributor") for name in self.names(role)]


@dataclass(frozen=True)
class Fault:
    """A fault of a part of the system, from `at` seconds after the start of the schedule on, for `lasts` seconds.

    The target is a process, `zookeeper-N`, `zookeeper-leader`, `zookeeper-majority`, `elasticsearch`, or a connection
    as `executor-1>server`. `amount`: seconds of a delay, or by which a clock is set; jobs that fill the pool.
    """

    at: float
    kind: str
    target: str
    lasts: float
    amount: float = 0.0

    def __str__(self) -> str:
        amount = f" by {self.amount:g}" if self.amount else ""
        return f"{self.at:6.1f} s  {self.kind} {self.target}{amount}, {self.lasts:.1f} s"


WEIGHTS = {"kill": 10, "freeze": 6, "cut": 3, "refuse": 3, "delay": 2, "silence": 5, "clock": 3, "pool": 1, "disk": 2}

QUIET = 4.0
"""Seconds without a fault before one alone."""


def plan(seed: int, seconds: float, shape: Shape) -> list[Fault]:
    """Return the faults of a campaign that lasts so many seconds, in order."""
    dice = random.Random(seed)
    faults: list[Fault] = []
    start, number = 1.0, 0
    while start < seconds:
        alone = number % 4 == 0
        start += QUIET if alone and faults else 0.0
        made = [_death(dice, start, shape)] if alone else list(_together(dice, start, shape))
        faults += made
        start = max(fault.at + fault.lasts for fault in made) + dice.uniform(0.5, 2.0)
        if alone:  # what a death costs is seen when nothing else happens
            start = max(start, made[0].at + shape.session + 3)
        number += 1
    return sorted((fault for fault in faults if fault.at < seconds), key=lambda fault: fault.at)


def _death(dice: random.Random, start: float, shape: Shape) -> Fault:
    return Fault(start, "kill", dice.choice(shape.names("executor")), dice.uniform(0.5, 2 * shape.session))


def _together(dice: random.Random, start: float, shape: Shape) -> Iterator[Fault]:
    """Yield two to four faults that overlap, on different parts."""
    struck: set[str] = set()
    wanted = dice.choice((2, 3, 4))
    while len(struck) < wanted:
        kind = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        target = dice.choice(targets(kind, shape)) if targets(kind, shape) else ""
        part = "zookeeper" if target.startswith("zookeeper") else target
        if target and part not in struck:
            struck.add(part)
            lasts = 0.0 if kind in ("cut", "pool") else dice.uniform(*_span(kind, target, shape.session))
            yield Fault(start + dice.uniform(0, 2), kind, target, lasts, _amount(dice, kind))


def targets(kind: str, shape: Shape) -> list[str]:
    """Return all parts that a fault of this kind may strike; those of which there are few count more than once."""
    nodes = [*(f"zookeeper-{number}" for number in range(NODES)), "zookeeper-leader", "zookeeper-leader"]
    store = ["elasticsearch"] * shape.elasticsearch
    if kind == "kill":
        return [*shape.processes, *shape.names("server"), *nodes, "zookeeper-majority", *store]
    if kind == "freeze":
        return [*shape.processes, *nodes, *store]
    if kind in ("cut", "refuse", "delay", "silence"):
        return connections(shape)
    if kind == "clock":
        return shape.processes
    if kind == "disk":
        return ["server-0"] if not shape.elasticsearch else []
    return ["executors"]


def connections(shape: Shape) -> list[str]:
    """Return the names of all connections between a process and a service."""
    made = [f"{name}>zookeeper" for name in shape.processes]
    for source in (*shape.names("executor"), *shape.names("distributor")):
        made += [f"{source}>{server}" for server in shape.names("server")]
    return made + [f"{name}>elasticsearch" for name in shape.names("server") if shape.elasticsearch]


def _span(kind: str, target: str, session: float) -> tuple[float, float]:
    """Return the shortest and the longest time of a fault, seconds."""
    if target == "zookeeper-majority":
        return 0.5, 1.5 * session
    if kind == "freeze":
        return 0.3 * session, 2.5 * session
    return 0.5, 2 * session


def _amount(dice: random.Random, kind: str) -> float:
    """Return how strong a fault is."""
    if kind == "clock":
        return round(dice.choice((-1, 1)) * dice.uniform(1, 30), 1)
    if kind == "pool":
        return dice.randrange(100, 250)
    return round(dice.uniform(0.05, 1.0), 2) if kind == "delay" else 0.0
