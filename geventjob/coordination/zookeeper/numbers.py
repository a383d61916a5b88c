"""Sequence numbers of entries: ZooKeeper gives 2,147,483,648 numbers in a folder, and none after the last.

Every create in a folder uses a number, also a create without a sequence. The count belongs to the folder: a folder that
is made anew begins at 0. Measured with 3.8.0 (`DataTree.createNode`): after the last number every sequential create
fails for ever, and plain creates succeed. So once a quarter of the numbers is used, the folder is made anew as soon as
the queue is empty for a moment. Near the end, entries get numbers of our own, 2147483648 to 9999999999, by plain
creates: these sort behind all earlier ones, also for an old engine, which compares names as strings. The page for
operators is docs/operations.md.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

from kazoo.exceptions import BadVersionError, KazooException, NoNodeError, RolledBackError, RuntimeInconsistency
from kazoo.protocol.states import ZnodeStat

from geventjob.clock import boottime
from geventjob.coordination.base import ENTRIES, CoordinationError
from geventjob.coordination.names import distance, entry_prefix, sequence_of
from geventjob.coordination.zookeeper.election import ZooKeeperLeadership
from geventjob.coordination.zookeeper.membership import Membership
from geventjob.coordination.zookeeper.nodes import TAKEN
from geventjob.coordination.zookeeper.transactions import COUNT, Group, standing, without

log = logging.getLogger(__name__)

NUMBERS = 2**31
"""The numbers that ZooKeeper gives in a folder. Also the first number of our own."""
RENEW = NUMBERS // 4
"""The used numbers from which an empty folder is made anew."""
WARN = NUMBERS // 2
OWN = NUMBERS - 2**27
"""The used numbers from which entries get numbers of our own.

The rest is for servers that know ZooKeeper's numbers only, such as SlipStream's.
"""
END = 10**10
AGAIN = 86400.0
"""Seconds between two warnings."""


def used(stat: ZnodeStat) -> int:
    """Return how many numbers of a folder are used.

    ZooKeeper reports a version of twice that number minus the children (`DataNode.copyStat`), in 32 bits.
    """
    return int((stat.cversion + stat.numChildren) % 2**32 // 2)


class Numbers:
    """The position of this process in the numbers."""

    def __init__(self) -> None:
        self._highest: float = math.inf  # the highest number of an entry; unknown before the first put
        self._warned = -math.inf

    def seen(self, paths: Sequence[str]) -> None:
        """Note the paths of entries that were put."""
        self._highest = max(map(sequence_of, paths), default=self._highest)
        if self._highest >= WARN and boottime() >= self._warned + AGAIN:
            self._warned = boottime()
            log.warning(
                "%.0f %% of the sequence numbers of %s are used: they restart when the queue is empty for a moment, "
                "and geventjob's own begin at %.0f %%", 100 * self._highest / NUMBERS, ENTRIES,
                100 * OWN / NUMBERS,
            )  # fmt: skip

    def own(self, membership: Membership) -> bool:
        """Return whether entries get numbers of our own now."""
        if self._highest < OWN:
            return False
        data, stat = self._folder(membership)
        return bool(data) or used(stat) >= OWN

    def given_out(self, membership: Membership) -> Callable[[int], bool]:
        """Return a function that tells whether this folder has given out a sequence, as the name shows it."""
        data, stat = self._folder(membership)
        following = int(data) if data.isdigit() else used(stat)
        return lambda sequence: sequence < following if data else distance(sequence, following) < 0

    def put(
        self,
        membership: Membership,
        items: Sequence[tuple[str, int]],
        leadership: ZooKeeperLeadership | None = None,
    ) -> list[str]:
        """Put (job id, priority) under numbers of our own. Return the paths of the entries.

        Raises as `Membership.ask`; LeadershipOver, see `commit`.
        """
        condition = standing(membership, leadership)
        return [
            path
            for first in range(0, len(items), COUNT)
            for path in self._put(membership, items[first : first + COUNT], condition)
        ]

    def _put(self, membership: Membership, items: Sequence[tuple[str, int]], condition: Group) -> list[str]:
        """Put up to COUNT entries.

        The data of the folder is the next number; changing it in the transaction reserves numbers.
        """
        nodes = membership.nodes
        while True:
            data, stat = self._folder(membership)
            first = int(data) if data.isdigit() else NUMBERS
            if first + len(items) > END:
                raise CoordinationError(
                    f"no sequence numbers are left in {ENTRIES}: they restart when the queue is empty for a moment"
                )
            paths = [f"{entry_prefix(items[n][1])}{first + n:010d}" for n in range(len(items))]
            creates = [nodes.create(path, job.encode()) for path, (job, _) in zip(paths, items, strict=True)]
            following = nodes.write(ENTRIES, b"%d" % (first + len(items)), stat.version)
            answers = without(condition, membership.ask(nodes.transaction([*condition, following, *creates])))
            error = _first_error(answers)
            if error is None:
                return paths
            if not isinstance(error, BadVersionError):  # a BadVersionError: another server took these numbers
                raise error

    def _folder(self, membership: Membership) -> tuple[bytes, ZnodeStat]:
        _, (folder,) = membership.ask_each([membership.nodes.sync(), membership.nodes.read([ENTRIES])])
        if not isinstance(folder, tuple):
            raise folder or NoNodeError()
        return folder[0] or b"", folder[1]


def renew(membership: Membership, folder: str = ENTRIES) -> None:
    """Make a folder anew, with its permissions, if it is empty and many of its numbers are used.

    One transaction does all, and fails if there is an entry: every put finds a folder. A node in the folder of taken
    nodes wakes old engines, whose watch ended with the deleted folder: kazoo's `LockingQueue` heeds events of children
    only.
    """
    nodes = membership.nodes
    stat = membership.ask(nodes.exists(folder))
    if stat is None or stat.numChildren or used(stat) < RENEW:
        return
    with contextlib.suppress(KazooException):  # a new entry, a quicker executor, or no permission
        acl, _ = membership.ask(nodes.permissions(folder))
        wake = f"{TAKEN}/renewed"
        anew = [nodes.delete(folder), nodes.folder(nodes.root + folder, acl)]
        answers = membership.ask(nodes.transaction([*anew, nodes.create(wake), nodes.delete(wake)]))
        if _first_error(answers) is None:
            log.warning("%s was made anew after %d sequence numbers: they restart at 0", folder, used(stat))


def _first_error(answers: Sequence[Any]) -> Exception | None:
    """Return the error that made a transaction fail, or None."""
    errors = [answer for answer in answers if isinstance(answer, Exception)]
    own = [error for error in errors if not isinstance(error, (RolledBackError, RuntimeInconsistency))]
    return next(iter(own or errors), None)
