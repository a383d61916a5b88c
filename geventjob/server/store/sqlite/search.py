"""One query on one connection: its count, page and aggregations are of the same state of the file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from geventjob.server.filter import FilterError
from geventjob.server.store.attributes import NOT_SEARCHED
from geventjob.server.store.base import WINDOW, Document, Page, Query, SearchTooLong
from geventjob.server.store.resolve import resolve
from geventjob.server.store.sqlite.aggregation import aggregated
from geventjob.server.store.sqlite.file import failure
from geventjob.server.store.sqlite.rows import document
from geventjob.server.store.sqlite.sql import Sql

_STEPS = 500_000
"""Of SQLite's machine, some 10 ms, from one look at the clock to the next; each needs the GIL."""


class Search:
    """A query ready to run."""

    def __init__(self, kind: str, query: Query, now: datetime) -> None:
        """Raises FilterError."""
        self.kind = kind
        self.sql = Sql()
        self.condition = "TRUE"
        if query.filter is not None:
            self.condition = self.sql.condition(resolve(query.filter, now))
        if query.viewers is not None:
            self.condition = f"{self.condition} AND {self.sql.seen_by(query.viewers)}"
        self._query = query

    def page(self, connection: sqlite3.Connection, deadline: float) -> Page:
        """What matches. `deadline` is in seconds of time.monotonic(). Raises SearchTooLong, StoreAway."""
        with _reading(connection, deadline):
            first, last = max(1, self._query.first), self._query.last
            rows = self._rows(connection, first, min(WINDOW, WINDOW if last is None else last - first + 1))
            return Page(
                self._count(connection, len(rows)),
                self._documents(connection, rows),
                {
                    f"{algorithm}:{name}": self._aggregated(connection, algorithm, name)
                    for algorithm, name in self._query.aggregations
                },
            )

    def rows(self, connection: sqlite3.Connection, deadline: float, limit: int) -> list[int]:
        """Up to so many of the rows that match. Raises as `page` does."""
        with _reading(connection, deadline):
            return self._rows(connection, 1, limit)

    def _rows(self, connection: sqlite3.Connection, first: int, limit: int) -> list[int]:
        if limit <= 0:
            return []
        order = [self.sql.order(_path(name), descending=descending) for name, descending in self._query.orderby]
        found = connection.execute(
            f"SELECT d.row FROM {self.kind} AS d WHERE {self.condition} "
            f"ORDER BY {', '.join([*order, 'd.id'])} LIMIT {limit} OFFSET {first - 1}",
            self.sql.parameters,
        )
        return [row for (row,) in found]

    def _count(self, connection: sqlite3.Connection, found: int) -> int:
        if self._query.first <= 1 and self._query.last is None and found < WINDOW:
            return found
        count = f"SELECT count(*) FROM {self.kind} AS d WHERE {self.condition}"
        return int(connection.execute(count, self.sql.parameters).fetchone()[0])

    def _documents(self, connection: sqlite3.Connection, rows: Sequence[int]) -> list[Document]:
        select = self._query.select
        payload = "payload" if select is None or NOT_SEARCHED in select else "NULL"
        read = f"SELECT document, {payload} FROM {self.kind} WHERE row = ?"
        found = [document(*connection.execute(read, (row,)).fetchone()) for row in rows]
        if select is None:
            return found
        wanted = {"id", "acl", *select}
        return [{name: value for name, value in one.items() if name in wanted} for one in found]

    def _aggregated(self, connection: sqlite3.Connection, algorithm: str, name: str) -> dict[str, object]:
        values = self.sql.values(_path(name), self.kind, self.condition)
        return aggregated(connection, algorithm, _path(name), values, self.sql.parameters)


def _path(name: str) -> tuple[str, ...]:
    return tuple(name.split("/"))


@contextmanager
def _reading(connection: sqlite3.Connection, deadline: float) -> Iterator[None]:
    """A read transaction that ends at the deadline."""
    if time.monotonic() > deadline:
        raise SearchTooLong("too many searches wait")
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
        return SearchTooLong("the search took too long: a narrower filter may help")
    if any(words in message for words in ("parser stack overflow", "too large", "too many")):
        return FilterError(f"the filter is too complex ({message})")
    return failure(error)
