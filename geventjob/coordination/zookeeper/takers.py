"""Who takes at the same time: the nodes of the takers, and whether they race for the same entries."""

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
"""Seconds between two times that a process tells the others of lost races."""


class Takers(Part):
    """This process among the takers. Who loses a race writes to their folder, for all to see at their next list."""

    def __init__(self, name: str) -> None:
        self._node = f"{TAKERS}/{name}"
        self._joined: Membership | None = None
        self._races: int | None = None
        self._raced = -math.inf
        self.names: Sequence[str] = ()
        """All takers at the last list; this process may be missing."""
        self.seen = -math.inf
        """When (boottime) that was; before all times once a race was lost since, for there is somebody not seen."""

    @property
    def raced(self) -> bool:
        """Whether there was a race lately."""
        return boottime() < self._raced + RACE

    def join(self, membership: Membership) -> None:
        """Be seen as a taker."""
        if self._joined is not membership:
            self._joined = membership
            membership.post(membership.nodes.create(self._node, ephemeral=True))

    def leave(self) -> None:
        """Be one no longer."""
        if self._joined is not None:
            self._joined.post(self._joined.nodes.delete(self._node))
            self._joined = None

    def listed(self, names: Sequence[str], stat: ZnodeStat) -> None:
        """What a list of the folder said."""
        self.seen = boottime()
        if self._races not in (None, stat.version):
            self._raced = self.seen
        self.names, self._races = names, stat.version

    def lost_race(self, membership: Membership) -> None:
        now = boottime()
        if now >= self._raced + TELL:
            membership.post(membership.nodes.write(TAKERS, b""))
        self._raced = now
        self.seen = -math.inf

    # --- as a part

    def owned(self) -> set[str]:
        return {self._node} if self._joined is not None else set()

    def gone(self, membership: Membership, paths: set[str]) -> None:
        if self._node in paths:  # removed by hand, or never made beside that of an old session; made with the next take
            self._joined = None

    def found(self, membership: Membership, paths: set[str]) -> None:
        if self._node in paths:  # its deletion was lost
            membership.post(membership.nodes.delete(self._node))

    def began(self, membership: Membership) -> None:
        self._races = None

    def ended(self, membership: Membership) -> None:
        self._joined = None
