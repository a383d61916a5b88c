"""The keeper holds this process in the fleet: one session after another, each with heartbeats and a lease."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gevent

from geventjob import supervise
from geventjob.clock import boottime
from geventjob.coordination.base import CoordinationAway, Session
from geventjob.coordination.sqlite import sessions
from geventjob.coordination.sqlite.bell import ALL, ELECTION, INBOX, QUEUE, SESSIONS, Bell
from geventjob.coordination.sqlite.database import Database, Need
from geventjob.coordination.sqlite.processes import Deaths, this_process

log = logging.getLogger(__name__)

BEATS = 10
"""Heartbeats in a session timeout. Also the part of the timeout by which the lease ends before the session."""


class Keeper:
    """Begins sessions, sends heartbeats, notices the end of a session, and ends the sessions of dead processes."""

    def __init__(
        self,
        database: Database,
        bell: Bell,
        name: str,
        timeout: float,
        began: Callable[[Session], None],
        ended: Callable[[Session], None],
    ) -> None:
        """Keep the parts. `began` and `ended` are called in the keeper's greenlet, `ended` once the session is over."""
        self._database = database
        self._bell = bell
        self._name = name
        self._timeout = timeout
        self._margin = self._interval = timeout / BEATS
        self._began = began
        self._ended = ended
        self._deaths: Deaths | None = None
        self._greenlet: gevent.Greenlet[..., Any] | None = None
        self._disowned = False
        self._others: Mapping[int, sessions.Other] = {}
        self.session: Session | None = None
        self.roles: dict[str, str] = {}
        """Role → info, as JSON, that this process announces in each session."""

    def start(self) -> None:
        """Begin the first session and keep it. Raises CoordinationAway if no session begins within its timeout."""
        self._process = this_process()
        self._deaths = Deaths(self._process, self._died)
        self.session = self._begin(None)
        self._greenlet = supervise.spawn("the keeper of the session", self._run, supervise.end_process)

    def close(self) -> None:
        """End the session and everything that it owns. Waits for a second at most."""
        if self._greenlet is not None:
            self._greenlet.kill()
        if self._deaths is not None:
            self._deaths.close()
        if self.session is not None:
            self.session.end()
            self._database.submit(partial(sessions.bury, session=int(self.session.id))).wait(1)

    def disown(self) -> None:
        """End the copy of the session in a forked child, and call no listener."""
        self._disowned = True
        if self.session is not None:
            self.session.end()
        if self._greenlet is not None:
            self._greenlet.kill(block=False)

    @property
    def alive(self) -> Session | None:
        """The session to work in, or None."""
        return self.session if self.session is not None and not self.session.over else None

    def _run(self) -> None:
        with self._bell.heard(SESSIONS) as rung:
            while True:
                assert self.session is not None
                self._began(self.session)
                self._bell.wake(ALL)
                while self._beat(self.session):
                    rung.wait(self._pause())
                    rung.clear()
                if self._disowned:
                    return
                self.session.end()
                self._ended(self.session)
                self.session = self._begin_again(self.session)

    def _begin(self, instead: Session | None) -> Session:
        sent = boottime()
        begin = partial(
            sessions.begin,
            process=self._process,
            name=self._name,
            bell=self._bell.name,
            timeout=self._timeout,
            instead=instead,
        )
        session = Session(str(self._database.call(begin, Need.SYNC)), self._timeout)
        session.renew(sent, self._margin)
        return session

    def _begin_again(self, instead: Session) -> Session:
        while True:
            try:
                return self._begin(instead)
            except CoordinationAway as error:
                log.warning("no new session yet: %s", error)
                gevent.sleep(self._interval)

    def _beat(self, session: Session) -> bool:
        """Send one heartbeat. Return False once the session is over, whether an answer came or not."""
        sent = boottime()
        answer = self._database.submit(
            partial(sessions.beat, process=self._process, name=self._name, session=session, roles=dict(self.roles))
        )
        answer.wait(max(0.0, session.lease - sent))
        if not answer.ready():
            return False
        if not answer.successful():
            log.warning("a heartbeat failed: %s", answer.exception)
            self._others = {}  # old expiry times are no reason for an earlier try
            return not session.over
        if answer.value is None or not session.renew(sent, self._margin):
            return False
        assert self._deaths is not None
        self._others = answer.value
        self._deaths.watch({number: other.process for number, other in answer.value.items()})
        self._bell.wake(QUEUE + ELECTION + INBOX)  # a process may have died or frozen before its ring
        return True

    def _pause(self) -> float:
        """Return the seconds until the next heartbeat: fewer if another session, which may have a shorter timeout,
        expires first."""
        first = min((other.expires for other in self._others.values()), default=math.inf)
        return min(self._interval, max(0.0, first - boottime()) + 0.005)

    def _died(self, session: int) -> None:
        self._database.submit(partial(sessions.bury, session=session))
