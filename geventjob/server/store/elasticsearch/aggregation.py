"""Aggregations: requests to Elasticsearch, and results in the shapes of every store (store/aggregation.py)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from geventjob.server.store.aggregation import (
    BUCKETS,
    EXACT_PERCENTILES,
    PERCENTS,
    Result,
    extended,
    interpolated,
    looks_at,
    of_nothing,
    plain,
    stats,
    terms,
)
from geventjob.server.store.attributes import Path, Type, path_of, type_of
from geventjob.server.store.elasticsearch.indexed import field
from geventjob.server.store.elasticsearch.query import Clause, clause
from geventjob.server.store.resolve import Exists, Not

EXACT = 40_000
"""Number of different values up to which `cardinality` is almost exact: the maximum that Elasticsearch accepts."""

_NAMES = {"count": "value_count", "extendedstats": "extended_stats"}
_MORE: dict[str, Clause] = {
    "terms": {"size": BUCKETS},
    "cardinality": {"precision_threshold": EXACT},
}
ALL: Clause = {"match_all": {}}


def asked(wanted: Sequence[tuple[str, str]]) -> dict[str, Clause]:
    """Return the `aggs` of a request, by position in `wanted`; aggregations with a fixed result are left out."""
    found = {str(number): _asked(algorithm, path_of(name)) for number, (algorithm, name) in enumerate(wanted)}
    return {number: one for number, one in found.items() if one is not None}


def answered(wanted: Sequence[tuple[str, str]], results: dict[str, Result]) -> dict[str, Result]:
    """Return the results by `algorithm:attribute path`, from the results of Elasticsearch by position."""
    return {
        f"{algorithm}:{name}": _answered(algorithm, path_of(name), results.get(str(number)))
        for number, (algorithm, name) in enumerate(wanted)
    }


def _asked(algorithm: str, path: Path) -> Clause | None:
    if algorithm == "missing":
        return {"filter": clause(Not(Exists(path)))}
    if not looks_at(algorithm, path):
        return None
    wanted = {_NAMES.get(algorithm, algorithm): {"field": field(path), **_MORE.get(algorithm, {})}}
    if algorithm == "cardinality":  # from version 8 on, a top-level cardinality of a key of `values` is 0
        return {"filter": ALL, "aggs": {"inner": wanted}}
    return _percentiles(path) if algorithm == "percentiles" else wanted


def _percentiles(path: Path) -> Clause:
    """Return a request for the values with their counts, and for an estimate in case of too many values."""
    counts = {"terms": {"field": field(path), "size": EXACT_PERCENTILES, "order": {"_key": "asc"}}}
    estimate = {"percentiles": {"field": field(path), "percents": PERCENTS}}
    return {"filter": ALL, "aggs": {"counts": counts, "estimate": estimate}}


def _answered(algorithm: str, path: Path, result: Result | None) -> Result:
    if result is None:
        return of_nothing(algorithm)
    if algorithm == "cardinality":
        return plain(result["inner"])  # type: ignore[no-any-return]
    if algorithm == "percentiles":
        return plain(_exact(result["counts"]) or result["estimate"])  # type: ignore[no-any-return]
    if algorithm == "terms":
        key = _KEYS.get(type_of(path), _key)
        return terms(
            [(key(bucket), bucket["doc_count"]) for bucket in result["buckets"]], result["sum_other_doc_count"]
        )
    if algorithm in ("stats", "extendedstats"):
        found = stats(result["count"], result["min"], result["max"], result["sum"])
        if algorithm == "extendedstats":
            found = extended(found, result["sum_of_squares"], result["variance"])
        return plain(found)  # type: ignore[no-any-return]
    return plain(result)  # type: ignore[no-any-return]


def _exact(counts: Result) -> Result | None:
    """Return exact percentiles from counted values; None if Elasticsearch did not list all values."""
    if counts["sum_other_doc_count"]:
        return None
    values = [bucket["key"] for bucket in counts["buckets"]]
    ends = list(accumulate(bucket["doc_count"] for bucket in counts["buckets"]))
    if not ends:
        return of_nothing("percentiles")
    return interpolated(lambda ranks: {rank: values[bisect_right(ends, rank)] for rank in ranks}, ends[-1])


def _key(bucket: Result) -> Any:
    return bucket["key"]


_KEYS: dict[Type, Callable[[Result], Any]] = {
    Type.BOOLEAN: lambda bucket: bool(bucket["key"]),
    Type.DATE: lambda bucket: bucket["key_as_string"],
}
