"""The model of a ZooKeeper ensemble: how long each request takes, as measured, and what waits for what.

A write passes one processor of the leader, then the disk, which syncs all writes that wait at once; each server applies
it. A read takes one processor of the server to which its session is connected. Answers of one session keep their order.
The network takes half a round trip each way and `bandwidth` bytes a second from each server.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gevent
from gevent.event import AsyncResult
from kazoo.exceptions import KazooException
from kazoo.protocol.states import KazooState

from bench.simulation.tree import Tree
from geventjob.clock import boottime

NAME_BYTES = 24
"""Bytes of the name of an entry in an answer, with its length."""


@dataclass(frozen=True)
class Costs:
    """Measured times, in seconds; `python -m bench.zookeeper --costs` measures them."""

    trip: float = 0.0004
    """The round trip of a small read on an idle ensemble, client included."""
    sync: float = 0.0025
    """What a small write takes more: the disk, and the majority."""
    request: float = 0.00003
    """CPU of a server for a request."""
    change: float = 0.000012
    """CPU of a server for one operation of a transaction."""
    read: float = 0.000004
    """CPU of a server for each node of a multi-read."""
    name: float = 0.0000004
    """CPU of a server for each name of a list."""
    name_here: float = 0.0000006
    """CPU of a client for each name of a list: reading the answer, and choosing."""
    bandwidth: float = 1e8
    """Bytes a second."""


@dataclass
class Server:
    """One server: the time from which its processor is free."""

    free: float = 0.0

    def work(self, cost: float, since: float) -> float:
        """Use the processor, from `since` at the earliest. Return when the work is done."""
        self.free = max(self.free, since) + cost
        return self.free


@dataclass
class Session:
    """A session, whose requests are done and answered in their order."""

    id: int
    asked: deque[Asked] = field(default_factory=deque)
    answered: float = 0.0
    """When the last answer arrives."""

    def go_on(self) -> None:
        """Do the next request if nothing else holds it up."""
        if self.asked and self.asked[0].is_ready:
            self.asked[0].is_ready = False
            self.asked[0].do()


@dataclass
class Asked:
    """A request on its way: `do` is called when it is ready and all before it are done."""

    do: Callable[[], None]
    is_ready: bool = False


@dataclass
class Model:
    """An ensemble of `size` servers; the first is the leader."""

    costs: Costs
    size: int = 3
    tree: Tree = field(default_factory=Tree)
    counts: Counter[str] = field(default_factory=Counter)
    """Requests by kind, operations of transactions, and bytes of lists."""

    def __post_init__(self) -> None:
        self.servers = [Server() for _ in range(self.size)]
        self._disk = (0.0, 0.0)  # begin and end of the last sync
        self._sessions = 0
        self.busy = {"writes": 0.0, "reads": 0.0}
        """Seconds of processor: of the leader for writes, of all servers for reads."""

    def open(self) -> Session:
        """Begin a session."""
        self._sessions += 1
        return Session(self._sessions)

    def send(self, request: Any, session: Session, give: Callable[[Any], None]) -> None:
        """Receive a request; `give` is called with the answer, or with an exception of kazoo, in the hub."""
        kind = type(request).__name__
        self.counts[kind] += 1
        arrived = boottime() + self.costs.trip / 2
        if kind in _WRITES:
            operations = request.operations if kind == "Transaction" else [request]
            self.counts["operations"] += len(operations)
            asked = Asked(partial(self._write, operations, kind, session, give))
            moment = self._committed(len(operations), arrived)
        else:
            asked, moment = Asked(partial(self._begin_read, request, kind, session, give)), arrived
        session.asked.append(asked)

        def ready() -> None:
            asked.is_ready = True
            session.go_on()

        _at(moment, ready)

    def _committed(self, operations: int, arrived: float) -> float:
        """Return when a transaction is on the disks of the majority."""
        cost = self.costs.request + operations * self.costs.change
        done, *_ = [server.work(cost, arrived) for server in self.servers]
        self.busy["writes"] += cost
        begin, end = self._disk
        if done > begin:
            begin = max(done, end)
            self._disk = begin, begin + self.costs.sync
        return self._disk[1]

    def _write(self, operations: Sequence[Any], kind: str, session: Session, give: Callable[[Any], None]) -> None:
        answers = self.tree.change(operations, session.id)
        for watch in self.tree.fired():
            self.counts["watch events"] += 1
            _at(boottime() + self.costs.trip / 2, partial(watch, None))
        self._answer(session, 0.0, answers if kind == "Transaction" else answers[0], give)

    def _begin_read(self, request: Any, kind: str, session: Session, give: Callable[[Any], None]) -> None:
        """Use the processor of the session's server, then answer with the nodes as they are at that moment."""
        items, names = self._extent(request, kind, session.id)
        cost = self.costs.request + items * self.costs.read + names * self.costs.name
        self.counts["names listed"] += names
        self.busy["reads"] += cost
        here = names * self.costs.name_here
        if kind == "EntryNames":
            request.cpu = here  # of reading the answer and of choosing: the virtual time has no other CPU

        def read() -> None:
            try:
                found = _READS[kind](self.tree, request, session.id)
            except KazooException as error:
                found = error
            self._answer(session, names * NAME_BYTES / self.costs.bandwidth + here, found, give)

        _at(self.servers[session.id % self.size].work(cost, boottime()), read)

    def _extent(self, request: Any, kind: str, session: int) -> tuple[int, int]:
        """Return the number of nodes that a request reads, and of the names that it lists."""
        if kind == "MultiRead":
            return len(request.paths), 0
        if kind == "GetEphemerals":
            return 0, len(self.tree.owned(session, request.prefix))
        if kind in ("GetChildren", "GetChildren2", "EntryNames") and request.path in self.tree.nodes:
            return 0, len(self.tree.nodes[request.path].children)
        return 1, 0

    def _answer(self, session: Session, way: float, found: Any, give: Callable[[Any], None]) -> None:
        """Answer a request, and do the next; `way`: seconds that the answer takes besides half of a round trip."""
        session.answered = max(session.answered, boottime() + way + self.costs.trip / 2)
        _at(session.answered, partial(give, found))
        session.asked.popleft()
        session.go_on()


def _at(moment: float, call: Callable[[], Any]) -> None:
    """Call a function in the hub at a moment of `boottime`."""
    loop: Any = gevent.get_hub().loop
    loop.timer(max(0.0, moment - boottime())).start(call)


def _children(tree: Tree, request: Any, session: int) -> list[str]:
    node = tree.node(request.path)
    if request.watcher is not None:
        node.child_watches.append(request.watcher)
    return node.listed()


def _exists(tree: Tree, request: Any, session: int) -> Any:
    node = tree.nodes.get(request.path)
    if node is not None and request.watcher is not None:
        node.watches.append(request.watcher)
    return None if node is None else node.stat()


_WRITES = frozenset({"Create", "Delete", "SetData", "Transaction"})
_READS: dict[str, Callable[[Tree, Any, int], Any]] = {
    "MultiRead": lambda tree, request, session: tree.read(request.paths),
    "GetEphemerals": lambda tree, request, session: tree.owned(session, request.prefix),
    "GetChildren": _children,
    "EntryNames": _children,
    "GetChildren2": lambda tree, request, session: (_children(tree, request, session), tree.node(request.path).stat()),
    "GetACL": lambda tree, request, session: ([], tree.node(request.path).stat()),
    "Exists": _exists,
    "Sync": lambda tree, request, session: request.path,
}


class ModelClient:
    """A connection to the model, in place of the client of kazoo (coordination/zookeeper/client.py)."""

    ended = False
    granted = asked = 0.0

    def __init__(self, model: Model, access: Any) -> None:
        self._model = model
        self._access = access
        self._listeners: list[Callable[[str], None]] = []
        self._session = Session(0)
        self.failures: dict[str, str] = {}

    @property
    def identity(self) -> int:
        return self._session.id

    @property
    def connected(self) -> bool:
        return bool(self.identity)

    @property
    def last_change(self) -> int:
        return self._model.tree.zxid

    def add_listener(self, listener: Callable[[str], None]) -> None:
        self._listeners.append(listener)

    def start_async(self) -> None:
        """Begin a session, which takes a write."""
        self.asked, self.granted = boottime(), self._access.timeout
        _at(boottime() + self._model.costs.trip + self._model.costs.sync, self._joined)

    def _joined(self) -> None:
        self._session = self._model.open()
        for listener in self._listeners:
            listener(KazooState.CONNECTED)

    def send(self, request: Any) -> AsyncResult[Any]:
        """Send a request; the answer may be an exception of kazoo."""
        answer: AsyncResult[Any] = AsyncResult()

        def answered(found: Any) -> None:
            if isinstance(found, Exception):
                answer.set_exception(found)
            else:
                answer.set(found)

        self._model.send(request, self._session, answered)
        return answer

    def drop(self) -> None:
        """Do nothing: the model breaks no connection."""

    leave = disown = drop
