"""Percentiles over SQLite are exact, which the contract of a store does not demand (tests/contract/store)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from geventjob.server.store.aggregation import PERCENTS
from geventjob.server.store.base import Insert, Query
from geventjob.server.store.sqlite import SqliteStore


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(values=st.lists(st.one_of(st.integers(-(2**53), 2**53), st.floats(-1e9, 1e9)), min_size=1, max_size=60))
@example(values=[7])
@example(values=[2**63 - 1, 2**63 - 1])
@example(values=list(range(101)))
def test_they_lie_between_the_values_of_the_ranks_around_them(
    tmp_path_factory: pytest.TempPathFactory, values: list[float]
) -> None:
    store = SqliteStore(tmp_path_factory.mktemp("store") / "store.db")
    store.start()
    store.write([Insert({"id": f"job/{number}", "timeout": value}) for number, value in enumerate(values)])
    found = store.search("job", Query(aggregations=[("percentiles", "timeout")])).aggregations["percentiles:timeout"]
    store.close()
    assert found["values"] == pytest.approx({str(percent): percentile(values, percent) for percent in PERCENTS})


def percentile(values: list[float], percent: float) -> float:
    """Return a percentile by linear interpolation between the closest ranks."""
    place = (len(values) - 1) * percent / 100
    ordered, rank = sorted(values), int(place)
    return ordered[rank] + (ordered[min(rank + 1, len(values) - 1)] - ordered[rank]) * (place - rank)
