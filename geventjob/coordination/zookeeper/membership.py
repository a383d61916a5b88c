"""One session with the ensemble: what may be asked in it, and for how long it is ours."""

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
"""The lease ends a quarter of the timeout before the server could end the session.

A follower tells the leader twice a tick who has given a sign of life, and a session is two ticks at least: the leader
may count from up to a quarter of the timeout before the moment that we count from.
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
        """Before `client` is started."""
        self.client = client
        self.nodes = nodes
        self.session = Session("", 0.0)
        self.identity = 0
        """The session's id, as the owner of its ephemeral nodes."""
        self.connections = 0
        """How many times it was connected."""
        self.live = Event()
        """Set while connected and certain of what is ours; everybody but the ensemble waits for it."""
        self.news = Event()
        """Set when the connection changed."""
        self._waking: WeakSet[Event] = WeakSet()
        client.add_listener(self._changed)

    def _changed(self, state: str) -> None:
        """In kazoo's own greenlet, which must not be held up (FINDINGS §6)."""
        if state == KazooState.CONNECTED:
            self.connections += 1
        else:
            self.live.clear()
        if state == KazooState.LOST:
            self.session.end()  # before kazoo goes on with a new session, in which nothing may be done
        self.news.set()

    def joined(self) -> None:
        """The first connection is there: from here on it is a session."""
        self.identity = self.client.identity
        self.session = Session(f"{self.identity:x}", self.client.granted)
        self.renew(self.client.asked)

    def renew(self, sent: float) -> bool:
        """An answer to what was sent then shows that the session lives, as far as the majority is concerned."""
        self.session.timeout = self.client.granted
        return self.session.renew(sent, self.session.timeout / MARGIN)

    @property
    def left(self) -> float:
        """Seconds until the lease ends."""
        return max(0.0, self.session.lease - boottime())

    def end(self) -> None:
        """The session is over: whoever waits for something of it is woken."""
        self.session.end()
        self.live.set()
        for event in self._waking:
            event.set()

    def event(self) -> Event:
        """An event that the end of this session sets, too."""
        event = Event()
        self._waking.add(event)
        if self.session.over:
            event.set()
        return event

    # --- requests

    def ask(self, request: Any) -> Any:
        """The answer to one request. Raises CoordinationAway if there is none, and what kazoo has for a refusal."""
        return self.ask_each([request])[0]

    def ask_each(self, requests: Iterable[Any]) -> list[Any]:
        """The answers to requests that are sent at once, in order. Raises as `ask` for the first that failed."""
        answers = self.ask_all(requests)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def ask_all(self, requests: Iterable[Any]) -> list[Any]:
        """As `ask_each`, but with an exception in the place of each answer that is none."""
        self._await_live()
        return self.query(requests)

    def read(self, paths: Iterable[str]) -> list[Any]:
        """Data and stat of nodes: a pair, None for one that is not there, an exception for one that is not for us.

        Raises as `ask`.
        """
        paths = list(paths)
        chunks = [self.nodes.read(paths[start : start + READ]) for start in range(0, len(paths), READ)]
        return [node for answer in self.ask_each(chunks) for node in answer]

    def query(self, requests: Iterable[Any]) -> list[Any]:
        """As `ask_all`, but does not wait until what is ours is certain: for whoever makes it so."""
        return [_outcome(answer) for answer in self.send(requests)]

    def post(self, request: Any) -> None:
        """Send a request whose answer does not matter; one that is lost is made good at the next reconnection."""
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
