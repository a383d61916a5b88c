"""Aggregations: what the values of an attribute are, over all that matches (CIMI.md §3)."""

from __future__ import annotations

import sqlite3
from typing import Any

from geventjob.server.store.attributes import Path, Type, type_of
from geventjob.server.store.dates import milliseconds

BUCKETS = 10
"""Values that are told apart, as Elasticsearch does; the others are counted together."""

_FUNCTIONS = {
    "count": "count(v)",
    "cardinality": "count(DISTINCT v)",
    "min": "min(v)",
    "max": "max(v)",
    "sum": "total(v)",
    "avg": "avg(v)",
}
_OF_NUMBERS = ("min", "max", "sum", "avg")


def aggregated(
    connection: sqlite3.Connection, algorithm: str, path: Path, values: str, parameters: dict[str, Any]
) -> dict[str, Any]:
    """The result over `values`, a FROM item with a column `v`. Only numbers are summed and averaged."""
    if algorithm == "terms":
        return _terms(connection, path, values, parameters)
    if algorithm in _OF_NUMBERS and not _has_numbers(algorithm, path):
        return {"value": 0 if algorithm == "sum" else None}
    (value,) = connection.execute(f"SELECT {_FUNCTIONS[algorithm]} FROM {values}", parameters).fetchone()
    if type_of(path) is Type.DATE and algorithm in _OF_NUMBERS and value is not None:
        return {"value": milliseconds(value), "value_as_string": value}
    return {"value": value}


def _has_numbers(algorithm: str, path: Path) -> bool:
    type_ = type_of(path)
    return type_ is Type.NUMBER or (type_ is Type.DATE and algorithm in ("min", "max"))


def _terms(connection: sqlite3.Connection, path: Path, values: str, parameters: dict[str, Any]) -> dict[str, Any]:
    found = connection.execute(
        f"SELECT v, count(*) AS n, sum(count(*)) OVER () FROM {values} GROUP BY v ORDER BY n DESC, v LIMIT {BUCKETS}",
        parameters,
    ).fetchall()
    buckets = [{"key": bool(v) if type_of(path) is Type.BOOLEAN else v, "doc_count": n} for v, n, _ in found]
    total = found[0][2] if found else 0
    return {
        "doc_count_error_upper_bound": 0,
        "sum_other_doc_count": total - sum(n for _, n, _ in found),
        "buckets": buckets,
    }
