"""Presence: who lives, in which role, and what it says of itself."""

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
from geventjob.coordination.zookeeper.ensemble import PROBES, Ensemble, Part
from geventjob.coordination.zookeeper.membership import Membership

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

    def announce(self, role: str, info: Mapping[str, Any]) -> None:
        """See `Coordination.announce`."""
        data = json.dumps(info).encode()
        membership = self._ensemble.now()
        until = boottime() + GRACE * membership.session.timeout
        while not self._announce(membership, role, data, until):
            if boottime() >= until:
                raise NameInUse(f"{self._name}: another of the {role} that live has this name")
            membership = self._ensemble.now()
        self._roles[role] = data

    def members(self, role: str) -> dict[str, dict[str, Any]]:
        """See `Coordination.members`."""
        membership = self._ensemble.now()
        _, names = membership.ask_each([membership.nodes.sync(), membership.nodes.children(f"/{role}")])
        nodes = zip(names, membership.read(f"/{role}/{name}" for name in names), strict=True)
        return {name: _info(node[0]) for name, node in nodes if isinstance(node, tuple)}

    def _announce(self, membership: Membership, role: str, data: bytes, until: float) -> bool:
        """Once: whether it is there now. Waits, until then at most, for one of another session to go."""
        nodes, path = membership.nodes, f"/{role}/{self._name}"
        try:
            membership.ask(nodes.create(path, data, ephemeral=True))
        except NodeExistsError:
            gone = membership.event()
            other = membership.ask(nodes.exists(path, lambda _: gone.set()))
            if other is None:
                return False
            if other.ephemeralOwner != membership.identity:
                gone.wait(max(0.0, until - boottime()))
                return False
            with contextlib.suppress(NoNodeError):
                membership.ask(nodes.write(path, data))
        self._there.add(path)
        return True

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

    def _restore(self, membership: Membership, role: str) -> None:
        """Announce again, when the node of an earlier session has gone."""
        told = False
        while not membership.session.over:
            until = boottime() + GRACE * membership.session.timeout
            with contextlib.suppress(CoordinationAway, KazooException):
                if self._announce(membership, role, self._roles[role], until):
                    return
            if not told and boottime() >= until:
                told = True
                log.error("%s cannot be announced among the %s: another process has the name", self._name, role)
            gevent.sleep(membership.session.timeout / PROBES)


def _info(data: bytes | None) -> dict[str, Any]:
    try:
        info = json.loads(data or b"")
    except ValueError:
        return {}
    return info if isinstance(info, dict) else {}
