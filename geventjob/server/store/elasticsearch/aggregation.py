"""Aggregations: what to ask for, and the answers in the shape that they have in every store (store/aggregation.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from geventjob.server.store.aggregation import BUCKETS, PERCENTS, Result, extended, looks_at, of_nothing, stats, terms
from geventjob.server.store.attributes import Path, Type, type_of
from geventjob.server.store.elasticsearch.indexed import field
from geventjob.server.store.elasticsearch.query import Clause, clause
from geventjob.server.store.resolve import Exists, Not

EXACT = 40_000
"""Different values up to which their number is hardly ever off by one: the most that Elasticsearch takes."""

_NAMES = {"count": "value_count", "extendedstats": "extended_stats"}
_MORE: dict[str, Clause] = {
    "terms": {"size": BUCKETS},
    "cardinality": {"precision_threshold": EXACT},
    "percentiles": {"percents": PERCENTS},
}


def asked(wanted: Sequence[tuple[str, str]]) -> dict[str, Clause]:
    """What the request asks for each, by its number; what needs no look at the index is left out."""
    found = {str(number): _asked(algorithm, _path(name)) for number, (algorithm, name) in enumerate(wanted)}
    return {number: one for number, one in found.items() if one is not None}


def answered(wanted: Sequence[tuple[str, str]], results: dict[str, Result]) -> dict[str, Result]:
    """`algo:attribute` → its result."""
    return {
        f"{algorithm}:{name}": _answered(algorithm, _path(name), results.get(str(number)))
        for number, (algorithm, name) in enumerate(wanted)
    }


def _asked(algorithm: str, path: Path) -> Clause | None:
    if algorithm == "missing":
        return {"filter": clause(Not(Exists(path)))}
    if not looks_at(algorithm, path):
        return None
    return {_NAMES.get(algorithm, algorithm): {"field": field(path), **_MORE.get(algorithm, {})}}


def _answered(algorithm: str, path: Path, result: Result | None) -> Result:
    if result is None:
        return of_nothing(algorithm)
    if algorithm == "terms":
        key = _KEYS.get(type_of(path), _key)
        return terms(
            [(key(bucket), bucket["doc_count"]) for bucket in result["buckets"]], result["sum_other_doc_count"]
        )
    if algorithm in ("stats", "extendedstats"):
        plain = stats(result["count"], result["min"], result["max"], result["sum"])
        return plain if algorithm == "stats" else extended(plain, result["sum_of_squares"], result["variance"])
    return result


def _key(bucket: Result) -> Any:
    return bucket["key"]


_KEYS: dict[Type, Callable[[Result], Any]] = {
    Type.BOOLEAN: lambda bucket: bool(bucket["key"]),
    Type.DATE: lambda bucket: bucket["key_as_string"],
}


def _path(name: str) -> Path:
    return tuple(name.split("/"))
