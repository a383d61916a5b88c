"""The documents that match a search: how many there are, and the two ways to find them.

Few matches are looked up in indexes and sorted. Many are read along an index of the order, until the page is full: the
denser the matches, the sooner. Both ways cost the same where the square of the number of matches is the page times the
number of all documents, so that no page reads more than some thousand rows of a million.
"""

from __future__ import annotations

import sqlite3
from typing import Union

from geventjob.server.filter.tree import fold
from geventjob.server.store.attributes import Path
from geventjob.server.store.resolve import Begins, Condition, Exists, Is, Not, Within
from geventjob.server.store.sqlite import totals
from geventjob.server.store.sqlite.sql import ACL, Sql, documents_with, exact
from geventjob.server.store.sqlite.terms import indexed

FEW = 5_000
"""Most matches of one condition that are looked up rather than compared in each row."""
BOUNDS = 8
"""Most hours that are counted by themselves, as some of their documents match and some do not."""

Leaf = Union[Is, Within, Begins, Exists]
Expression = tuple[str, Sql]
"""A condition, and its parameters."""


class Matches:
    """The matches in one state of the file."""

    def __init__(
        self, connection: sqlite3.Connection, kind: str, condition: Condition | None, viewers: frozenset[str] | None
    ) -> None:
        self._connection = connection
        self.kind = kind
        self._condition = condition
        self._viewers = viewers
        self._mark = ""
        self.total = self._sum("n", ("TRUE", Sql(kind)))
        """The number of all documents of the kind."""
        if viewers is not None:
            seen = self._sum("n", self._translated(Sql(kind), None))
            self._viewers = None if seen == self.total else viewers
            self._mark = "+" if seen > FEW else ""

    def looked_up(self) -> Expression:
        """Return the condition in the form that indexes serve."""
        return self._translated(Sql(self.kind, self._few), self._condition)

    def compared(self) -> Expression:
        """Return the condition in the form that is compared with each row."""
        return self._translated(Sql(self.kind), self._condition)

    def count(self, *also: Condition) -> int:
        """Return the number of the matches that meet these conditions too."""
        conditions = [*also] if self._condition is None else [self._condition, *also]
        leaves = [leaf for condition in conditions for leaf in leaves_of(condition)]
        bounds = [bound for leaf in leaves if leaf.path == totals.CREATED for bound in _bounds(leaf)]
        hours = totals.hours(bounds)
        if all(_in_totals(leaf.path) for leaf in leaves) and len(hours) <= BOUNDS:
            return self._by_hour(conditions, hours)
        if len(conditions) == 1 and self._viewers is None:
            [condition] = conditions
            if isinstance(condition, (Is, Begins)) and indexed(self.kind, condition.path) and exact(condition):
                return self._in_index(condition)
        return self._in_table(self._translated(Sql(self.kind, self._few), *conditions))

    def grouped(self) -> bool:
        """Return whether totals tell all of the matches."""
        return self._condition is None or all(_group_of(leaf.path) for leaf in leaves_of(self._condition))

    def summed(self, column: str) -> int:
        """Return the sum of a column of the totals of all matches, where they are `grouped`."""
        return self._sum(column, self.compared())

    # --- parts

    def _translated(self, sql: Sql, *conditions: Condition | None) -> Expression:
        parts = [sql.condition(condition) for condition in conditions if condition is not None]
        if self._viewers is not None:
            parts.append(self._mark + sql.seen_by(self._viewers))
        return " AND ".join(parts) or "TRUE", sql

    def _by_hour(self, conditions: list[Condition], hours: list[str]) -> int:
        """Sum the totals of the hours that lie on one side of all bounds, and count in the table in the others."""
        expression, sql = self._translated(Sql(self.kind), *conditions)
        apart = "".join(f" AND d.created IS NOT {sql.bound(hour)}" for hour in hours)
        count = self._sum("n", (expression + apart, sql))
        for hour in hours:
            expression, sql = self._translated(Sql(self.kind), *conditions)
            within = f"d.created >= {sql.bound(hour)} AND d.created < {sql.bound(hour + ';')}"  # `;` follows `:`
            count += self._in_table((f"{expression} AND {within}", sql))
        return count

    def _sum(self, column: str, expression: Expression) -> int:
        where, sql = expression
        found = f"SELECT total(d.{column}) FROM totals AS d WHERE d.kind = '{self.kind}' AND {where}"
        return int(self._connection.execute(found, sql.parameters).fetchone()[0])

    def _in_table(self, expression: Expression) -> int:
        where, sql = expression
        count = f"SELECT count(*) FROM [{self.kind}] AS d WHERE {where}"
        return int(self._connection.execute(count, sql.parameters).fetchone()[0])

    def _in_index(self, leaf: Is | Begins) -> int:
        """Return how many rows the index of terms finds; stale rows are counted by their present terms."""
        stale = f"{self.kind}_stale"
        (found,) = self._connection.execute(*documents_with(self.kind, leaf)).fetchone()
        known, now = Sql(self.kind), Sql(self.kind)
        (outdated,) = self._connection.execute(
            f"SELECT count(*) FROM {stale} AS d WHERE {known.some_term(leaf)}", known.parameters
        ).fetchone()
        among = f"{now.condition(leaf)} AND d.row IN (SELECT row FROM {stale})"
        return int(found) - int(outdated) + self._in_table((among, now))

    def _few(self, match: str) -> bool:
        table = f"{self.kind}_terms"
        count = f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {table} MATCH ? LIMIT {FEW + 1})"
        return int(self._connection.execute(count, (match,)).fetchone()[0]) <= FEW


def leaves_of(condition: Condition) -> list[Leaf]:
    """Return the leaves of a condition, each without its Not."""
    found: list[Leaf] = []
    fold(condition, lambda leaf: found.append(leaf.condition if isinstance(leaf, Not) else leaf), lambda *_: None)
    return found


def _bounds(leaf: Leaf) -> list[str]:
    if isinstance(leaf, Is):
        return [str(leaf.value)]
    return [str(value) for _, value in leaf.bounds] if isinstance(leaf, Within) else []


def _group_of(path: Path) -> bool:
    return path in totals.COUNTED or path[0] == ACL


def _in_totals(path: Path) -> bool:
    return _group_of(path) or path == totals.CREATED
