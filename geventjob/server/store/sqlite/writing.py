"""Writes on the one connection that writes, many of them in each transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Union

import msgspec

from geventjob.server.store.base import KINDS, Document, Insert, Missing, StoreRefused, Taken, Update
from geventjob.server.store.sqlite.file import failure
from geventjob.server.store.sqlite.rows import NAMES, document, values
from geventjob.server.store.sqlite.search import Search


@dataclass(frozen=True)
class Sweep:
    """Delete those of these rows that match; its result is their documents."""

    search: Search
    rows: Sequence[int]


Item = Union[Insert, Update, Sweep]
Result = Union[Document, "list[Document]", Exception, None]


class Writer:
    """Carries out lists of items, each list's in order, all in one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __call__(self, lists: Sequence[Sequence[Item]]) -> list[list[Result]]:
        """The results, durable. Raises StoreAway when it is not known whether any of it was written."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [[self._result(item) for item in items] for items in lists]
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            meant = failure(error)
            if not isinstance(meant, StoreRefused):
                raise meant from error
            return [[meant for _ in items] for items in lists]
        return results

    def _undo(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _result(self, item: Item) -> Result:
        try:
            if isinstance(item, Insert):
                return self._insert(item)
            return self._update(item) if isinstance(item, Update) else self._sweep(item)
        except (sqlite3.OperationalError, sqlite3.InternalError):
            raise
        except Exception as error:  # of this item alone, such as what its change raised
            if type(error) is sqlite3.DatabaseError:  # the file is damaged
                raise
            return error

    def _insert(self, item: Insert) -> Document:
        id, key = item.document["id"], item.key
        try:
            self._connection.execute(_inserting(kind_of(id)), (key, *values(item.document)))
        except sqlite3.IntegrityError:
            occupied = f"SELECT document, payload FROM {kind_of(id)} WHERE id = ? OR key = ?"
            raise Taken(document(*self._connection.execute(occupied, (id, key)).fetchone())) from None
        return item.document

    def _update(self, item: Update) -> Document | None:
        kind = kind_of(item.id)
        found = self._connection.execute(f"SELECT row, {_COLUMNS} FROM {kind} WHERE id = ?", (item.id,)).fetchone()
        if not found:
            raise Missing(item.id)
        row, *old = found
        changed = item.change(document(*old[-2:]))
        if changed is None:
            self._connection.execute(f"DELETE FROM {kind} WHERE row = ?", (row,))
            return None
        if changed["id"] != item.id:
            raise ValueError(f"a change of {item.id} made it {changed['id']}")
        new = values(changed)
        if list(new[-2:]) != old[-2:]:
            different = {name: is_ for name, was, is_ in zip(NAMES, old, new, strict=True) if was != is_}
            self._connection.execute(_updating(kind, tuple(different)), (*different.values(), row))
        return changed

    def _sweep(self, item: Sweep) -> list[Document]:
        search = item.search
        found = self._connection.execute(
            "SELECT d.row, d.document, d.payload FROM json_each(:rows) AS listed "
            f"CROSS JOIN {search.kind} AS d ON d.row = listed.value WHERE {search.condition}",
            {**search.sql.parameters, "rows": msgspec.json.encode(item.rows).decode()},
        ).fetchall()
        self._connection.executemany(f"DELETE FROM {search.kind} WHERE row = ?", [(row,) for row, _, _ in found])
        return [document(json, payload) for _, json, payload in found]


def kind_of(id: str) -> str:
    """The kind of a document. Raises ValueError for an id of none."""
    kind = id.partition("/")[0]
    if kind not in KINDS:
        raise ValueError(f"{id[:60]!r} is the id of no kind of document: {', '.join(KINDS)}")
    return kind


_COLUMNS = ", ".join(f'"{name}"' for name in NAMES)


def _inserting(kind: str) -> str:
    return f"INSERT INTO {kind} (key, {_COLUMNS}) VALUES (?{', ?' * len(NAMES)})"


@lru_cache(1024)
def _updating(kind: str, names: tuple[str, ...]) -> str:
    """Only these, so that indexes of other columns stay untouched."""
    assignments = ", ".join(f'"{name}" = ?' for name in names)
    return f"UPDATE {kind} SET {assignments} WHERE row = ?"
