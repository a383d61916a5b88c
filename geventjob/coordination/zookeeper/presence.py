"""Presence: the live processes of each role, and the info that they announce."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from typing import Any

import gevent
from kazoo.exceptions import KazooException, NodeExistsError, NoNodeError

from geventjob.clock import boottime
from geventjob.coordination.base import CoordinationAway, NameInUse
from geventjob.coordination.zookeeper.ensemble import PROBES, Ensemble
from geventjob.coordination.zookeeper.membership import Membership
from geventjob.coordination.zookeeper.part import Part

log = logging.getLogger(__name__)

GRACE = 1.25
"""Session timeouts for which a name in use is waited for. A server ends a session up to a tick after its timeout."""


class Presence(Part):
    """Announces this process in its roles, in one session after another."""

    def __init__(self, ensemble: Ensemble, name: str) -> None:
        self._ensemble = ensemble
        self._name = name
        self._roles: dict[str, bytes] = {}
        self._there: set[str] = set()
        self._earlier: set[int] = set()
        """Ids of the sessions of this process that have ended.

        Their nodes may outlast GRACE: a server that was away counts the timeout of every session from its return.
        """

    def announce(self, role: str, info: Mapping[str, Any], wait: bool = True) -> None:
        """See `Coordination.announce`."""
        data = json.dumps(info).encode()
        membership = self._ensemble.now()
        until = boottime() + (GRACE * membership.session.timeout if wait else 0)
        while (holder := self._announce(membership, role, data, until)) is not None:
            if holder in self._earlier:
                until = boottime() + GRACE * membership.session.timeout
            elif boottime() >= until:
                raise NameInUse(f"{self._name}: another live process among the {role} has this name")
            membership = self._ensemble.now()
        self._roles[role] = data

    def members(self, role: str) -> dict[str, dict[str, Any]]:
        """See `Coordination.members`."""
        membership = self._ensemble.now()
        _, names = membership.ask_each([membership.nodes.sync(), membership.nodes.children(f"/{role}")])
        nodes = zip(names, membership.read(f"/{role}/{name}" for name in names), strict=True)
        return {name: _info(node[0]) for name, node in nodes if isinstance(node, tuple)}

    def _announce(self, membership: Membership, role: str, data: bytes, until: float) -> int | None:
        """Try once. Return None when the node exists, else the id of the session that owns the node in the way.

        Waits for that node to go, until `until` (boottime) at most. Returns 0 for a node that was gone at the second
        request.
        """
        nodes, path = membership.nodes, f"/{role}/{self._name}"
        try:
            membership.ask(nodes.create(path, data, ephemeral=True))
        except NodeExistsError:
            gone = membership.event()
            other = membership.ask(nodes.exists(path, lambda _: gone.set()))
            if other is None:
                return 0
            if other.ephemeralOwner != membership.identity:
                gone.wait(max(0.0, until - boottime()))
                return int(other.ephemeralOwner)
            with contextlib.suppress(NoNodeError):
                membership.ask(nodes.write(path, data))
        self._there.add(path)
        return None

    # --- as a part

    def owned(self) -> set[str]:
        return set(self._there)

    def began(self, membership: Membership) -> None:
        self._there.clear()
        for role in self._roles:
            gevent.spawn(self._restore, membership, role)

    def gone(self, membership: Membership, paths: set[str]) -> None:
        for role in self._roles:
            if f"/{role}/{self._name}" in paths:
                self._there.discard(f"/{role}/{self._name}")
                gevent.spawn(self._restore, membership, role)

    def ended(self, membership: Membership) -> None:
        self._there.clear()
        self._earlier.add(membership.identity)

    def _restore(self, membership: Membership, role: str) -> None:
        """Announce again, once the node of an earlier session is gone."""
        told = False
        while not membership.session.over:
            until = boottime() + GRACE * membership.session.timeout
            holder: int | None = 0
            with contextlib.suppress(CoordinationAway, KazooException):
                holder = self._announce(membership, role, self._roles[role], until)
                if holder is None:
                    return
            if not told and holder and holder not in self._earlier and boottime() >= until:
                told = True
                log.error("%s cannot be announced among the %s: another process has the name", self._name, role)
            gevent.sleep(membership.session.timeout / PROBES)


def _info(data: bytes | None) -> dict[str, Any]:
    try:
        info = json.loads(data or b"")
    except ValueError:
        return {}
    return info if isinstance(info, dict) else {}
