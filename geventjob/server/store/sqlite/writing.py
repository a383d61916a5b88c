"""Writes: the items of many callers in one transaction, on the connection that writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple, TypeVar, Union, cast

import msgspec

from geventjob.cimi.document import Document
from geventjob.server.store.base import Change, DuplicateKey, Insert, NoSuchDocument, StoreRefused, Update, kind_of
from geventjob.server.store.sqlite.access import AccessLists
from geventjob.server.store.sqlite.file import failure
from geventjob.server.store.sqlite.rows import NAMES, PARTS, document, values
from geventjob.server.store.sqlite.search import TableSearch
from geventjob.server.store.sqlite.terms import TermsOf, TermWriter, changed_column, column
from geventjob.server.store.sqlite.totals import Group, TotalsWriter, group


@dataclass(frozen=True)
class DeleteRows:
    """Delete the rows that still match the search; the result is the list of the deleted documents."""

    search: TableSearch
    rows: Sequence[int]


class Before(NamedTuple):
    """A row before changes, which may modify the parts of the document in place."""

    row_number: int
    columns: list[Any]
    document: Document
    acl: bytes
    """The JSON of the acl."""
    terms: TermsOf

    @classmethod
    def row(cls, row: int, columns: list[Any]) -> Before:
        """Return a row with what changes could modify."""
        state = document(*columns[-len(PARTS) :])
        return cls(row, columns, state, _encode(state.get("acl")), TermsOf.document(state))


Item = Union[Insert, Update, DeleteRows]
Result = Union[Document, "list[Document]", Exception, None]
Found = TypeVar("Found")

_encode = msgspec.json.Encoder().encode


class TransactionWriter:
    """Writer of lists of items, all in one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._access = AccessLists(connection)
        self._terms = TermWriter(connection)
        self._totals = TotalsWriter(connection)

    def __call__(self, lists: Sequence[Sequence[Item]]) -> list[list[Result]]:
        """Carry out all items, each list in order, and commit, without a wait for the disk.

        Raises StoreAway if the outcome is unknown.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [self._results(items) for items in lists]
            self._terms.write()
            self._totals.write()
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            meant = failure(error)
            if not isinstance(meant, StoreRefused):
                raise meant from error
            return [[meant for _ in items] for items in lists]
        self._terms.catch_up(sum(map(len, lists)))
        return results

    def _undo(self) -> None:
        for part in (self._access, self._terms, self._totals):
            part.clear()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _results(self, items: Sequence[Item]) -> list[Result]:
        """Return the result of each item, in order; updates in a row of one document become one write."""
        results: list[Result] = []
        for are_updates, run in groupby(items, lambda item: isinstance(item, Update)):
            if are_updates:
                results += self._updated(cast("list[Update]", list(run)))
            else:
                results += [self._result(item) for item in run]
        return results

    def _updated(self, items: Sequence[Update]) -> list[Result]:
        by_id: dict[str, list[int]] = {}
        for index, item in enumerate(items):
            by_id.setdefault(item.id, []).append(index)
        results: dict[int, Result] = {}
        for id, indexes in by_id.items():
            found = self._alone(self._update, id, [items[index].change for index in indexes])
            results |= zip(indexes, [found] * len(indexes) if isinstance(found, Exception) else found, strict=True)
        return [results[index] for index in range(len(items))]

    def _result(self, item: Item) -> Result:
        if isinstance(item, Insert):
            return self._alone(self._insert, item)
        return self._alone(self._delete_rows, cast(DeleteRows, item))

    def _alone(self, do: Callable[..., Found], *arguments: object) -> Found | Exception:
        """Return the result or the error of a call. Raises errors of the database file."""
        try:
            return do(*arguments)
        except (sqlite3.OperationalError, sqlite3.InternalError):
            raise
        except Exception as error:  # an error of this item, such as an error that a change raised
            if type(error) is sqlite3.DatabaseError:  # the file is damaged
                raise
            return error

    def _insert(self, item: Insert) -> Document:
        id, key = item.document["id"], item.key
        access, terms = self._access.id_of(item.document), column(item.document)
        try:
            new = values(item.document, access, terms)
            row = self._connection.execute(_inserting(kind_of(id)), (key, *new)).lastrowid
        except sqlite3.IntegrityError:
            occupied = f"SELECT {', '.join(PARTS)} FROM [{kind_of(id)}] WHERE id = ? OR key = ?"
            raise DuplicateKey(document(*self._connection.execute(occupied, (id, key)).fetchone())) from None
        self._totals.add(_group(kind_of(id), new), item.document.get("duration"))
        self._terms.change(kind_of(id), cast(int, row), None)
        return item.document

    def _update(self, id: str, changes: Sequence[Change]) -> list[Result]:
        """Apply the changes to a document in turn, and write the document once."""
        kind = kind_of(id)
        found = self._connection.execute(f"SELECT row, {_COLUMNS} FROM [{kind}] AS d WHERE id = ?", (id,)).fetchone()
        if not found:
            return [NoSuchDocument(id) for _ in changes]
        row, *old = found
        before = Before.row(row, old)
        results, changed = _changed(id, before.document, changes)
        try:
            self._write(kind, before, changed)
        except UnicodeEncodeError as error:
            return [result if isinstance(result, Exception) else error for result in results]
        return results

    def _write(self, kind: str, before: Before, changed: Document | None) -> None:
        row, old = before.row_number, before.columns
        if changed is None:
            self._connection.execute(f"DELETE FROM [{kind}] WHERE row = ?", (row,))
            self._forget(kind, row, old, before.document)
            return
        access = old[_ACCESS] if _encode(changed.get("acl")) == before.acl else self._access.id_of(changed)
        new = values(changed, access, changed_column(old[_TERMS], before.terms, changed))
        if list(new[-len(PARTS) :]) != old[-len(PARTS) :]:
            different = {name: is_ for name, was, is_ in zip(NAMES, old, new, strict=True) if was != is_}
            self._connection.execute(_updating(kind, tuple(different)), (*different.values(), row))
            self._totals.add(_group(kind, old), before.document.get("duration"), -1)
            self._totals.add(_group(kind, new), changed.get("duration"))
            if "terms" in different:
                self._terms.change(kind, row, old[_TERMS])

    def _forget(self, kind: str, row: int, old: Sequence[Any], state: Document) -> None:
        """Take a deleted row out of the totals and the index of terms."""
        self._totals.add(_group(kind, old), state.get("duration"), -1)
        self._terms.change(kind, row, old[_TERMS])

    def _delete_rows(self, item: DeleteRows) -> list[Document]:
        search = item.search
        found = self._connection.execute(
            f"SELECT d.row, {_COLUMNS} FROM json_each(:rows) AS listed "
            f"CROSS JOIN [{search.kind}] AS d ON d.row = listed.value WHERE {search.condition}",
            {**search.sql.parameters, "rows": msgspec.json.encode(item.rows).decode()},
        ).fetchall()
        self._connection.executemany(f"DELETE FROM [{search.kind}] WHERE row = ?", [(row,) for row, *_ in found])
        deleted = [document(*old[-len(PARTS) :]) for _, *old in found]
        for (row, *old), state in zip(found, deleted, strict=True):
            self._forget(search.kind, row, old, state)
        return deleted


def _changed(id: str, current: Document | None, changes: Sequence[Change]) -> tuple[list[Result], Document | None]:
    """Apply the changes in turn; return the result of each, and the final document (None: deleted)."""
    results: list[Result] = []
    for change in changes:
        if current is None:
            results.append(NoSuchDocument(id))
            continue
        try:
            changed = change(current.copy())
            if changed is not None and changed["id"] != id:
                raise ValueError(f"a change of {id} changed the id to {changed['id']}")
        except Exception as error:  # an error of this change; the others go on
            results.append(error)
        else:
            results.append(changed)
            current = changed
    return results, current


_COLUMNS = ", ".join(f'd."{name}"' for name in NAMES)
_NAMES = ", ".join(f'"{name}"' for name in NAMES)
_ACCESS, _TERMS, _DOCUMENT = map(NAMES.index, ("access", "terms", "document"))
_STATE, _ACTION, _CREATED = map(NAMES.index, ("state", "action", "created"))


def _group(kind: str, columns: Sequence[Any]) -> Group:
    return group(kind, columns[_STATE], columns[_ACTION], columns[_ACCESS], columns[_CREATED])


def _inserting(kind: str) -> str:
    return f"INSERT INTO [{kind}] (key, {_NAMES}) VALUES (?{', ?' * len(NAMES)})"


@lru_cache(1024)
def _updating(kind: str, names: tuple[str, ...]) -> str:
    """Return an UPDATE of these columns; SQLite leaves the indexes of other columns alone."""
    assignments = ", ".join(f'"{name}" = ?' for name in names)
    return f"UPDATE [{kind}] SET {assignments} WHERE row = ?"
