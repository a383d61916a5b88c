"""Elections, with the nodes of kazoo's `Election`: the candidate that came first leads.

A candidate is an ephemeral node `<32 hex digits>__lock__<sequence>` whose data is a name. The digits are random: by
them a candidate finds its node again after a lost answer.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
from collections.abc import Iterable, Sequence
from functools import partial
from secrets import token_hex
from typing import Any

import gevent
from gevent.event import Event
from kazoo.exceptions import KazooException, NodeExistsError, NoNodeError

from geventjob.backoff import Trouble
from geventjob.clock import boottime
from geventjob.coordination.base import CoordinationAway, Leadership, LeadershipOver
from geventjob.coordination.zookeeper.ensemble import Ensemble
from geventjob.coordination.zookeeper.membership import Membership
from geventjob.coordination.zookeeper.nodes import ELECTIONS, name_of
from geventjob.coordination.zookeeper.order import by_sequence
from geventjob.coordination.zookeeper.part import Part
from geventjob.coordination.zookeeper.refusal import LASTING

log = logging.getLogger(__name__)

_CANDIDATE = re.compile(r"__lock__(-?[0-9]{9,10})$")
PAUSE = 0.2
"""Seconds before a new candidacy after a failure."""


class ZooKeeperLeadership(Leadership):
    """The leadership of one candidate."""

    def __init__(self, membership: Membership, election: str, path: str) -> None:
        self.name = election
        self.path = self.token = path
        self._membership = membership
        self._given_up = False

    def confirm(self) -> None:
        """See `Leadership.confirm`. A transaction is answered by a leader of ZooKeeper with a majority."""
        nodes = self._membership.nodes
        (answer,) = self._membership.ask(nodes.transaction([nodes.check(self.path)]))
        if isinstance(answer, NoNodeError):
            raise LeadershipOver(f"the leadership of {self.name} is over: its candidate is gone")
        if isinstance(answer, Exception):
            raise answer

    @property
    def held(self) -> bool:
        return not self._given_up and not self._membership.session.over

    def resign(self) -> None:
        """See `Leadership.resign`."""
        if self.held:
            self._given_up = True
            with contextlib.suppress(NoNodeError):
                self._membership.ask(self._membership.nodes.delete(self.path))

    def lose(self) -> None:
        """Note that the node of the candidate is gone."""
        self._given_up = True


class ZooKeeperElections(Part):
    """Candidacies of this process, in one session after another."""

    def __init__(self, ensemble: Ensemble, name: str) -> None:
        """Keep the parts. `name` is the name of a leader as other processes read it."""
        self._ensemble = ensemble
        self._name = name.encode()
        self._standing: set[str] = set()  # prefixes of paths
        self._leaderships: dict[str, ZooKeeperLeadership] = {}

    def lead(self, election: str, timeout: float | None) -> Leadership | None:
        """See `Coordination.lead`."""
        until = math.inf if timeout is None else boottime() + timeout
        trouble = Trouble(log, f"cannot stand for {election}")
        while True:
            membership = self._ensemble.wait(_left(until))
            if membership is None:
                return None
            try:
                leadership = self._stand(membership, election, until)
                trouble.end()
                return leadership
            except CoordinationAway:
                pause = PAUSE
            except NoNodeError:  # our node or the folder of elections was removed
                self._ensemble.mend(membership)
                pause = PAUSE
            except KazooException as error:
                if isinstance(error, LASTING):
                    raise
                pause = trouble.pause(repr(error))
            if boottime() >= until:
                return None
            gevent.sleep(min(pause, until - boottime()))

    def _stand(self, membership: Membership, election: str, until: float) -> Leadership | None:
        """Return the leadership in this session, or None when time is up.

        Raises an error if this candidacy has failed.
        """
        prefix = f"{ELECTIONS}/{election}/{token_hex(16)}__lock__"
        self._standing.add(prefix)
        leadership = None
        try:
            path = self._nominate(membership, election, prefix)
            if not self._wait_for_turn(membership, election, path, until):
                return None
            if membership.session.over:
                raise CoordinationAway("the session with ZooKeeper is over")
            leadership = self._leaderships[path] = ZooKeeperLeadership(membership, election, path)
            return leadership
        finally:
            self._standing.discard(prefix)
            if leadership is None:  # or the caller was killed
                gevent.spawn(self._withdraw, membership, election, prefix)

    def _nominate(self, membership: Membership, election: str, prefix: str) -> str:
        nodes = membership.nodes
        candidate = nodes.create(prefix, self._name, ephemeral=True, sequential=True)
        folder, path = membership.ask_all([nodes.create(f"{ELECTIONS}/{election}"), candidate])
        if isinstance(folder, Exception) and not isinstance(folder, NodeExistsError):
            raise folder
        if isinstance(path, Exception):
            raise path
        return nodes.plain(path)

    def _wait_for_turn(self, membership: Membership, election: str, path: str, until: float) -> bool:
        """Return whether the turn came in time. Raises CoordinationAway or NoNodeError if this candidate is gone."""
        nodes = membership.nodes
        while True:
            changed = membership.event()
            candidates = _in_order(membership.ask(nodes.children(f"{ELECTIONS}/{election}")))
            if name_of(path) not in candidates:
                raise NoNodeError
            place = candidates.index(name_of(path))
            if place == 0:
                return True
            before = f"{ELECTIONS}/{election}/{candidates[place - 1]}"
            stands = membership.ask(nodes.exists(before, partial(_set, changed)))
            if stands is not None and not changed.wait(_left(until)):
                return False

    def _withdraw(self, membership: Membership, election: str, prefix: str) -> None:
        """Delete the node of this candidate.

        A node that remains after a failure is deleted after the next reconnection.
        """
        with contextlib.suppress(CoordinationAway, KazooException):
            names = membership.ask(membership.nodes.children(f"{ELECTIONS}/{election}"))
            paths = [f"{ELECTIONS}/{election}/{name}" for name in names]
            membership.ask_all(membership.nodes.delete(path) for path in paths if path.startswith(prefix))

    def leaders(self, elections: Sequence[str]) -> dict[str, str]:
        """See `Coordination.leaders`."""
        membership = self._ensemble.now()
        children = [membership.nodes.children(f"{ELECTIONS}/{election}") for election in elections]
        answers = membership.ask_all([membership.nodes.sync(), *children])[1:]
        first: dict[str, str] = {}
        for election, names in zip(elections, answers, strict=True):
            if isinstance(names, Exception) and not isinstance(names, NoNodeError):
                raise names
            if not isinstance(names, Exception) and (candidates := _in_order(names)):
                first[election] = f"{ELECTIONS}/{election}/{candidates[0]}"
        found = zip(first, membership.read(first.values()), strict=True)
        return {
            election: (node[0] or b"").decode(errors="replace") for election, node in found if isinstance(node, tuple)
        }

    # --- as a part

    def owned(self) -> set[str]:
        self._leaderships = {path: leadership for path, leadership in self._leaderships.items() if leadership.held}
        return set(self._leaderships)

    def gone(self, membership: Membership, paths: set[str]) -> None:
        for path in paths & self._leaderships.keys():
            self._leaderships[path].lose()

    def found(self, membership: Membership, paths: set[str]) -> None:
        """Delete the nodes of candidates that withdrew or resigned while the deletion failed or was not answered."""
        ours = [path for path in paths if path.startswith(f"{ELECTIONS}/")]
        for path in ours:
            if not path.startswith(tuple(self._standing)):
                membership.post(membership.nodes.delete(path))

    def ended(self, membership: Membership) -> None:
        self._leaderships.clear()


def _in_order(names: Iterable[str]) -> list[str]:
    sequences = {name: int(match[1]) for name in names if (match := _CANDIDATE.search(name))}
    return by_sequence(sequences, sequences.__getitem__)


def _set(event: Event, _: Any) -> None:
    event.set()


def _left(until: float) -> float | None:
    return None if until == math.inf else max(0.0, until - boottime())
