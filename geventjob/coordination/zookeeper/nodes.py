"""The nodes of geventjob in ZooKeeper (docs/reference/queue.md), and the requests about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from secrets import token_hex
from typing import Any

from kazoo.protocol.serialization import (
    CheckVersion,
    Create,
    Delete,
    Exists,
    GetACL,
    GetChildren,
    GetChildren2,
    SetData,
    Sync,
    Transaction,
)
from kazoo.security import OPEN_ACL_UNSAFE, make_acl

from geventjob.coordination.base import ENTRIES
from geventjob.coordination.zookeeper.requests import EntryNames, GetEphemerals, MultiRead

TAKEN = "/job/taken"
TAKERS = "/takers"
ELECTIONS = "/election"
NOTES = "/distribution"
INBOXES = "/inbox"
FOLDERS = ("/job", ENTRIES, TAKEN, TAKERS, ELECTIONS, NOTES, INBOXES, "/executors", "/distributors", "/servers")

_EPHEMERAL = 1
_SEQUENTIAL = 2

Watch = Callable[[Any], None]


class ZooKeeperNodes:
    """Makes requests. All paths are given and returned without the `--zk-root` under which they lie."""

    def __init__(self, root: str, own: bool) -> None:
        """Keep the root. `own`: only a process with the same log-in may use the nodes that are created."""
        self.root = root
        self.own = own
        self.acl = OPEN_ACL_UNSAFE
        """The permissions of created nodes. The keeper sets those of a log-in, whose form the server chooses."""

    def plain(self, path: str) -> str:
        """Return a path of ZooKeeper without the root."""
        return path[len(self.root) :]

    def folders(self) -> list[str]:
        """Return the full paths of the needed folders, parents first: the root, step by step, and FOLDERS."""
        steps = self.root.split("/")[1:]
        return ["/" + "/".join(steps[: n + 1]) for n in range(len(steps))] + [self.root + path for path in FOLDERS]

    def folder(self, full: str, acl: Sequence[Any] | None = None) -> Create:
        """Make the request that creates a folder; `full`: path with the root."""
        return Create(full, b"", self.acl if acl is None else acl, 0)

    def trial(self, parent: str) -> tuple[Create, GetACL, Delete]:
        """Make requests that show to whom the server gives a node of scheme `auth` below `parent` (a full path)."""
        full = f"{parent.rstrip('/')}/geventjob-{token_hex(8)}"
        return Create(full, b"", [make_acl("auth", "", all=True)], _EPHEMERAL), GetACL(full), Delete(full, -1)

    def create(self, path: str, data: bytes = b"", *, ephemeral: bool = False, sequential: bool = False) -> Create:
        flags = _EPHEMERAL * ephemeral + _SEQUENTIAL * sequential
        return Create(self.root + path, data, self.acl, flags)

    def check(self, path: str) -> CheckVersion:
        """Make the operation of a transaction that fails without this node."""
        return CheckVersion(self.root + path, -1)

    def delete(self, path: str) -> Delete:
        return Delete(self.root + path, -1)

    def write(self, path: str, data: bytes | None, version: int = -1) -> SetData:
        """Make the request that writes data. `version`: the version that the node must have; -1 for any."""
        return SetData(self.root + path, data, version)

    def permissions(self, path: str) -> GetACL:
        return GetACL(self.root + path)

    def exists(self, path: str, watch: Watch | None = None) -> Exists:
        return Exists(self.root + path, watch)

    def children(self, path: str, watch: Watch | None = None) -> GetChildren:
        return GetChildren(self.root + path, watch)

    def children_and_stat(self, path: str) -> GetChildren2:
        return GetChildren2(self.root + path, None)

    def entries(self, watch: Watch | None = None) -> EntryNames:
        return EntryNames(self.root + ENTRIES, watch)

    def read(self, paths: Iterable[str]) -> MultiRead:
        return MultiRead([self.root + path for path in paths])

    def sync(self) -> Sync:
        """Make a request after which reads are no older than the request: a server may lag behind the others."""
        return Sync(f"{self.root}/job")

    def ephemerals(self) -> GetEphemerals:
        """Make the request for all ephemeral nodes of this session under the root."""
        return GetEphemerals(self.root + "/")

    def quorum(self) -> Transaction:
        """Make a transaction that changes nothing. Only a leader with a majority can answer it."""
        return Transaction([CheckVersion(self.root + TAKEN, -1)])

    @staticmethod
    def transaction(operations: Sequence[Any]) -> Transaction:
        return Transaction(operations)


def entry_path(name: str) -> str:
    return f"{ENTRIES}/{name}"


def taken_path(name: str) -> str:
    """Return the path of the node whose owner holds the entry."""
    return f"{TAKEN}/{name}"


def name_of(path: str) -> str:
    """Return the last part of a path."""
    return path.rpartition("/")[2]
