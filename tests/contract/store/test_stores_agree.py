"""Random searches of the same random documents, compared between two stores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geventjob.server.store.base import Query, Store, Update
from tests.contract.store.conftest import IMPLEMENTATIONS
from tests.contract.store.test_search_model import (
    ATTRIBUTES,
    COUNTING,
    documents,
    fill,
    filters,
    orders,
    shared,
    viewers,
)

NOT_LARGE = [name for name in ATTRIBUTES if name not in ("priority", "progress")]
"""Attributes whose sums do not depend on the order of summation, as sums of large numbers do."""
aggregations = st.one_of(
    st.tuples(st.sampled_from([*COUNTING, "min", "max"]), st.sampled_from(ATTRIBUTES)),
    st.tuples(st.sampled_from(["sum", "avg", "stats", "extendedstats"]), st.sampled_from(NOT_LARGE)),
)
queries = st.builds(
    Query,
    filters,
    viewers,
    st.integers(0, 4),
    st.one_of(st.none(), st.integers(0, 8)),
    st.one_of(orders, st.lists(st.tuples(st.sampled_from(ATTRIBUTES), st.booleans()), max_size=3)),
    st.lists(aggregations, max_size=4),
    select=st.one_of(st.none(), st.lists(st.sampled_from(["state", "payload", "acl", "none", "custom"]), max_size=3)),
)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[list[Store]]:
    """Yield a store of each implementation."""
    made = [make(tmp_path) for make in IMPLEMENTATIONS.values()]
    for store in made:
        store.start()
    yield made
    for store in made:
        store.close()


@settings(shared, max_examples=100)
@given(
    contents=st.lists(documents, max_size=8),
    later=st.lists(st.one_of(st.none(), documents), max_size=4),
    asked=st.lists(queries, min_size=1, max_size=6),
)
def test_stores_find_the_same(stores: list[Store], contents: list[Any], later: list[Any], asked: list[Query]) -> None:
    """Some of the first documents are replaced or deleted before the searches."""
    for store in stores:
        fill(store, contents)
        store.write([Update(f"job/{number}", _into(number, content)) for number, content in enumerate(later)])
    for query in asked:
        first, *others = [store.search("job", query) for store in stores]
        for other in others:
            assert (other.count, other.documents) == (first.count, first.documents)
            assert _alike(other.aggregations, first.aggregations), (other.aggregations, first.aggregations)


def _into(number: int, content: dict[str, Any] | None) -> Any:
    return lambda document: None if content is None else {"id": f"job/{number}", **content}


def _alike(one: Any, other: Any) -> bool:
    """Return whether two results are equal, apart from the last digits of numbers."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_alike(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, (int, float)) and isinstance(other, (int, float)) and not isinstance(one, bool):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-6)
    return bool(one == other)
