"""The contract of `Coordination` over one SQLite file, for the processes of one machine (docs/reference/queue.md)."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any
from weakref import WeakSet

from geventjob.clock import boottime
from geventjob.coordination.base import (
    Claim,
    Coordination,
    CoordinationAway,
    Leadership,
    NameInUse,
    QueueStats,
    Session,
)
from geventjob.coordination.handlers import tell
from geventjob.coordination.names import check_priorities, inbox_name
from geventjob.coordination.sqlite import inbox, notes, queue, sessions
from geventjob.coordination.sqlite.bell import SESSIONS, Bell
from geventjob.coordination.sqlite.claims import SqliteClaims
from geventjob.coordination.sqlite.database import Database, Need
from geventjob.coordination.sqlite.elections import SqliteElections, SqliteLeadership, leaders
from geventjob.coordination.sqlite.inbox import SqliteInbox
from geventjob.coordination.sqlite.keeper import Keeper

log = logging.getLogger(__name__)


class SqliteCoordination(Coordination):
    """The part of one process in the fleet of a machine."""

    def __init__(self, path: str, name: str, session_timeout: float, age_share: int = 0) -> None:
        """Keep the settings. `path`: the file, made with its folder by `start` if missing.

        `session_timeout` in seconds. `age_share`: each how many entries that are taken the oldest one is, 0: never.
        """
        self.name = name
        self._path = os.path.abspath(path)
        self.place = f"the file {self._path}, which is for this machine alone (no --zk-hosts)"
        self._timeout = session_timeout
        self._database = Database(self._path, session_timeout)
        self._bell = Bell(self._path)
        self._keeper = Keeper(self._database, self._bell, name, session_timeout, self._began, self._ended)
        self._claims = SqliteClaims(self._database, self._bell, self._alive, age_share)
        self._elections = SqliteElections(self._database, self._bell, self._alive)
        self._inbox = SqliteInbox(self._database, self._bell, name, self._alive)

    # --- life

    def start(self) -> None:
        """See `Coordination.start`. After an error the method may be called again."""
        try:
            self._database.open()
            self._database.call(lambda _: self._bell.hang())
            self._bell.start()
            self._keeper.start()
        except BaseException:
            self._disconnect()
            raise
        _open.add(self)

    def close(self) -> None:
        self._claims.close()
        self._inbox.close()
        self._disconnect()

    def _disconnect(self) -> None:
        _open.discard(self)
        self._keeper.close()
        self._bell.close()
        self._database.close()

    @property
    def session(self) -> Session | None:
        return self._keeper.session

    def _alive(self) -> Session | None:
        return self._keeper.alive

    def _began(self, session: Session) -> None:
        if self.on_session is not None:
            tell(self.on_session, session)

    def _ended(self, session: Session) -> None:
        lost = self._claims.lose()
        log.warning("session %s of %s is over; claims lost: %d", session.id, self.name, len(lost))
        if lost and self.on_lost is not None:
            tell(self.on_lost, lost)

    def _forked(self) -> None:
        """Close everything in a forked child: the child is no member and must not act in the name of its parent."""
        self._keeper.disown()
        self._inbox.disown()
        self._bell.disown()
        self._database.disown()

    # --- the queue

    def put(
        self, items: Sequence[tuple[str, int]], places: Sequence[str | None] = (), leadership: Leadership | None = None
    ) -> list[str]:
        """See `Coordination.put`."""
        check_priorities(items)
        assert leadership is None or isinstance(leadership, SqliteLeadership)
        put = partial(queue.put, items=items, places=places, leadership=leadership)
        return self._database.call(put) if items else []

    def remove(self, entries: Sequence[str], leadership: Leadership | None = None) -> list[bool]:
        assert leadership is None or isinstance(leadership, SqliteLeadership)
        return self._database.call(partial(queue.remove, entries=entries, leadership=leadership))

    def discard(self, entries: Sequence[str]) -> None:
        self._database.call(partial(queue.discard, entries=entries))

    def holders(self, entries: Sequence[str]) -> list[str | None]:
        return self._database.call(partial(queue.holders, entries=entries), Need.READ)

    def jobs(self, entries: Sequence[str]) -> list[str | None]:
        return self._database.call(partial(queue.jobs, entries=entries), Need.READ)

    def fences(self, entries: Sequence[str]) -> list[int | None]:
        return self._database.call(partial(queue.fences, entries=entries), Need.READ)

    def ahead(self, entry: str) -> int | None:
        return self._database.call(partial(queue.ahead, entry=entry), Need.READ)

    def stats(self, head: int = 20) -> QueueStats:
        return self._database.call(partial(queue.stats, head=head), Need.READ)

    def take(self, limit: int, exclude: Collection[str] = (), timeout: float | None = None) -> list[Claim]:
        return self._claims.take(limit, exclude, timeout)

    def interrupt(self) -> None:
        self._claims.interrupt()

    def consume(self, claims: Sequence[Claim]) -> None:
        self._claims.end(queue.consume, claims)

    def release(self, claims: Sequence[Claim]) -> None:
        self._claims.end(queue.release, claims)

    # --- election and schedule

    def lead(self, election: str, timeout: float | None = None) -> Leadership | None:
        return self._elections.lead(election, timeout)

    def leaders(self, elections: Sequence[str]) -> dict[str, str]:
        return self._database.call(partial(leaders, elections=elections), Need.READ)

    def load_note(self, election: str) -> dict[str, Any] | None:
        note = self._database.call(partial(notes.load, election=election), Need.READ)
        return None if note is None else json.loads(note)

    def save_note(self, election: str, note: Mapping[str, Any]) -> None:
        self._database.call(partial(notes.save, election=election, note=json.dumps(note)), Need.SYNC)

    # --- presence

    def announce(self, role: str, info: Mapping[str, Any], wait: bool = True) -> None:
        text = json.dumps(info)
        until = boottime() + (self._timeout if wait else 0)
        with self._bell.heard(SESSIONS) as changed:
            while not self._announce(role, text):
                changed.wait(max(0.0, until - boottime()))
                changed.clear()
                if boottime() >= until:
                    raise self._unseen(role)
        self._keeper.roles[role] = text

    def _announce(self, role: str, info: str) -> bool:
        session = self._alive()
        if session is None:
            return False
        announce = partial(sessions.announce, session=session, role=role, name=self.name, info=info)
        return self._database.call(announce)

    def _unseen(self, role: str) -> Exception:
        if self._alive() is None:
            return CoordinationAway(f"{self._path}: no session within {self._timeout:g} s")
        return NameInUse(f"{self.name}: another live process among the {role} has this name")

    def members(self, role: str) -> dict[str, dict[str, Any]]:
        found = self._database.call(partial(sessions.members, role=role), Need.READ)
        return {name: json.loads(info) for name, info in found.items()}

    # --- inbox

    def send(self, name: str, message: Mapping[str, Any], topic: str = "") -> None:
        put = partial(inbox.send, inbox=inbox_name(name, topic), message=json.dumps(message))
        self._database.call(put, Need.SYNC)

    def listen(self, handler: Callable[[dict[str, Any]], None], topic: str = "") -> None:
        self._inbox.listen(handler, topic)


_open: WeakSet[SqliteCoordination] = WeakSet()  # for the handler of forks


def _after_fork() -> None:
    for coordination in list(_open):
        coordination._forked()
    _open.clear()


os.register_at_fork(after_in_child=_after_fork)
