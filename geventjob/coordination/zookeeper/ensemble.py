"""The one greenlet that owns the connection to ZooKeeper: it keeps one session after another.

The lease decides how long a session counts as ours: the time at which the last probe with an answer was sent, plus the
timeout that the server granted, minus a margin (docs/decisions/0009). kazoo's states only tell whether a connection
exists: kazoo calls a session lost only once it has reached a server again (docs/measurements.md, "Session loss with
kazoo").

A probe is a transaction that changes nothing. An answer to a read proves less: a server that is cut off from the
others goes on answering reads for a while, and a former leader for longer, while the others end our session.
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
"""Probes in a session timeout."""
PATIENCE = 4
"""A probe without an answer for a PATIENCE-th of the session timeout makes the client look for another server."""


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
        """The present or last session; it may be over."""

    # --- for all parts

    @property
    def present(self) -> Membership | None:
        """The session to work in, or None."""
        return None if self.membership is None or self.membership.session.over else self.membership

    def now(self) -> Membership:
        """Return the session to work in. Raises CoordinationAway if there is none."""
        if (membership := self.present) is None:
            raise CoordinationAway(f"no session with ZooKeeper{self._why}")
        return membership

    def wait(self, timeout: float | None = None) -> Membership | None:
        """Return the present session, or wait for the next one; None after `timeout` seconds."""
        return self.membership if self._within.wait(timeout) else None

    def mend(self, membership: Membership) -> None:
        """Make folders again that are gone: deleted by hand, or lost with ZooKeeper's data."""
        with contextlib.suppress(CoordinationError):  # the callers try again while a folder is missing
            if made := make_folders(membership):
                hint = (
                    "; `geventjob queue reconcile` queues the jobs again" if self._nodes.root + ENTRIES in made else ""
                )
                log.error("missing in ZooKeeper and made again: %s%s", ", ".join(made), hint)

    # --- life

    def start(self, access: Access, nodes: ZooKeeperNodes) -> None:
        """Begin the first session. Raises CoordinationError, and CoordinationAway after the session timeout."""
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
        """End the session, within two seconds."""
        self._closing = True
        greenlet, self._greenlet = self._greenlet, None
        if greenlet is not None:
            greenlet.kill(timeout=2)

    def disown(self) -> None:
        """End the copy of the session in a forked child."""
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
                elif isinstance(error, CoordinationAway):  # `start` reports the error
                    gevent.sleep(self._access.timeout / PROBES)
                else:
                    self._first.set_exception(error)
                    return

    @property
    def _why(self) -> str:
        """The reason of the last failure, to be appended to a sentence."""
        failures = sorted(self._client.failures.items()) if self._client else []
        reason = self._reason or "; ".join(f"{address}: {why}" for address, why in failures)
        return f": {reason}" if reason else ""

    def _one_session(self) -> None:
        client = ZooKeeperClient(self._access)
        if self._client is not None:
            client.failures.update(self._client.failures)  # the reason stays until there is another
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
        self._seen = max(self._seen, membership.client.last_change)  # includes changes after the last probe
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
        """Send a probe: extend the lease, and compare the nodes of this process with those on the server."""
        connection, sent = membership.connections, boottime()
        owned = {part: part.owned() for part in self.parts}
        # In this order: after the transaction, a server that lagged has caught up with our earlier changes.
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
        """Log an error once if the number of the last change is below a number seen before.

        A server closes the connection of a client that has seen a later change. A new client, made at the end of the
        lease, is let in (ZooKeeperServer.processConnectRequest).
        """
        if change < self._seen:
            log.error(
                "ZooKeeper has gone back from change %#x to %#x: restored from an older copy, or another one; servers "
                "put the jobs anew whose entries are gone or older, and `geventjob queue reconcile` does so at once",
                self._seen, change,
            )  # fmt: skip
        self._seen = change

    def _compare(self, membership: Membership, owned: dict[Part, set[str]], there: set[str]) -> None:
        """Tell each part which of its nodes are gone, and after a reconnection which nodes belong to no part."""
        for part, paths in owned.items():
            if gone := paths - there:
                part.gone(membership, gone)
        if not membership.live.is_set() and (unknown := there.difference(*owned.values())):
            for part in self.parts:
                part.found(membership, unknown)
