"""Random searches of random documents, compared with a model in plain Python (model.py)."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from geventjob.server.filter import Compare, Date, FilterError, Property, parse
from geventjob.server.store.base import Insert, Query, Store
from tests.contract.store import model
from tests.support.filters import texts, trees, written

INSTANTS = [
    "2019-04-01T23:59:59.999Z",
    "2019-04-02T00:00:00.000Z",
    "2019-04-02T08:15:30.123Z",
    "2019-05-01T00:00:00.000Z",
]
KEYS = ["k", "a/b", "x=y", "50%", "é", ""]
VIEWERS = ["USER alice", "USER bob", "ROLE USER", "ROLE ADMIN"]

short = st.one_of(st.sampled_from(["a", "A", "ab", "b", "true", "3", "1.5"]), texts)
# Elasticsearch sorts a missing number as the least or the largest integer of 64 bits (docs/reference/filters.md), so
# both are left out.
integers = st.one_of(st.integers(-2, 5), st.sampled_from([1 - 2**63, 2**63 - 2, 999]))
seconds = st.one_of(st.integers(0, 5), st.sampled_from([1.5, 2.0, 999]))
dates = st.sampled_from(INSTANTS)
loose = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.just(1.5), short),
    lambda parts: st.one_of(st.lists(parts, max_size=3), st.dictionaries(st.sampled_from("xy"), parts, max_size=2)),
    max_leaves=5,
)
resources = st.fixed_dictionaries({}, optional={"href": st.sampled_from(["cloud/1", "cloud/2"]), "x": loose})
principals = st.sampled_from(VIEWERS).map(lambda name: dict(zip(("type", "principal"), name.split(), strict=True)))
acls = st.fixed_dictionaries({"owner": principals, "rules": st.lists(principals, max_size=2)})
documents = st.fixed_dictionaries(
    {},
    optional={
        "acl": acls,
        "state": st.sampled_from(["QUEUED", "RUNNING"]),
        "action": short,
        "name": st.one_of(st.none(), short),
        "description": short,
        "statusMessage": short,
        "parentJob": st.sampled_from(["job/0", "job/1"]),
        "priority": integers,
        "progress": integers,
        "timeout": seconds,
        "created": dates,
        "updated": dates,
        "started": dates,
        "interrupted": st.booleans(),
        "targetResource": resources,
        "affectedResources": st.lists(resources, max_size=3),
        "nestedJobs": st.lists(st.sampled_from(["job/0", "job/1"]), max_size=3),
        "properties": st.dictionaries(st.sampled_from(KEYS), short, max_size=3),
        "custom": loose,
        "payload": st.fixed_dictionaries({"x": loose}),
        "_own": short,
    },
)

TEXTS = "id state action name description statusMessage parentJob targetResource/href"
MANY = (
    "affectedResources/href affectedResources/x nestedJobs properties/k custom custom/x custom/x/y "
    "targetResource/x acl/owner/type"
)
TYPED = "priority progress timeout created updated started interrupted"
ATTRIBUTES = [
    *TEXTS.split(),
    *MANY.split(),
    *TYPED.split(),
    "none",
    "none/x",
    "state/x",
    "targetResource",
    "payload",
    "fulltext",
]

COUNTING = ("terms", "count", "cardinality", "missing")

quoted = st.one_of(
    short,
    st.sampled_from(
        ["QUEUED", "RUN", "job/", "job/1", "cloud/1", "cloud/", "false", "-2", "2.0", "1.5", *model.PERIODS]
    ),
)
ordinals = st.one_of(quoted, st.integers(0, 5), st.sampled_from(list(model.PERIODS)[:3]).map(Date))
attributes = st.sampled_from(ATTRIBUTES).map(lambda name: tuple(name.split("/")))
compares = st.one_of(
    st.builds(Compare, attributes, st.sampled_from(["=", "!="]), st.one_of(ordinals, st.booleans(), st.none())),
    st.builds(Compare, attributes, st.sampled_from(["<", "<=", ">", ">="]), ordinals),
    st.builds(Compare, attributes, st.sampled_from(["^=", "=="]), quoted),
)
properties = st.builds(Property, st.sampled_from(KEYS), st.sampled_from(["=", "!="]), st.one_of(quoted, st.none()))


def sensible(leaf: Compare | Property) -> bool:
    try:
        model.matches({}, leaf)
    except model.Refused:
        return False
    return True


leaves = st.one_of(compares, properties)
filters = st.one_of(st.none(), trees(leaves.filter(sensible)))
orders = st.lists(
    st.tuples(st.sampled_from([name for name in ATTRIBUTES if name not in ("payload", "fulltext")]), st.booleans()),
    max_size=2,
)
viewers = st.one_of(st.none(), st.frozensets(st.sampled_from(VIEWERS), max_size=2))


def fill(store: Store, contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Replace all jobs in the store by these, with ids, and return the jobs."""
    store.delete("job", Query(), 10_000)
    filled = [{"id": f"job/{number}", **content} for number, content in enumerate(contents)]
    assert store.write([Insert(document) for document in filled]) == filled
    return filled


shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)


@settings(shared, max_examples=300)
@given(
    contents=st.lists(documents, max_size=6),
    tree=filters,
    orderby=orders,
    seen=viewers,
    first=st.integers(1, 3),
    last=st.one_of(st.none(), st.integers(0, 4)),
)
def test_a_search_finds_what_the_model_finds(
    store: Store, contents: list[Any], tree: Any, orderby: Any, seen: Any, first: int, last: int | None
) -> None:
    filled = fill(store, contents)
    query = Query(tree and parse(written(tree)), seen, first, last, orderby)
    expected = model.found(filled, query)
    page = store.search("job", query)
    assert page.count == len(expected)
    assert page.documents == expected[first - 1 : last]


@settings(shared, max_examples=100)
@given(
    contents=st.lists(documents, max_size=6),
    tree=filters,
    name=st.sampled_from(MANY.split() + TEXTS.split() + TYPED.split()),
)
def test_aggregations_count_what_the_model_counts(store: Store, contents: list[Any], tree: Any, name: str) -> None:
    query = Query(tree, last=0, aggregations=[(algorithm, name) for algorithm in COUNTING])
    matching = model.found(fill(store, contents), query)
    expected = model.terms(matching, name)
    result = store.search("job", query).aggregations
    path = tuple(name.split("/"))
    buckets = [
        (model.comparable(bucket["key"], path), bucket["doc_count"]) for bucket in result[f"terms:{name}"]["buckets"]
    ]
    ranked = sorted(expected.items(), key=lambda item: (-item[1], item[0]))
    assert buckets == ranked[:10]
    assert result[f"terms:{name}"]["sum_other_doc_count"] == sum(count for _, count in ranked[10:])
    assert result[f"count:{name}"]["value"] == sum(expected.values())
    assert result[f"cardinality:{name}"]["value"] == len(expected)
    assert result[f"missing:{name}"]["doc_count"] == sum(not model.exists(document, path) for document in matching)


@settings(shared, max_examples=100)
@given(
    values=st.lists(st.one_of(st.none(), st.integers(-1000, 1000)), max_size=20),
    tree=st.one_of(st.none(), st.just(Compare(("progress",), ">", 0))),
)
def test_statistics_are_those_of_the_model(store: Store, values: list[int | None], tree: Any) -> None:
    filled = fill(store, [{} if value is None else {"progress": value} for value in values])
    query = Query(tree, last=0, aggregations=[("stats", "progress"), ("extendedstats", "progress")])
    numbers = [document["progress"] for document in model.found(filled, query) if "progress" in document]
    found = store.search("job", query).aggregations
    extended = found["extendedstats:progress"]
    assert {name: extended[name] for name in found["stats:progress"]} == found["stats:progress"]
    assert (extended["count"], extended["sum"]) == (len(numbers), sum(numbers))
    if numbers:
        assert (extended["min"], extended["max"]) == (min(numbers), max(numbers))
        assert extended["avg"] == pytest.approx(statistics.fmean(numbers))
        assert extended["sum_of_squares"] == sum(number**2 for number in numbers)
        assert extended["variance"] == pytest.approx(statistics.pvariance(numbers), abs=1e-6)
        bounds = extended["std_deviation_bounds"]
        assert bounds["upper"] - bounds["lower"] == pytest.approx(4 * extended["std_deviation"])


@settings(shared, max_examples=100)
@given(contents=st.lists(documents, max_size=6), tree=filters, seen=viewers)
def test_a_deletion_takes_what_a_search_finds(store: Store, contents: list[Any], tree: Any, seen: Any) -> None:
    filled = fill(store, contents)
    expected = model.found(filled, Query(tree, seen))
    deleted = store.delete("job", Query(tree, seen), 100)
    assert sorted(deleted, key=lambda document: document["id"]) == expected
    assert store.search("job", Query()).documents == [document for document in filled if document not in expected]


@settings(shared, max_examples=300)
@given(leaf=leaves)
@example(Compare(("payload", "x"), "=", 1))
@example(Compare(("fulltext",), "=", "a"))
@example(Compare(("created",), "=", "0001"))
@example(Compare(("created",), "=", "0000"))
def test_what_makes_no_sense_and_only_that_is_refused(store: Store, leaf: Compare | Property) -> None:
    try:
        store.search("job", Query(leaf))
    except FilterError:
        refused = True
    else:
        refused = False
    assert refused != sensible(leaf)
