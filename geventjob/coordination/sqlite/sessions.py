"""Sessions in the file: begun, kept alive, ended together with everything that belongs to them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from geventjob.clock import boottime
from geventjob.coordination.base import Session
from geventjob.coordination.sqlite.bell import ALL, SESSIONS
from geventjob.coordination.sqlite.database import Transaction
from geventjob.coordination.sqlite.processes import ProcessIdentity

ALIVE = "EXISTS (SELECT 1 FROM session WHERE id = ? AND expires >= ?)"
"""A condition in SQL, with `*alive(session)` as its parameters."""

_SKIPPED = 1_000_000
"""Names of entries that a new boot skips; more than the kernel and SQLite leave unsynced."""

_INBOX_KEPT = 86_400.0
"""Seconds for which a message waits for an executor that does not live (docs/reference/queue.md, "Inboxes")."""


def alive(session: Session) -> tuple[int, float]:
    """Return the parameters of ALIVE; they match nothing if the lease of the session is over.

    Called in the transaction: until its commit no other process can be given anything.
    """
    return -1 if session.over else int(session.id), boottime()


def begin(
    tx: Transaction, process: ProcessIdentity, name: str, bell: str, timeout: float, instead: Session | None
) -> int:
    """Begin a session in place of an earlier one of this process, and return its number. Needs SYNC.

    The first session of a boot raises the fence to the next multiple of 2**32, as a new leader of ZooKeeper does, and
    skips names of entries: fences of takes and names of puts that a loss of power undid are never given again.
    """
    if instead is not None:
        tx.change("DELETE FROM session WHERE id = ?", int(instead.id))
    raised = "UPDATE fence SET boot = ?, last = ((last >> 32) + 1) << 32 WHERE boot <> ?"
    if tx.change(raised, process.boot, process.boot):
        tx.change("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'entry'", _SKIPPED)
    number = tx.insert(
        "INSERT INTO session (name, boot, namespace, pid, started, bell, expires) VALUES (?, ?, ?, ?, ?, ?, ?)",
        *(name, *process, bell, boottime() + timeout),
    )
    bury_those_of_earlier_boots(tx, process.boot)
    bury_expired(tx)
    ring_all(tx, ALL if instead is not None else SESSIONS)
    return number


class Other(NamedTuple):
    """The session of another member."""

    process: ProcessIdentity
    expires: float


def beat(
    tx: Transaction, process: ProcessIdentity, name: str, session: Session, roles: Mapping[str, str]
) -> dict[int, Other] | None:
    """Record a heartbeat and end expired sessions. Return the other sessions, or None if this session is over."""
    bury_expired(tx)
    number, now = alive(session)
    if not tx.change("UPDATE session SET expires = ? WHERE id = ?", now + session.timeout, number):
        return None
    for role, info in roles.items():
        tx.change("INSERT OR IGNORE INTO member VALUES (?, ?, ?, ?)", role, name, number, info)
    others = tx.rows("id, expires, boot, namespace, pid, started", "FROM session WHERE id <> ?", number)
    return {other: Other(ProcessIdentity(*process), expires) for other, expires, *process in others}


def bury_those_of_earlier_boots(tx: Transaction, boot: str) -> None:
    """End the sessions of earlier boots, whose `expires` has no meaning now.

    Another boot id alone proves nothing: two sandboxes of one machine may show two. A bell without a listener is the
    proof.
    """
    for session, bell in tx.rows("id, bell", "FROM session WHERE boot <> ?", boot):
        if not tx.is_heard(bell):
            bury(tx, session)


def bury_expired(tx: Transaction) -> None:
    """End the sessions without a heartbeat for their timeout, and delete old messages to executors that do not live."""
    if tx.change("DELETE FROM session WHERE expires < ?", boottime()):
        ring_all(tx, ALL)
    tx.change(
        "DELETE FROM message WHERE sent < ? AND executor NOT IN (SELECT name FROM session)", time.time() - _INBOX_KEPT
    )


def bury(tx: Transaction, session: int) -> None:
    """End a session: its process is dead or closes it."""
    if tx.change("DELETE FROM session WHERE id = ?", session):
        ring_all(tx, ALL)


def ring_all(tx: Transaction, what: bytes) -> None:
    for (bell,) in tx.rows("bell", "FROM session"):
        tx.ring(bell, what)


def announce(tx: Transaction, session: Session, role: str, name: str, info: str) -> bool:
    """Enter this process in a role, or change its info.

    Return False if another session has the name or this one is over.
    """
    return bool(
        tx.change(
            "INSERT INTO member (role, name, session, info) SELECT ?, ?, ?, ? WHERE " + ALIVE + " "
            "ON CONFLICT DO UPDATE SET info = excluded.info WHERE session = excluded.session",
            *(role, name, int(session.id), info, *alive(session)),
        )
    )


def members(tx: Transaction, role: str) -> dict[str, str]:
    """Return name → info of the live processes in a role."""
    source = "FROM member JOIN session ON session.id = member.session WHERE role = ? AND expires >= ?"
    return dict(tx.rows("member.name, info", source, role, boottime()))
