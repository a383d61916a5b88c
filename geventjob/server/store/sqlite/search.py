"""Searches: the count, page and aggregations of a query in one transaction, and so of one state of the file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from geventjob.cimi.document import WINDOW, Document
from geventjob.server.filter import FilterError
from geventjob.server.store.attributes import NOT_SEARCHED, Path, path_of, searched
from geventjob.server.store.base import Page, Query, SearchTooLong
from geventjob.server.store.resolve import Exists, Not, resolve
from geventjob.server.store.sqlite.aggregation import AttributeValues
from geventjob.server.store.sqlite.file import failure
from geventjob.server.store.sqlite.rows import PARTS, document
from geventjob.server.store.sqlite.sql import Sql

_STEPS = 500_000
"""Steps of SQLite's virtual machine between two checks of the deadline, some 10 ms; each check needs the GIL."""
FEW = 5_000
"""Largest number of matches for which finding all and sorting beats reading along an index of the order."""


class TableSearch:
    """A query on the table of a kind, translated to SQL."""

    def __init__(self, kind: str, query: Query, now: datetime) -> None:
        """Translate the query; date math starts from `now`. Raises FilterError."""
        self.kind = kind
        self.sql = Sql()
        self.condition = "TRUE"
        if query.filter is not None:
            self.condition = self.sql.condition(resolve(query.filter, now))
        if query.viewers is not None:
            self.condition = f"{self.condition} AND {self.sql.seen_by(query.viewers)}"
        self._query = query

    def page(self, connection: sqlite3.Connection, deadline: float) -> Page:
        """Return the result of the query.

        `deadline`: in seconds of time.monotonic(). Raises FilterError, SearchTooLong, StoreAway.
        """
        with _reading(connection, deadline):
            count, rows = self._counted_rows(connection)
            aggregations = {
                f"{algorithm}:{name}": self._aggregated(connection, algorithm, name)
                for algorithm, name in self._query.aggregations
            }
            return Page(count, self._documents(connection, rows), aggregations)

    def rows(self, connection: sqlite3.Connection, deadline: float, limit: int) -> list[int]:
        """Return up to `limit` numbers of matching rows, in no order. Raises the errors of `page`."""
        with _reading(connection, deadline):
            return self._rows(connection, f"LIMIT {limit}")

    def _counted_rows(self, connection: sqlite3.Connection) -> tuple[int, list[int]]:
        """Return the number of matches, and the rows of the page. A first page that is not full needs no count."""
        first, last = max(1, self._query.first), self._query.last
        if not self._query.counted:
            rows = self._rows(connection, f"{self._order(few=False)} LIMIT {last or WINDOW} OFFSET {first - 1}")
            return len(rows), rows
        if last is None:
            rows = self._rows(connection, f"{self._order(few=True)} LIMIT {WINDOW} OFFSET {first - 1}")
            return len(rows) if first == 1 and len(rows) < WINDOW else self._count(connection), rows
        count = self._count(connection)
        limit = min(WINDOW, last - first + 1)
        if limit <= 0 or count < first:
            return count, []
        return count, self._rows(connection, f"{self._order(few=count <= FEW)} LIMIT {limit} OFFSET {first - 1}")

    def _order(self, *, few: bool) -> str:
        """Return ORDER BY. A `+` before each key keeps SQLite from scanning an index of the order for few matches."""
        keys = [self.sql.order(path_of(name), descending=descending) for name, descending in self._query.orderby]
        mark = "+" if few and self.condition != "TRUE" else ""
        return "ORDER BY " + ", ".join(mark + key for key in [*keys, "d.id"])

    def _rows(self, connection: sqlite3.Connection, order_and_limit: str) -> list[int]:
        found = connection.execute(
            f"SELECT d.row FROM [{self.kind}] AS d WHERE {self.condition} {order_and_limit}", self.sql.parameters
        )
        return [row for (row,) in found]

    def _count(self, connection: sqlite3.Connection, also: str = "TRUE") -> int:
        count = f"SELECT count(*) FROM [{self.kind}] AS d WHERE {self.condition} AND {also}"
        return int(connection.execute(count, self.sql.parameters).fetchone()[0])

    def _documents(self, connection: sqlite3.Connection, rows: Sequence[int]) -> list[Document]:
        select = self._query.select
        read = f"SELECT {_parts(select)} FROM [{self.kind}] WHERE row = ?"
        found = [document(*connection.execute(read, (row,)).fetchone()) for row in rows]
        if select is None:
            return found
        wanted = {"id", "acl", *select}
        return [{name: value for name, value in one.items() if name in wanted} for one in found]

    def _aggregated(self, connection: sqlite3.Connection, algorithm: str, name: str) -> dict[str, object]:
        path = path_of(name)
        if algorithm == "missing":
            return {"doc_count": self._count(connection, self._lacking(path))}
        source = self.sql.values(path, self.kind, self.condition)
        return AttributeValues(connection, path, source, self.sql.parameters).aggregated(algorithm)

    def _lacking(self, path: Path) -> str:
        """Return the SQL condition that an attribute has no searchable value."""
        return self.sql.condition(Not(Exists(path))) if searched(path) else "TRUE"


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
