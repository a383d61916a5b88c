"""The nodes of the model of ZooKeeper: what each request of geventjob changes and answers, without any time.

The answers are those of kazoo; `tests/contract/zookeeper/test_model.py` holds them to a real ZooKeeper.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kazoo.exceptions import (
    BadVersionError,
    KazooException,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
)
from kazoo.protocol.states import ZnodeStat

Watch = Callable[[Any], None]
Undo = Callable[[], None]


@dataclass(slots=True)
class Node:
    """A node. `made`: how many children were ever created, the next sequence number."""

    data: bytes
    owner: int
    czxid: int
    mzxid: int
    ctime: int
    version: int = 0
    made: int = 0
    children: dict[str, None] = field(default_factory=dict)
    names: list[str] | None = None
    """The children as a list, shared by all who list the folder until it changes."""
    watches: list[Watch] = field(default_factory=list)
    """Fired by a write of the node and by its end."""
    child_watches: list[Watch] = field(default_factory=list)

    def stat(self) -> ZnodeStat:
        made = 2 * self.made - len(self.children)
        return ZnodeStat(
            self.czxid, self.mzxid, self.ctime, self.ctime, self.version, made, 0, self.owner, len(self.data),
            len(self.children), self.mzxid,
        )  # fmt: skip

    def listed(self) -> list[str]:
        if self.names is None:
            self.names = list(self.children)
        return self.names


class Tree:
    """All nodes. Every change has a number, the zxid."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {"/": Node(b"", 0, 0, 0, 0)}
        self.zxid = 0
        self._owned: dict[int, set[str]] = {}
        self._changed: list[list[Watch]] = []

    def fired(self) -> list[Watch]:
        """Return the watches that the last changes have fired, each once."""
        fired: list[Watch] = []
        for watches in self._changed:
            fired += watches
            watches.clear()
        self._changed.clear()
        return fired

    def owned(self, session: int, prefix: str) -> list[str]:
        """Return the ephemeral nodes of a session."""
        return [path for path in self._owned.get(session, ()) if path.startswith(prefix)]

    def change(self, operations: Sequence[Any], session: int) -> list[Any]:
        """Do all operations or none. Return their answers; if one is refused, errors in place of all."""
        self.zxid += 1
        answers: list[Any] = []
        undo: list[Undo] = []
        for number, operation in enumerate(operations):
            try:
                answer, back = _CHANGES[type(operation).__name__](self, operation, session)
            except KazooException as error:
                for each in reversed(undo):
                    each()
                self._changed.clear()
                rest = len(operations) - number - 1
                return [*(RolledBackError() for _ in undo), error, *(RuntimeInconsistency() for _ in range(rest))]
            answers.append(answer)
            undo.append(back)
        return answers

    def node(self, path: str) -> Node:
        """Return a node. Raises NoNodeError."""
        found = self.nodes.get(path)
        if found is None:
            raise NoNodeError
        return found

    def read(self, paths: Iterable[str]) -> list[tuple[bytes, ZnodeStat] | None]:
        """Return data and stat of nodes, None for a missing one."""
        found = map(self.nodes.get, paths)
        return [None if node is None else (node.data, node.stat()) for node in found]

    # --- changes: each returns its answer, and how to undo it

    def _create(self, create: Any, session: int) -> tuple[str, Undo]:
        above, _, _ = create.path.rpartition("/")
        parent = self.node(above or "/")
        path = f"{create.path}{parent.made:010d}" if create.flags & 2 else create.path
        if path in self.nodes:
            raise NodeExistsError
        owner = session if create.flags & 1 else 0
        moment = int(time.time() * 1000)
        self.add(path, Node(create.data, owner, self.zxid, self.zxid, moment))
        parent.made += 1

        def undo() -> None:
            self._remove(path)
            parent.made -= 1

        return path, undo

    def _delete(self, delete: Any, session: int) -> tuple[bool, Undo]:
        node = self.node(delete.path)
        if delete.version not in (-1, node.version):
            raise BadVersionError
        if node.children:
            raise NotEmptyError
        self._changed += [node.watches, node.child_watches]
        self._remove(delete.path)
        return True, lambda: self.add(delete.path, node)

    def _write(self, write: Any, session: int) -> tuple[ZnodeStat, Undo]:
        node = self.node(write.path)
        if write.version not in (-1, node.version):
            raise BadVersionError
        before = node.data, node.version, node.mzxid
        node.data, node.version, node.mzxid = write.data or b"", node.version + 1, self.zxid
        self._changed.append(node.watches)

        def undo() -> None:
            node.data, node.version, node.mzxid = before

        return node.stat(), undo

    def _check(self, check: Any, session: int) -> tuple[bool, Undo]:
        if check.version not in (-1, self.node(check.path).version):
            raise BadVersionError
        return True, lambda: None

    def add(self, path: str, node: Node) -> None:
        above, _, name = path.rpartition("/")
        self.nodes[path] = node
        self._touched(self.nodes[above or "/"]).children[name] = None
        if node.owner:
            self._owned.setdefault(node.owner, set()).add(path)

    def _remove(self, path: str) -> None:
        above, _, name = path.rpartition("/")
        node = self.nodes.pop(path)
        del self._touched(self.nodes[above or "/"]).children[name]
        if node.owner:
            self._owned[node.owner].discard(path)

    def _touched(self, parent: Node) -> Node:
        parent.names = None
        self._changed.append(parent.child_watches)
        return parent


_CHANGES: dict[str, Callable[[Tree, Any, int], tuple[Any, Undo]]] = {
    "Create": Tree._create,
    "Delete": Tree._delete,
    "SetData": Tree._write,
    "CheckVersion": Tree._check,
}
