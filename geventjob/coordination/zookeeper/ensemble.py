"""The one greenlet that owns the connection to ZooKeeper: one session after another, each watched over to its end.

A session is ours by the lease (DESIGN §5.1): the time at which the last probe that was answered was sent, plus the
timeout that the server granted, minus a margin. kazoo's states only say whether it is connected: it calls a session
lost after it has reached a server again (FINDINGS A).

A probe is a transaction that changes nothing. The answer to a read would not do: a server that was cut off from the
others goes on answering reads for a while, and one that led them goes on for longer, while they end our session.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from typing import Any

import gevent
from gevent.event import AsyncResult, Event
from kazoo.exceptions import NoNodeError

from geventjob import supervise
from geventjob.backoff import Trouble
from geventjob.clock import boottime
from geventjob.coordination.base import ENTRIES, CoordinationAway, CoordinationError
from geventjob.coordination.zookeeper.client import Access, ZooKeeperClient
from geventjob.coordination.zookeeper.folders import make_folders
from geventjob.coordination.zookeeper.membership import Membership
from geventjob.coordination.zookeeper.nodes import ZooKeeperNodes
from geventjob.coordination.zookeeper.part import Part

log = logging.getLogger(__name__)

PROBES = 10
"""In a session timeout."""
PATIENCE = 4
"""The part of a session timeout within which a probe is answered, or else another server is looked for."""


class Ensemble:
    """Keeps this process in a session."""

    def __init__(self) -> None:
        self.parts: Sequence[Part] = ()
        self._greenlet: gevent.Greenlet[..., Any] | None = None
        self._first: AsyncResult[None] = AsyncResult()
        self._within = Event()
        self._closing = False
        self._reason = ""
        self._client: ZooKeeperClient | None = None
        self._seen = 0
        """Number of the last change of ZooKeeper that earlier sessions have seen."""
        self.membership: Membership | None = None
        """The last one; it may be over."""

    # --- for everybody

    @property
    def present(self) -> Membership | None:
        """The session to work in, if there is one."""
        return None if self.membership is None or self.membership.session.over else self.membership

    def now(self) -> Membership:
        """The session to work in; raises CoordinationAway if there is none."""
        if (membership := self.present) is None:
            raise CoordinationAway(f"no session with ZooKeeper{self._why}")
        return membership

    def wait(self, timeout: float | None = None) -> Membership | None:
        """The present session, or the next one; None after `timeout` seconds."""
        return self.membership if self._within.wait(timeout) else None

    def mend(self, membership: Membership) -> None:
        """Make folders anew that are gone: deleted by hand, or lost with ZooKeeper's data."""
        with contextlib.suppress(CoordinationError):  # called again while something is missing
            if made := make_folders(membership):
                hint = "; `geventjob queue reconcile` puts jobs back" if self._nodes.root + ENTRIES in made else ""
                log.error("gone from ZooKeeper, and made anew: %s%s", ", ".join(made), hint)

    # --- life

    def start(self, access: Access, nodes: ZooKeeperNodes) -> None:
        """Begin the first session. Raises CoordinationError, CoordinationAway after the session timeout."""
        self._access = access
        self._nodes = nodes
        self._closing = False
        self._first = AsyncResult()
        self._greenlet = supervise.spawn("the keeper of the ZooKeeper session", self._run, supervise.end_process)
        try:
            self._first.wait(self._access.timeout)
            if not self._first.ready():
                raise CoordinationAway(f"no session with ZooKeeper at {self._access.hosts}{self._why}")
            self._first.get()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the session; two seconds at most."""
        self._closing = True
        greenlet, self._greenlet = self._greenlet, None
        if greenlet is not None:
            greenlet.kill(timeout=2)

    def disown(self) -> None:
        """In a forked child, whose copy of the session is over."""
        self._closing = True
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
        if self.membership is not None:
            self.membership.client.disown()
            self.membership.end()

    def _run(self) -> None:
        trouble = Trouble(log, f"no session with ZooKeeper at {self._access.hosts}")
        while True:
            try:
                self._one_session()
                trouble.end()
            except CoordinationError as error:
                self._reason = str(error)
                if self._first.ready():
                    gevent.sleep(trouble.pause(self._reason))
                elif isinstance(error, CoordinationAway):  # told by `start`
                    gevent.sleep(self._access.timeout / PROBES)
                else:
                    self._first.set_exception(error)
                    return

    @property
    def _why(self) -> str:
        """The reason for the last failure, to be put behind a sentence."""
        failures = sorted(self._client.failures.items()) if self._client else []
        reason = self._reason or "; ".join(f"{address}: {why}" for address, why in failures)
        return f": {reason}" if reason else ""

    def _one_session(self) -> None:
        client = ZooKeeperClient(self._access)
        if self._client is not None:
            client.failures.update(self._client.failures)  # the reason goes on until there is another
        self._client = client
        membership = Membership(client, self._nodes)
        client.start_async()
        try:
            while not client.connected:
                if client.ended:
                    raise CoordinationAway("; ".join(client.failures.values()) or "the connection ended")
                membership.news.wait(1)
                membership.news.clear()
            membership.joined()
            make_folders(membership)
            self._begin(membership)
            self._watch_over(membership)
        finally:
            self._end(membership)

    def _begin(self, membership: Membership) -> None:
        log.info("session %s with ZooKeeper, timeout %g s", membership.session.id, membership.session.timeout)
        self.membership = membership
        self._reason = ""
        membership.live.set()
        for part in self.parts:
            part.began(membership)
        self._within.set()
        if not self._first.ready():
            self._first.set()

    def _end(self, membership: Membership) -> None:
        self._within.clear()
        membership.end()
        self._seen = max(self._seen, membership.client.last_change)  # of changes since the last probe, too
        if self.membership is membership:
            log.log(
                logging.INFO if self._closing else logging.WARNING,
                "session %s with ZooKeeper is over",
                membership.session.id,
            )
            for part in self.parts:
                part.ended(membership)
        leaving = gevent.spawn(membership.client.leave)
        if self._closing:
            leaving.join()

    # --- while it lives

    def _watch_over(self, membership: Membership) -> None:
        away = False
        while not membership.session.over:
            membership.news.clear()
            if membership.client.connected:
                self._probe(membership)
            if away is membership.live.is_set() and (
                away or self._why or membership.left < membership.session.timeout / 2
            ):
                away = not away
                log.warning("ZooKeeper is %s", f"out of reach{self._why}" if away else "back")
            membership.news.wait(min(membership.session.timeout / PROBES, membership.left))

    def _probe(self, membership: Membership) -> None:
        """Renew the lease, and see that what is ours is there."""
        connection, sent = membership.connections, boottime()
        owned = {part: part.owned() for part in self.parts}
        # In this order: a server that lags behind the others has caught up with what we did before when it is read.
        quorum, ephemerals = membership.send([self._nodes.quorum(), self._nodes.ephemerals()])
        ephemerals.wait(min(membership.session.timeout / PATIENCE, membership.left))
        if not ephemerals.ready():
            log.warning("ZooKeeper does not answer: looking for another server")
            membership.client.drop()
        elif quorum.successful() and ephemerals.successful() and membership.renew(sent):
            self._check_history(membership.client.last_change)
            self._compare(membership, owned, {self._nodes.plain(path) for path in ephemerals.get() or ()})
            if membership.client.connected and membership.connections == connection:
                membership.live.set()
            if any(isinstance(answer, NoNodeError) for answer in quorum.get() or ()):
                self.mend(membership)

    def _check_history(self, change: int) -> None:
        """Tell once if `change`, the number of the last one, is below what was seen before.

        A client that has seen a later one is hung up on by the server; a new client, which the end of the lease
        brings, gets in (ZooKeeperServer.processConnectRequest).
        """
        if change < self._seen:
            log.error(
                "ZooKeeper has gone back from change %#x to %#x: restored from an older copy, or another one; servers "
                "put the jobs anew whose entries are gone or older, and `geventjob queue reconcile` does so at once",
                self._seen, change,
            )  # fmt: skip
        self._seen = change

    def _compare(self, membership: Membership, owned: dict[Part, set[str]], there: set[str]) -> None:
        for part, paths in owned.items():
            if gone := paths - there:
                part.gone(membership, gone)
        if not membership.live.is_set() and (unknown := there.difference(*owned.values())):
            for part in self.parts:
                part.found(membership, unknown)
