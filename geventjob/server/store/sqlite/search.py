"""Searches: the count, page and aggregations of a query in one transaction, and so of one state of the file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from geventjob.cimi.document import WINDOW, Document
from geventjob.server.filter import FilterError
from geventjob.server.store.attributes import NOT_SEARCHED, Path, path_of, searched
from geventjob.server.store.base import Page, Query, SearchTooLong
from geventjob.server.store.resolve import Exists, Not, resolve
from geventjob.server.store.sqlite.aggregation import AttributeValues, summed
from geventjob.server.store.sqlite.file import failure
from geventjob.server.store.sqlite.matches import Matches
from geventjob.server.store.sqlite.rows import PARTS, document
from geventjob.server.store.sqlite.sql import Sql
from geventjob.server.store.sqlite.totals import COUNTED, SUMMED

_STEPS = 500_000
"""Steps of SQLite's virtual machine between two checks of the deadline, some 10 ms; each check needs the GIL."""
ORDERS: Mapping[tuple[Path, ...], str] = {
    (): "id",
    (("created",),): "created",
    (("updated",),): "updated",
    (("priority",),): "priority",
}
"""The index of each order along which matches are read."""


class TableSearch:
    """A query on the table of a kind, translated to SQL."""

    def __init__(self, kind: str, query: Query, now: datetime) -> None:
        """Translate the query; date math starts from `now`. Raises FilterError."""
        self.kind = kind
        self.sql = Sql(kind)
        self._filter = None if query.filter is None else resolve(query.filter, now)
        parts = [] if self._filter is None else [self.sql.condition(self._filter)]
        if query.viewers is not None:
            parts.append(self.sql.seen_by(query.viewers))
        self.condition = " AND ".join(parts) or "TRUE"
        self._query = query

    def page(self, connection: sqlite3.Connection, deadline: float) -> Page:
        """Return the result of the query.

        `deadline`: in seconds of time.monotonic(). Raises FilterError, SearchTooLong, StoreAway.
        """
        with _reading(connection, deadline):
            if not self._query.counted:
                rows = self._uncounted_rows(connection)
                return Page(len(rows), self._documents(connection, rows))
            matches = self._matches(connection)
            count = matches.count()
            rows = self._page_rows(connection, matches, count)
            aggregations = {
                f"{algorithm}:{name}": self._aggregated(connection, matches, algorithm, name)
                for algorithm, name in self._query.aggregations
            }
            return Page(count, self._documents(connection, rows), aggregations)

    def rows(self, connection: sqlite3.Connection, deadline: float, limit: int) -> list[int]:
        """Return up to `limit` numbers of matching rows, in no order. Raises the errors of `page`."""
        with _reading(connection, deadline):
            condition, sql = self._matches(connection).looked_up()
            return self._rows(connection, sql, f"WHERE {condition} LIMIT {limit}")

    def _matches(self, connection: sqlite3.Connection) -> Matches:
        return Matches(connection, self.kind, self._filter, self._query.viewers)

    def _uncounted_rows(self, connection: sqlite3.Connection) -> list[int]:
        first, limit = max(1, self._query.first), self._query.last or WINDOW
        order = self._order(self.sql, "")
        return self._rows(connection, self.sql, f"WHERE {self.condition} {order} LIMIT {limit} OFFSET {first - 1}")

    def _page_rows(self, connection: sqlite3.Connection, matches: Matches, count: int) -> list[int]:
        """Return the rows of the page of so many matches."""
        first, last = max(1, self._query.first), self._query.last
        limit = WINDOW if last is None else min(WINDOW, last - first + 1)
        if limit <= 0 or count < first:
            return []
        few = count * count <= (first - 1 + limit) * matches.total
        condition, sql = matches.looked_up() if few else matches.compared()
        along, order = ("", self._order(sql, "+")) if few else (self._along(), self._order(sql, ""))
        return self._rows(connection, sql, f"{along} WHERE {condition} {order} LIMIT {limit} OFFSET {first - 1}")

    def _along(self) -> str:
        """Return the words that make SQLite read along the index of the order, if there is one."""
        index = ORDERS.get(tuple(path_of(name) for name, _ in self._query.orderby))
        return f"INDEXED BY {self.kind}_{index}" if index else ""

    def _order(self, sql: Sql, mark: str) -> str:
        """Return ORDER BY. The mark `+` before each key keeps SQLite from reading along an index of the order."""
        keys = [sql.order(path_of(name), descending=descending) for name, descending in self._query.orderby]
        return "ORDER BY " + ", ".join(mark + key for key in [*keys, "d.id"])

    def _rows(self, connection: sqlite3.Connection, sql: Sql, rest: str) -> list[int]:
        found = connection.execute(f"SELECT d.row FROM [{self.kind}] AS d {rest}", sql.parameters)
        return [row for (row,) in found]

    def _documents(self, connection: sqlite3.Connection, rows: Sequence[int]) -> list[Document]:
        select = self._query.select
        read = f"SELECT {_parts(select)} FROM [{self.kind}] WHERE row = ?"
        found = [document(*connection.execute(read, (row,)).fetchone()) for row in rows]
        if select is None:
            return found
        wanted = {"id", "acl", *select}
        return [{name: value for name, value in one.items() if name in wanted} for one in found]

    def _aggregated(
        self, connection: sqlite3.Connection, matches: Matches, algorithm: str, name: str
    ) -> dict[str, object]:
        path = path_of(name)
        if algorithm == "missing":
            return {"doc_count": matches.count(Not(Exists(path))) if searched(path) else matches.count()}
        if path == SUMMED and matches.grouped() and algorithm in ("count", "sum", "avg"):
            return summed(algorithm, matches.summed("timed"), matches.summed("seconds"))
        if path in COUNTED and matches.grouped():
            condition, sql = matches.compared()
            source = sql.groups(path, condition)
        else:
            condition, sql = matches.looked_up()
            source = sql.values(path, condition)
        return AttributeValues(connection, path, source, sql.parameters).aggregated(algorithm)


def _parts(select: Sequence[str] | None) -> str:
    """Return the columns PARTS to read, with NULL in place of those that `select` does not need."""
    if select is None:
        return ", ".join(PARTS)
    large = NOT_SEARCHED.intersection(select)
    payload, reports = "payload" if "payload" in large else "NULL", "reports" if large - {"payload"} else "NULL"
    return f"document, {payload}, {reports}"


@contextmanager
def _reading(connection: sqlite3.Connection, deadline: float) -> Iterator[None]:
    """Run a read transaction, interrupted at the deadline, in seconds of time.monotonic(). Raises as `page` does."""
    if time.monotonic() > deadline:
        raise SearchTooLong(SearchTooLong.WAITING)
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    try:
        connection.execute("BEGIN")
        yield
    except sqlite3.Error as error:
        raise _meant(error) from error
    finally:
        connection.set_progress_handler(None, 0)
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _meant(error: sqlite3.Error) -> Exception:
    message = str(error)
    if message == "interrupted":
        return SearchTooLong(SearchTooLong.SLOW)
    if any(words in message for words in ("parser stack overflow", "too large", "too many")):
        return FilterError(f"the filter is too complex ({message})")
    return failure(error)
