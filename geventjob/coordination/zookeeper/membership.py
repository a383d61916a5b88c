"""One session with the ensemble: its requests, and the time for which it is ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakSet

from gevent.event import AsyncResult, Event
from kazoo.exceptions import (
    ConnectionLoss,
    OperationTimeoutError,
    RequestTimeoutError,
    SessionExpiredError,
    SessionMovedError,
    ThrottledOpError,
)
from kazoo.protocol.states import KazooState

from geventjob.clock import boottime
from geventjob.coordination.base import CoordinationAway, Session
from geventjob.coordination.zookeeper.client import ZooKeeperClient
from geventjob.coordination.zookeeper.nodes import ZooKeeperNodes

MARGIN = 4
"""The lease ends a MARGIN-th of the timeout before the server could end the session.

A follower reports to the leader twice a tick which sessions gave a sign of life, and a session lasts two ticks at
least: the leader may count from up to a quarter of the timeout before the moment from which the lease counts.
"""

READ = 500
"""Most nodes in one multi-read."""

_LOST = (
    ConnectionLoss,
    OperationTimeoutError,
    RequestTimeoutError,
    SessionExpiredError,
    SessionMovedError,
    ThrottledOpError,
)


class Membership:
    """A session that has begun, over one connection after another."""

    def __init__(self, client: ZooKeeperClient, nodes: ZooKeeperNodes) -> None:
        """Prepare for a session of `client`, which is not started yet."""
        self.client = client
        self.nodes = nodes
        self.session = Session("", 0.0)
        self.identity = 0
        """The id of the session, as the owner of its ephemeral nodes."""
        self.connections = 0
        """Number of connections so far."""
        self.live = Event()
        """Set while connected and certain of the own nodes. Every request waits for it, except those of the keeper."""
        self.news = Event()
        """Set when the connection changed."""
        self._waking: WeakSet[Event] = WeakSet()
        client.add_listener(self._changed)

    def _changed(self, state: str) -> None:
        """Note a state of kazoo.

        Runs in kazoo's own greenlet, which must not block (docs/measurements.md, "gevent").
        """
        if state == KazooState.CONNECTED:
            self.connections += 1
        else:
            self.live.clear()
        if state == KazooState.LOST:
            self.session.end()  # before kazoo begins a new session, in which no request may go out
        self.news.set()

    def joined(self) -> None:
        """Begin the session after the first connection."""
        self.identity = self.client.identity
        self.session = Session(f"{self.identity:x}", self.client.granted)
        self.renew(self.client.asked)

    def renew(self, sent: float) -> bool:
        """Extend the lease after the answer of the majority to a request that was sent at `sent` (boottime)."""
        self.session.timeout = self.client.granted
        return self.session.renew(sent, self.session.timeout / MARGIN)

    @property
    def left(self) -> float:
        """The seconds until the lease ends."""
        return max(0.0, self.session.lease - boottime())

    def end(self) -> None:
        """End the session, and wake all that wait for something in it."""
        self.session.end()
        self.live.set()
        for event in self._waking:
            event.set()

    def event(self) -> Event:
        """Return an event that the end of this session sets too."""
        event = Event()
        self._waking.add(event)
        if self.session.over:
            event.set()
        return event

    # --- requests

    def ask(self, request: Any) -> Any:
        """Return the answer to one request.

        Raises CoordinationAway without an answer, and kazoo's error for a refusal.
        """
        return self.ask_each([request])[0]

    def ask_each(self, requests: Iterable[Any]) -> list[Any]:
        """Send requests at once and return the answers, in order.

        Raises, as `ask`, the error of the first that failed.
        """
        answers = self.ask_all(requests)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def ask_all(self, requests: Iterable[Any]) -> list[Any]:
        """Send requests at once and return the answers, in order.

        A failed request has its exception in place of an answer.
        """
        self._await_live()
        return self.query(requests)

    def read(self, paths: Iterable[str]) -> list[Any]:
        """Return data and stat of nodes as pairs; None for a missing node, an exception for a node without permission.

        Raises as `ask`.
        """
        paths = list(paths)
        chunks = [self.nodes.read(paths[start : start + READ]) for start in range(0, len(paths), READ)]
        return [node for answer in self.ask_each(chunks) for node in answer]

    def query(self, requests: Iterable[Any]) -> list[Any]:
        """Return the answers as `ask_all`, without waiting for `live`: for the requests that lead to `live`."""
        return [_outcome(answer) for answer in self.send(requests)]

    def post(self, request: Any) -> None:
        """Send a request whose answer does not matter. The next reconnection repairs the effect of a lost request."""
        if not self.session.over:
            self.client.send(request)

    def send(self, requests: Iterable[Any]) -> Sequence[AsyncResult[Any]]:
        """Send requests, in this order, without waiting."""
        if self.session.over:
            raise CoordinationAway("the session with ZooKeeper is over")
        return [self.client.send(request) for request in requests]

    def _await_live(self) -> None:
        while not self.live.is_set() and not self.session.over:
            self.live.wait(self.left)
        if self.session.over:
            raise CoordinationAway("the session with ZooKeeper is over")


def _outcome(answer: AsyncResult[Any]) -> Any:
    answer.wait()
    error = answer.exception
    if isinstance(error, _LOST):
        return CoordinationAway(f"no answer from ZooKeeper: {type(error).__name__}")
    return answer.value if error is None else error
