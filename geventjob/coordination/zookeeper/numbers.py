"""Sequence numbers of entries: ZooKeeper gives 2,147,483,648 of them in a folder, and none after that.

Every create in the folder counts, also one without a sequence, and the count is the folder's own: a folder made anew
begins at 0 (measured with 3.8.0: `DataTree.createNode` keeps the greatest number, so after the last one a sequential
create fails for ever, and plain creates go on). So from a quarter on the folder is made anew as soon as the queue is
empty for a moment. Near the end entries get numbers of our own, 2147483648 to 9999999999, by plain creates: they
stand behind all earlier ones, for an old engine too, which compares names as strings. `docs/operations.md` tells
operators.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Sequence
from typing import Any

from kazoo.exceptions import BadVersionError, KazooException, NoNodeError, RolledBackError, RuntimeInconsistency
from kazoo.protocol.states import ZnodeStat

from geventjob.clock import boottime
from geventjob.coordination.base import ENTRIES, CoordinationError
from geventjob.coordination.names import sequence_of
from geventjob.coordination.zookeeper.membership import Membership
from geventjob.coordination.zookeeper.nodes import TAKEN, entry_name
from geventjob.coordination.zookeeper.transactions import COUNT

log = logging.getLogger(__name__)

NUMBERS = 2**31
"""How many ZooKeeper gives in a folder; the first of ours."""
RENEW = NUMBERS // 4
"""How many must be used before an empty folder is made anew."""
WARN = NUMBERS // 2
OWN = NUMBERS - 2**27
"""How many are used when ours begin. The rest is for servers that go on with ZooKeeper's, such as SlipStream's."""
END = 10**10
AGAIN = 86400.0
"""Seconds between two warnings."""


def used(stat: ZnodeStat) -> int:
    """Return how many numbers of a folder are used. The version that ZooKeeper tells is twice that minus the children
    (`DataNode.copyStat`), in 32 bits."""
    return int((stat.cversion + stat.numChildren) % 2**32 // 2)


class Numbers:
    """Where this process stands in the numbers."""

    def __init__(self) -> None:
        self._highest: float = math.inf  # that an entry got; unknown before the first put
        self._warned = -math.inf

    def seen(self, paths: Sequence[str]) -> None:
        """Note the paths of entries that were put."""
        self._highest = max(map(sequence_of, paths), default=self._highest)
        if self._highest >= WARN and boottime() >= self._warned + AGAIN:
            self._warned = boottime()
            log.warning(
                "%.0f %% of the sequence numbers of %s are used; they begin anew when the queue is empty for a moment, "
                "or else are geventjob's own from %.0f %% on", 100 * self._highest / NUMBERS, ENTRIES,
                100 * OWN / NUMBERS,
            )  # fmt: skip

    def own(self, membership: Membership) -> bool:
        """Return whether entries get numbers of our own now."""
        if self._highest < OWN:
            return False
        data, stat = self._folder(membership)
        return bool(data) or used(stat) >= OWN

    def put(self, membership: Membership, items: Sequence[tuple[str, int]]) -> list[str]:
        """Put (job id, priority) under numbers of our own; the paths of the entries. Raises as `Membership.ask`."""
        return [
            path
            for first in range(0, len(items), COUNT)
            for path in self._put(membership, items[first : first + COUNT])
        ]

    def _put(self, membership: Membership, items: Sequence[tuple[str, int]]) -> list[str]:
        """The next number stands in the folder's data: who changes it in the same transaction has the numbers."""
        nodes = membership.nodes
        while True:
            data, stat = self._folder(membership)
            first = int(data) if data.isdigit() else NUMBERS
            if first + len(items) > END:
                raise CoordinationError(
                    f"no sequence numbers are left in {ENTRIES}: let the queue be empty for a moment"
                )
            paths = [f"{ENTRIES}/{entry_name(items[n][1], first + n)}" for n in range(len(items))]
            creates = [nodes.create(path, job.encode()) for path, (job, _) in zip(paths, items, strict=True)]
            following = nodes.write(ENTRIES, b"%d" % (first + len(items)), stat.version)
            answers = membership.ask(nodes.transaction([following, *creates]))
            error = _first_error(answers)
            if error is None:
                return paths
            if not isinstance(error, BadVersionError):  # else another server has these numbers
                raise error

    def _folder(self, membership: Membership) -> tuple[bytes, ZnodeStat]:
        _, (folder,) = membership.ask_each([membership.nodes.sync(), membership.nodes.read([ENTRIES])])
        if not isinstance(folder, tuple):
            raise folder or NoNodeError()
        return folder[0] or b"", folder[1]


def renew(membership: Membership, folder: str = ENTRIES) -> None:
    """Make a folder anew, with its permissions, if it is empty and many of its numbers are used.

    In one transaction, which fails if there is an entry: whoever puts one finds a folder. A node in the other folder
    wakes old engines, whose watch ends with the folder (kazoo's `LockingQueue` looks at no event but of children).
    """
    nodes = membership.nodes
    stat = membership.ask(nodes.exists(folder))
    if stat is None or stat.numChildren or used(stat) < RENEW:
        return
    with contextlib.suppress(KazooException):  # an entry came, or another executor was quicker, or we may not
        acl, _ = membership.ask(nodes.permissions(folder))
        wake = f"{TAKEN}/renewed"
        anew = [nodes.delete(folder), nodes.folder(nodes.root + folder, acl)]
        answers = membership.ask(nodes.transaction([*anew, nodes.create(wake), nodes.delete(wake)]))
        if _first_error(answers) is None:
            log.warning("%s was made anew, after %d sequence numbers: they begin at 0 again", folder, used(stat))


def _first_error(answers: Sequence[Any]) -> Exception | None:
    """Return what made a transaction fail."""
    errors = [answer for answer in answers if isinstance(answer, Exception)]
    own = [error for error in errors if not isinstance(error, (RolledBackError, RuntimeInconsistency))]
    return next(iter(own or errors), None)
