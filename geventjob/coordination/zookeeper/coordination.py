"""The contract of `Coordination` over a ZooKeeper ensemble (docs/reference/queue.md)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from kazoo.exceptions import KazooException

from geventjob.coordination.base import Claim, Coordination, Leadership, QueueStats, Session
from geventjob.coordination.handlers import tell
from geventjob.coordination.zookeeper import notes
from geventjob.coordination.zookeeper.claims import ZooKeeperClaims
from geventjob.coordination.zookeeper.client import Access
from geventjob.coordination.zookeeper.credentials import read_login, tls_context
from geventjob.coordination.zookeeper.election import ZooKeeperElections, ZooKeeperLeadership
from geventjob.coordination.zookeeper.ensemble import Ensemble
from geventjob.coordination.zookeeper.inbox import ZooKeeperInbox
from geventjob.coordination.zookeeper.membership import Membership
from geventjob.coordination.zookeeper.nodes import ZooKeeperNodes
from geventjob.coordination.zookeeper.part import Part
from geventjob.coordination.zookeeper.presence import Presence
from geventjob.coordination.zookeeper.queue import ZooKeeperQueue
from geventjob.coordination.zookeeper.refusal import refused
from geventjob.coordination.zookeeper.rounds import Rounds
from geventjob.coordination.zookeeper.take import ZooKeeperTaker
from geventjob.coordination.zookeeper.takers import Takers

log = logging.getLogger(__name__)


@contextmanager
def _in_words() -> Iterator[None]:
    """Raise the errors of the contract for refusals of ZooKeeper: permissions, quotas, nodes removed by hand."""
    try:
        yield
    except KazooException as error:
        raise refused(error) from error


class ZooKeeperCoordination(Coordination):
    """The part of one process in a fleet on any number of machines."""

    def __init__(
        self,
        hosts: str | Sequence[str],
        name: str,
        session_timeout: float = 10.0,
        *,
        root: str = "",
        tls_ca: str | None = None,
        tls_cert: str | None = None,
        tls_key: str | None = None,
        auth_file: str | None = None,
        relist_interval: float = 0.005,
        age_share: int = 0,
    ) -> None:
        """Keep the settings. `hosts`: HOST:PORT, several as a list or comma-separated. `session_timeout` in seconds.

        `root`: path under which all nodes lie, created if missing. With any of the three `tls` files (PEM) the
        connection is TLS. `auth_file` holds `user:password`; only this user may use the nodes that are created.
        `relist_interval`: shortest time between two lists of the queue, seconds, times the number of takers.
        `age_share`: each how many entries that are taken the oldest one is, 0: never. Raises ValueError for a bad
        `hosts` or `name`.
        """
        self._hosts = hosts if isinstance(hosts, str) else ",".join(hosts)
        if "/" in self._hosts or "/" in name or not name:
            raise ValueError(f"HOST:PORT and a name without '/' expected, not {self._hosts!r} and {name!r}")
        self.name = name
        self._timeout = session_timeout
        self._root = root.rstrip("/")
        self.place = f"ZooKeeper {self._hosts}{self._root}"
        self._tls = (tls_ca, tls_cert, tls_key)
        self._auth_file = auth_file
        self._closing = False
        self._claims = ZooKeeperClaims(self._lost)
        self._ensemble = Ensemble()
        self._queue = ZooKeeperQueue(self._ensemble, self._claims, name)
        self._takers = Takers(name)
        self._rounds = Rounds(self._ensemble, self._claims, self._takers, name, relist_interval, age_share)
        self._taker = ZooKeeperTaker(self._ensemble, self._queue, self._claims, self._takers, self._rounds)
        self._elections = ZooKeeperElections(self._ensemble, name)
        self._presence = Presence(self._ensemble, name)
        self._inbox = ZooKeeperInbox(self._ensemble, name)
        own = (self._claims, self._takers, self._taker, self._elections, self._presence)
        self._ensemble.parts = (*own, _Caller(self))

    # --- life

    def start(self) -> None:
        """See `Coordination.start`. Raises CoordinationError for unusable files, and for a ZooKeeper older than 3.6."""
        login = read_login(self._auth_file) if self._auth_file else None
        self._closing = False
        access = Access(self._hosts, self._timeout, tls_context(*self._tls), login)
        self._ensemble.start(access, ZooKeeperNodes(self._root, login is not None))
        _open.add(self)

    def close(self) -> None:
        _open.discard(self)
        self._closing = True
        self._taker.close()
        self._inbox.close()
        self._ensemble.close()

    @property
    def session(self) -> Session | None:
        membership = self._ensemble.membership
        return membership.session if membership is not None else None

    def _lost(self, claims: Sequence[Claim]) -> None:
        if self.on_lost is not None and not self._closing:
            tell(self.on_lost, claims)

    def _forked(self) -> None:
        """Close everything in a forked child: the child is no member and must not act in the name of its parent."""
        self._closing = True
        self._ensemble.disown()
        self._inbox.disown()

    # --- the queue

    @_in_words()
    def put(
        self, items: Sequence[tuple[str, int]], places: Sequence[str | None] = (), leadership: Leadership | None = None
    ) -> list[str]:
        """See `Coordination.put`."""
        assert leadership is None or isinstance(leadership, ZooKeeperLeadership)
        return self._queue.put(items, places, leadership)

    @_in_words()
    def remove(self, entries: Sequence[str], leadership: Leadership | None = None) -> list[bool]:
        assert leadership is None or isinstance(leadership, ZooKeeperLeadership)
        return self._queue.remove(entries, leadership)

    @_in_words()
    def discard(self, entries: Sequence[str]) -> None:
        self._queue.discard(entries)

    @_in_words()
    def holders(self, entries: Sequence[str]) -> list[str | None]:
        return self._queue.holders(entries)

    @_in_words()
    def jobs(self, entries: Sequence[str]) -> list[str | None]:
        return self._queue.jobs(entries)

    @_in_words()
    def fences(self, entries: Sequence[str]) -> list[int | None]:
        return self._queue.fences(entries)

    @_in_words()
    def ahead(self, entry: str) -> int | None:
        return self._queue.ahead(entry)

    @_in_words()
    def stats(self, head: int = 20) -> QueueStats:
        return self._queue.stats(head)

    def take(self, limit: int, exclude: Collection[str] = (), timeout: float | None = None) -> list[Claim]:
        return self._taker.take(limit, exclude, timeout)

    @property
    def collisions(self) -> int:
        return self._rounds.collisions

    def interrupt(self) -> None:
        self._taker.interrupt()

    @_in_words()
    def consume(self, claims: Sequence[Claim]) -> None:
        self._queue.consume(claims)

    @_in_words()
    def release(self, claims: Sequence[Claim]) -> None:
        self._queue.release(claims)

    # --- election and schedule

    @_in_words()
    def lead(self, election: str, timeout: float | None = None) -> Leadership | None:
        return self._elections.lead(election, timeout)

    @_in_words()
    def leaders(self, elections: Sequence[str]) -> dict[str, str]:
        return self._elections.leaders(elections)

    @_in_words()
    def load_note(self, election: str) -> dict[str, Any] | None:
        return notes.load(self._ensemble.now(), election)

    @_in_words()
    def save_note(self, election: str, note: Mapping[str, Any]) -> None:
        notes.save(self._ensemble.now(), election, note)

    # --- presence

    @_in_words()
    def announce(self, role: str, info: Mapping[str, Any], wait: bool = True) -> None:
        self._presence.announce(role, info, wait)

    @_in_words()
    def members(self, role: str) -> dict[str, dict[str, Any]]:
        return self._presence.members(role)

    # --- inbox

    @_in_words()
    def send(self, name: str, message: Mapping[str, Any], topic: str = "") -> None:
        self._inbox.send(name, message, topic)

    def listen(self, handler: Callable[[dict[str, Any]], None], topic: str = "") -> None:
        self._inbox.listen(handler, topic)


class _Caller(Part):
    """Calls `Coordination.on_session`."""

    def __init__(self, coordination: ZooKeeperCoordination) -> None:
        self._coordination = coordination

    def began(self, membership: Membership) -> None:
        if self._coordination.on_session is not None:
            tell(self._coordination.on_session, membership.session)


_open: WeakSet[ZooKeeperCoordination] = WeakSet()  # for the handler of forks


def _after_fork() -> None:
    for coordination in list(_open):
        coordination._forked()
    _open.clear()


os.register_at_fork(after_in_child=_after_fork)
