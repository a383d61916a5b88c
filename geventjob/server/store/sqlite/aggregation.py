"""Aggregations in SQL, over the values of one attribute in all matches (shapes: store/aggregation.py)."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from geventjob.server.store.aggregation import (
    BUCKETS,
    Result,
    extended,
    interpolated,
    looks_at,
    of_nothing,
    plain,
    stats,
    terms,
)
from geventjob.server.store.attributes import Path, Type, type_of
from geventjob.server.store.dates import milliseconds

_FUNCTIONS = {
    "count": "coalesce(sum(n), 0)",
    "cardinality": "count(DISTINCT v)",
    "min": "min(v)",
    "max": "max(v)",
    "sum": "total(v)",
    "avg": "avg(v)",
}


class AttributeValues:
    """The values of one attribute in a search."""

    def __init__(self, connection: sqlite3.Connection, path: Path, source: str, parameters: dict[str, Any]) -> None:
        """Take a FROM item with the columns `v` and `n` (`Sql.values`), and its `parameters`."""
        self._connection = connection
        self._path = path
        self._source = source
        self._parameters = parameters

    def aggregated(self, algorithm: str) -> Result:
        """Return the result of an algorithm other than `missing`, which counts documents."""
        if not looks_at(algorithm, self._path):
            return of_nothing(algorithm)
        of_several = {
            "terms": self._terms,
            "stats": self._stats,
            "extendedstats": self._extended,
            "percentiles": self._percentiles,
        }
        return plain(of_several[algorithm]() if algorithm in of_several else self._single(algorithm))  # type: ignore[no-any-return]

    def _single(self, algorithm: str) -> Result:
        (value,) = self._row(_FUNCTIONS[algorithm])
        if algorithm in ("min", "max") and type_of(self._path) is Type.DATE and value is not None:
            return {"value": milliseconds(value), "value_as_string": value}
        return {"value": value}

    def _terms(self) -> Result:
        found = self._rows("v, sum(n) AS s, sum(sum(n)) OVER ()", f"GROUP BY v ORDER BY s DESC, v LIMIT {BUCKETS}")
        is_boolean = type_of(self._path) is Type.BOOLEAN
        total = found[0][2] if found else 0
        buckets = [(bool(value) if is_boolean else value, count) for value, count, _ in found]
        return terms(buckets, total - sum(count for _, count in buckets))

    def _stats(self) -> Result:
        return stats(*self._row("count(v), min(v), max(v), total(v)"))

    def _extended(self) -> Result:
        """Compute the variance in a second pass: differences of large squares would lose precision."""
        plain = self._stats()
        if not plain["count"]:
            return of_nothing("extendedstats")
        squares, spread = self._row("total(1.0 * v * v), total((v - :mean) * (v - :mean))", mean=plain["avg"])
        return extended(plain, squares, spread / plain["count"])

    def _percentiles(self) -> Result:
        (count,) = self._row("count(v)")
        return interpolated(self._ranked, count) if count else of_nothing("percentiles")

    def _ranked(self, ranks: Sequence[int]) -> dict[int, float]:
        """Return the values at these ranks, counted from 0 in ascending order."""
        ranked = f"(SELECT v, row_number() OVER (ORDER BY v) - 1 AS rank FROM {self._source})"
        sql = f"SELECT rank, v FROM {ranked} WHERE rank IN ({', '.join(map(str, ranks))})"
        return dict(self._connection.execute(sql, self._parameters).fetchall())

    def _row(self, columns: str, **more: float) -> Any:
        [row] = self._rows(columns, "", **more)
        return row

    def _rows(self, columns: str, rest: str, **more: float) -> list[Any]:
        sql = f"SELECT {columns} FROM {self._source} {rest}"
        return self._connection.execute(sql, {**self._parameters, **more}).fetchall()


def summed(algorithm: str, count: int, total: int) -> Result:
    """Return the result of `count`, `sum` or `avg` of so many numbers with this sum."""
    if algorithm == "avg":
        return plain({"value": total / count if count else None})  # type: ignore[no-any-return]
    return {"value": count if algorithm == "count" else total}
