"""Elections: the candidate that came first leads. A candidate ends with its session."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from secrets import token_hex

from gevent.event import Event

from geventjob.clock import boottime
from geventjob.coordination.base import CoordinationAway, Leadership, LeadershipOver, Session
from geventjob.coordination.sqlite.bell import ELECTION, Bell
from geventjob.coordination.sqlite.database import Database, Transaction
from geventjob.coordination.sqlite.sessions import ALIVE, alive

_FIRST = "SELECT min(number) FROM candidate WHERE election = ?"


def stand(tx: Transaction, session: Session, election: str, token: str) -> bool:
    """Enter the candidate unless it stands already. Return whether it leads."""
    tx.change(
        "INSERT OR IGNORE INTO candidate (election, token, session) SELECT ?, ?, ? WHERE " + ALIVE,
        *(election, token, int(session.id), *alive(session)),
    )
    return bool(tx.value(f"SELECT number = ({_FIRST}) FROM candidate WHERE token = ?", election, token))


def withdraw(tx: Transaction, election: str, token: str) -> None:
    """Delete the candidate, and wake the next leader."""
    if tx.change("DELETE FROM candidate WHERE token = ?", token):
        next_one = f"FROM candidate JOIN session ON session.id = session WHERE number = ({_FIRST})"
        for (bell,) in tx.rows("bell", next_one, election):
            tx.ring(bell, ELECTION)


def check(tx: Transaction, leadership: SqliteLeadership | None) -> None:
    """Raise LeadershipOver if the leadership is over; None: no leadership is needed."""
    if leadership is None:
        return
    leads = f"SELECT number = ({_FIRST}) FROM candidate WHERE token = ?"
    if not tx.value(leads, leadership.name, leadership.token):
        raise LeadershipOver(f"the leadership of {leadership.name} is over")


def leaders(tx: Transaction, elections: Sequence[str]) -> dict[str, str]:
    """Return election → name of the leading process."""
    first = "SELECT min(number) FROM candidate WHERE election IN (SELECT value FROM json_each(?)) GROUP BY election"
    source = f"FROM candidate JOIN session ON session.id = session WHERE number IN ({first}) AND expires >= ?"
    return dict(tx.rows("election, name", source, json.dumps(list(elections)), boottime()))


class SqliteLeadership(Leadership):
    """A leadership that is held for as long as the session of the candidate lives."""

    def __init__(self, database: Database, session: Session, election: str, token: str) -> None:
        self.name = election
        self._database = database
        self._session = session
        self.token = token
        self._resigned = False

    def confirm(self) -> None:
        """See `Leadership.confirm`."""
        self._database.call(partial(check, leadership=self))

    @property
    def held(self) -> bool:
        return not self._resigned and not self._session.over

    def resign(self) -> None:
        """See `Leadership.resign`."""
        if self.held:
            self._resigned = True
            self._database.call(partial(withdraw, election=self.name, token=self.token))


class SqliteElections:
    """Candidacies of this process, in one session after another."""

    def __init__(self, database: Database, bell: Bell, session: Callable[[], Session | None]) -> None:
        """Keep the parts. `session()` returns the session to work in, None while there is none."""
        self._database = database
        self._bell = bell
        self._session = session

    def lead(self, election: str, timeout: float | None) -> Leadership | None:
        """See `Coordination.lead`."""
        token = token_hex(16)
        leadership = None
        try:
            with self._bell.heard(ELECTION) as rung:
                leadership = self._lead(election, token, timeout, rung)
        finally:
            if leadership is None:  # or the caller was killed
                self._database.submit(partial(withdraw, election=election, token=token))
        return leadership

    def _lead(self, election: str, token: str, timeout: float | None, rung: Event) -> Leadership | None:
        until = None if timeout is None else boottime() + timeout
        while True:
            rung.clear()
            session = self._session()
            if session is not None and self._stand(session, election, token) and not session.over:
                return SqliteLeadership(self._database, session, election, token)
            if not rung.wait(None if until is None else max(0.0, until - boottime())):
                return None

    def _stand(self, session: Session, election: str, token: str) -> bool:
        try:
            return self._database.call(partial(stand, session=session, election=election, token=token))
        except CoordinationAway:
            return False  # the next heartbeat asks again
