"""Inboxes: messages to a process by its name, kept until its handler has seen them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent

from geventjob import supervise
from geventjob.coordination.base import CoordinationAway, Session
from geventjob.coordination.handlers import Handler, handle
from geventjob.coordination.names import inbox_name, inbox_owner
from geventjob.coordination.sqlite.bell import INBOX, Bell
from geventjob.coordination.sqlite.database import Database, Need, Transaction

log = logging.getLogger(__name__)

_AT_ONCE = 100


def send(tx: Transaction, inbox: str, message: str) -> None:
    """Put a message into an inbox and wake its owner, if there is one. Needs SYNC."""
    tx.change("INSERT INTO message (executor, message, sent) VALUES (?, ?, ?)", inbox, message, time.time())
    for (bell,) in tx.rows("bell", "FROM session WHERE name = ?", inbox_owner(inbox)):
        tx.ring(bell, INBOX)


def read(tx: Transaction, inbox: str, after: int) -> list[tuple[int, str]]:
    """Return (number, message) of the first messages after a number, in order."""
    source = "FROM message WHERE executor = ? AND number > ? ORDER BY number LIMIT ?"
    return sorted((number, message) for number, message in tx.rows("number, message", source, inbox, after, _AT_ONCE))


def delete(tx: Transaction, number: int) -> None:
    tx.change("DELETE FROM message WHERE number = ?", number)


class SqliteInbox:
    """The inbox of this process, read in a greenlet."""

    def __init__(self, database: Database, bell: Bell, name: str, session: Callable[[], Session | None]) -> None:
        """Keep the parts. `session()` returns the session to work in, None while there is none."""
        self._database = database
        self._bell = bell
        self._name = self._inbox = name
        self._session = session
        self._greenlet: gevent.Greenlet[..., Any] | None = None
        self._last = 0  # the last message that was handled: it may not be deleted yet

    def listen(self, handler: Handler, topic: str) -> None:
        """See `Coordination.listen`."""
        if self._greenlet is not None:
            raise RuntimeError("this inbox has its handler already")
        self._inbox = inbox_name(self._name, topic)
        self._greenlet = supervise.spawn("the reader of the inbox", partial(self._run, handler), supervise.end_process)

    def close(self) -> None:
        """Stop reading. A message whose handler has not returned stays."""
        if self._greenlet is not None:
            self._greenlet.kill()

    def disown(self) -> None:
        """Stop reading in a forked child; the parent reads on."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)

    def _run(self, handler: Handler) -> None:
        with self._bell.heard(INBOX) as rung:
            while True:
                rung.clear()
                messages = self._read()
                for number, message in messages:
                    handle(handler, message)
                    self._last = number
                    self._database.submit(partial(delete, number=number))
                if not messages:
                    rung.wait()

    def _read(self) -> list[tuple[int, str]]:
        if self._session() is None:
            return []
        try:
            return self._database.call(partial(read, inbox=self._inbox, after=self._last), Need.READ)
        except CoordinationAway:
            return []  # the next heartbeat asks again
