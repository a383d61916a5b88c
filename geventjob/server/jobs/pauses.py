"""Pauses: actions whose jobs wait before the queue until an administrator resumes them, or until a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time, now
from geventjob.server.accounts.acl import acl
from geventjob.server.document import new_document
from geventjob.server.gate.rulebook import RuleBook
from geventjob.server.gate.rules import is_over, pause_id
from geventjob.server.problem import not_found
from geventjob.server.store.base import DuplicateKey, Insert, NoSuchDocument, Store, Update, write_one


class PauseService:
    """The pauses of a server. The caller has checked the rights."""

    def __init__(self, store: Store, book: RuleBook) -> None:
        """Keep the parts. `book`: the rules of this server, which are read again after a change."""
        self._store = store
        self._book = book

    def pause(self, action: str, by: str, why: str | None, until: datetime | None) -> Document:
        """Pause an action, paused or not, or all actions (ALL_ACTIONS), and return the pause. Raises StoreError."""
        moment = cimi_time(now())
        told = {"action": action, "by": by, "why": why, "until": until and cimi_time(until), "since": moment}
        given = {name: value for name, value in told.items() if value is not None}
        pause = self._put({**new_document(pause_id(action), "Pause", acl("ROLE", "ADMIN")), **given})
        self._book.changed()
        return pause

    def _put(self, pause: Document) -> Document:
        """Write a pause in place of an earlier one. A pause that goes on has begun when the earlier one did."""

        def change(before: Document) -> Document:
            goes_on = {} if is_over(before, pause["since"]) else {"since": before["since"]}
            return {**pause, "created": before["created"], **goes_on}

        while True:
            try:
                written = write_one(self._store, Update(pause["id"], change))
            except NoSuchDocument:
                try:
                    written = write_one(self._store, Insert(pause))
                except DuplicateKey:  # another administrator was quicker
                    continue
            assert written is not None
            return written

    def get(self, action: str) -> Document:
        """Return the pause of an action. Raises Problem 404, StoreError."""
        (pause,) = self._store.get([pause_id(action)])
        if pause is None or is_over(pause, cimi_time(now())):
            raise not_found(pause_id(action))
        return pause

    def all(self) -> list[Document]:
        """Return the pauses that are in force, as this server knows them, by action. Raises StoreError."""
        time = cimi_time(now())
        return [pause for pause in self._book.rules.pauses.values() if not is_over(pause, time)]

    def resume(self, action: str) -> None:
        """End the pause of an action. Raises Problem 404, StoreError."""
        pause = self.get(action)
        try:
            write_one(self._store, Update(pause["id"], _deleted))
        except NoSuchDocument:
            raise not_found(pause["id"]) from None
        finally:
            self._book.changed()


def _deleted(_: Mapping[str, Any]) -> None:
    return None
