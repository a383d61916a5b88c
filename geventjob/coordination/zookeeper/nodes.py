"""Where everything lies in ZooKeeper (DESIGN §4), and the requests about it."""

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
    """Makes requests; all paths are given and answered without the `--zk-root` under which they lie."""

    def __init__(self, root: str, own: bool) -> None:
        """`own`: only who logs in as this process does may do anything with the nodes that are created."""
        self.root = root
        self.own = own
        self.acl = OPEN_ACL_UNSAFE
        """Of the nodes that are created. The ensemble sets that of a log-in: its form is the server's choice."""

    def plain(self, path: str) -> str:
        """A path of ZooKeeper without the root."""
        return path[len(self.root) :]

    def folders(self) -> list[str]:
        """Full paths of what must be there, parents first: the root, step by step, and FOLDERS."""
        steps = self.root.split("/")[1:]
        return ["/" + "/".join(steps[: n + 1]) for n in range(len(steps))] + [self.root + path for path in FOLDERS]

    def folder(self, full: str, acl: Sequence[Any] | None = None) -> Create:
        return Create(full, b"", self.acl if acl is None else acl, 0)

    def trial(self, parent: str) -> tuple[Create, GetACL, Delete]:
        """Requests that show to whom the server gives a node of scheme `auth` below `parent` (a full path)."""
        full = f"{parent.rstrip('/')}/geventjob-{token_hex(8)}"
        return Create(full, b"", [make_acl("auth", "", all=True)], _EPHEMERAL), GetACL(full), Delete(full, -1)

    def create(self, path: str, data: bytes = b"", *, ephemeral: bool = False, sequential: bool = False) -> Create:
        flags = _EPHEMERAL * ephemeral + _SEQUENTIAL * sequential
        return Create(self.root + path, data, self.acl, flags)

    def delete(self, path: str) -> Delete:
        return Delete(self.root + path, -1)

    def write(self, path: str, data: bytes | None, version: int = -1) -> SetData:
        """`version` that the node must have; -1 for any."""
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
        """What is read after it is no older than this request: a server may lag behind the others."""
        return Sync(f"{self.root}/job")

    def ephemerals(self) -> GetEphemerals:
        """Of this session, all under the root."""
        return GetEphemerals(self.root + "/")

    def quorum(self) -> Transaction:
        """A transaction that changes nothing. Only a leader that the majority follows can answer it."""
        return Transaction([CheckVersion(self.root + TAKEN, -1)])

    @staticmethod
    def transaction(operations: Sequence[Any]) -> Transaction:
        return Transaction(operations)


def entry_path(name: str) -> str:
    return f"{ENTRIES}/{name}"


def entry_name(priority: int, sequence: int) -> str:
    return f"entry-{priority:03d}-{sequence:010d}"


def taken_path(name: str) -> str:
    """Of the node whose owner holds the entry of that name."""
    return f"{TAKEN}/{name}"


def name_of(path: str) -> str:
    """The last part of a path."""
    return path.rpartition("/")[2]
