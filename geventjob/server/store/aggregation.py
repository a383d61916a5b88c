"""Aggregations: algorithms, the values that each counts, and the shapes of results, the same in every store.

| algorithm | counts | result |
|---|---|---|
| terms | all values | the most frequent values, `{"buckets":[{"key","doc_count"}], …}`; long texts are cut |
| count, cardinality | all values | the number of values, the number of different values, `{"value"}` |
| missing | documents | the number of documents that `attribute=null` finds, `{"doc_count"}` |
| min, max | numbers and dates | `{"value"}`; for a date in milliseconds since 1970, with `value_as_string` |
| sum, avg | numbers | `{"value"}` |
| stats | numbers | `{"count","min","max","avg","sum"}` |
| extendedstats | numbers | as `stats`, with `sum_of_squares`, `variance`, `std_deviation`, `std_deviation_bounds` |
| percentiles | numbers | `{"values":{"1.0":…}}`, interpolated linearly between the closest ranks |

A number without a fraction is an integer in every result: `4`, never `4.0`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil, floor, sqrt
from typing import Any

from geventjob.server.store.attributes import Path, Type, searched, type_of

ALGORITHMS = (
    "terms", "count", "cardinality", "missing", "min", "max", "sum", "avg", "stats", "extendedstats", "percentiles"
)  # fmt: skip
BUCKETS = 10
"""Buckets of `terms`, as in Elasticsearch; all other values share one count."""
PERCENTS = (1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0)
LONGEST_KEY = 256
"""Characters of a text that `terms` shows; a longer text ends in `…`."""
EXACT_PERCENTILES = 1000
"""Number of different values up to which percentiles are exact in every store."""
BOUNDS = 2.0
"""Distance of `std_deviation_bounds` from the average, in standard deviations."""

Result = dict[str, Any]


def looks_at(algorithm: str, path: Path) -> bool:
    """Return whether an algorithm counts the values of this attribute; `missing` counts documents, never values."""
    if not searched(path) or algorithm == "missing":
        return False
    if algorithm in ("terms", "count", "cardinality"):
        return True
    type_ = type_of(path)
    return type_ is Type.NUMBER or (type_ is Type.DATE and algorithm in ("min", "max"))


def of_nothing(algorithm: str) -> Result:
    """Return the result of an algorithm for no values."""
    if algorithm == "terms":
        return terms([], 0)
    if algorithm == "stats":
        return stats(0, None, None, 0)
    if algorithm == "extendedstats":
        return extended(of_nothing("stats"), None, None)
    if algorithm == "percentiles":
        return percentiles([None] * len(PERCENTS))
    return {"value": 0 if algorithm in ("count", "cardinality", "sum") else None}


def terms(buckets: Iterable[tuple[Any, int]], others: int) -> Result:
    """Return the result of `terms`, given values with their numbers of documents, and the count of all other values."""
    found = [{"key": _shown(key), "doc_count": count} for key, count in buckets]
    return {"doc_count_error_upper_bound": 0, "sum_other_doc_count": others, "buckets": found}


def _shown(key: Any) -> Any:
    return key[: LONGEST_KEY - 1] + "…" if isinstance(key, str) and len(key) > LONGEST_KEY else plain(key)


def plain(value: Any) -> Any:
    """Return a number without a fraction as an int, and a result with such numbers likewise."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def stats(count: int, least: float | None, greatest: float | None, total: float) -> Result:
    """Return the result of `stats`."""
    return {"count": count, "min": least, "max": greatest, "avg": total / count if count else None, "sum": total}


def extended(stats: Result, squares: float | None, variance: float | None) -> Result:
    """Return the result of `extendedstats`; `variance` is the population variance, not a sample estimate."""
    deviation = None if variance is None else sqrt(variance)
    upper, lower = (
        None if deviation is None else stats["avg"] + sign * BOUNDS * deviation for sign in (1, -1)
    )  # fmt: skip
    return {
        **stats,
        "sum_of_squares": squares,
        "variance": variance,
        "std_deviation": deviation,
        "std_deviation_bounds": {"upper": upper, "lower": lower},
    }


def interpolated(ranked: Callable[[Sequence[int]], Mapping[int, float]], count: int) -> Result:
    """Return the percentiles of `count` numbers.

    `ranked` gets the ranks on or between which the percentiles lie, ascending from 0, and returns the number at each.
    """
    places = [percent / 100 * (count - 1) for percent in PERCENTS]
    numbers = ranked(sorted({rank for place in places for rank in (floor(place), ceil(place))}))

    def at(place: float) -> float:
        below, above = numbers[floor(place)], numbers[ceil(place)]
        return below if below == above else below + (above - below) * (place % 1)

    return percentiles(map(at, places))


def percentiles(values: Iterable[float | None]) -> Result:
    """Return the result of `percentiles`, given the values at PERCENTS in order."""
    return {"values": {str(percent): value for percent, value in zip(PERCENTS, values, strict=True)}}
