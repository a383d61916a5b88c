"""The processes that take at the same time: their nodes, and whether they race for the same entries."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kazoo.protocol.states import ZnodeStat

from geventjob.clock import boottime
from geventjob.coordination.zookeeper.membership import Membership
from geventjob.coordination.zookeeper.nodes import TAKERS
from geventjob.coordination.zookeeper.part import Part

RACE = 60.0
"""Seconds for which a lost race is remembered."""
TELL = 1.0
"""Shortest time between two notices of lost races by one process, seconds."""


class Takers(Part):
    """The node of this process among the takers.

    The loser of a race writes to their folder; the next list shows the write.
    """

    def __init__(self, name: str) -> None:
        self._node = f"{TAKERS}/{name}"
        self._joined: Membership | None = None
        self._races: int | None = None
        self._raced = -math.inf
        self.names: Sequence[str] = ()
        """The takers of the last list. This process may be missing."""
        self.seen = -math.inf
        """The time (boottime) of that list. Before all times after a lost race: an unknown taker exists."""

    @property
    def raced(self) -> bool:
        """Return whether there was a race within RACE seconds."""
        return boottime() < self._raced + RACE

    def join(self, membership: Membership) -> None:
        """Make the node of this process."""
        if self._joined is not membership:
            self._joined = membership
            membership.post(membership.nodes.create(self._node, ephemeral=True))

    def leave(self) -> None:
        """Delete the node of this process."""
        if self._joined is not None:
            self._joined.post(self._joined.nodes.delete(self._node))
            self._joined = None

    def listed(self, names: Sequence[str], stat: ZnodeStat) -> None:
        """Note the result of a list of the folder."""
        self.seen = boottime()
        if self._races not in (None, stat.version):
            self._raced = self.seen
        self.names, self._races = names, stat.version

    def lost_race(self, membership: Membership) -> None:
        """Note that this process lost a race, and notify the other takers."""
        now = boottime()
        if now >= self._raced + TELL:
            membership.post(membership.nodes.write(TAKERS, b""))
        self._raced = now
        self.seen = -math.inf

    # --- as a part

    def owned(self) -> set[str]:
        return {self._node} if self._joined is not None else set()

    def gone(self, membership: Membership, paths: set[str]) -> None:
        if self._node in paths:  # removed by hand, or never made beside an old session's node; the next take makes it
            self._joined = None

    def found(self, membership: Membership, paths: set[str]) -> None:
        if self._node in paths:  # the deletion was lost
            membership.post(membership.nodes.delete(self._node))

    def began(self, membership: Membership) -> None:
        self._races = None

    def ended(self, membership: Membership) -> None:
        self._joined = None
