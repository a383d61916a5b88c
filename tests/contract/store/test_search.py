"""Searches: filters, viewers, order, pages, aggregations, and deleting what matches."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import gevent
import pytest

from geventjob.cimi.document import WINDOW
from geventjob.clock import cimi_time, now
from geventjob.server.filter import FilterError, parse
from geventjob.server.store.base import Insert, Query, Store, StoreError, Update
from tests.contract.store.documents import ACL, inserted, job, names

DOCUMENTS = [
    job(
        "a",
        state="QUEUED",
        action="copy",
        name="Copy the disk",
        created="2019-04-02T08:15:30.123Z",
        priority=50,
        targetResource={"href": "cloud/1", "zone": "x"},
        affectedResources=[{"href": "cloud/1", "zone": "x"}, {"href": "cloud/2", "zone": "y"}],
        properties={"zookeeper-path": "/job/entries/entry-050-0000000001", "a/b": "it's"},
        payload={"n": 1},
    ),
    job(
        "b",
        state="RUNNING",
        action="copy",
        created="2019-04-02T23:59:59.999Z",
        started="2019-04-03T00:00:00.000Z",
        priority=100,
        progress=0,
        interrupted=True,
        returnCode=-1,
        affectedResources=[],
        name=None,
        parentJob="job/a",
    ),
    job(
        "c",
        state="SUCCESS",
        action="Copy",
        description="Copied the DISK",
        created="2019-05-01T00:00:00.000Z",
        progress=100,
        interrupted=False,
        duration=3,
        statusMessage="done",
        nestedJobs=["job/a", "job/b"],
        tags=["nightly", "of Alice"],
        custom={"deep": [[{"er": 3}], {"er": "three"}], "flag": True, "nothing": [None]},
    ),
]


@pytest.fixture
def filled(store: Store) -> Store:
    inserted(store, *DOCUMENTS)
    return store


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("state='QUEUED'", "a"),
        ("state!='QUEUED'", "b c"),
        ("state=='QUEUED'", "a"),
        ("state=='QUEU'", ""),
        ("state^='QU'", "a"),
        ("'S'^=state", "c"),
        ("state^=''", "a b c"),
        ("action='copy'", "a b"),
        ("action>='copy'", "a b"),
        ("action<'copy'", "c"),
        ("id='job/a'", "a"),
        ("id>'job/a' and id<='job/c'", "b c"),
        ("name=null", "b c"),
        ("name!=null", "a"),
        ("name!='x'", "a b c"),
        ("name<'x'", "a"),
        ("affectedResources=null", "b c"),
        ("affectedResources!=null", "a"),
        ("affectedResources/href='cloud/2'", "a"),
        ("affectedResources/href!='cloud/2'", "b c"),
        ("affectedResources/href='cloud/2' and affectedResources/zone='x'", "a"),
        ("affectedResources/href^='cloud'", "a"),
        ("affectedResources/href>'cloud/1'", "a"),
        ("affectedResources/href>'cloud/2'", ""),
        ("affectedResources/href<'cloud/1'", ""),
        ("affectedResources/href=null", "b c"),
        ("affectedResources='cloud/1'", ""),
        ("targetResource!=null", "a"),
        ("targetResource/href='cloud/1'", "a"),
        ("targetResource/zone='x'", "a"),
        ("targetResource/zone=null", "b c"),
        ("targetResource='cloud/1'", ""),
        ("nestedJobs='job/b'", "c"),
        ("nestedJobs!='job/b'", "a b"),
        ("tags='nightly'", "c"),
        ("tags^='of A'", "c"),
        ("tags=null", "a b"),
        ("fulltext=='alice nightly'", "c"),
        ("parentJob='job/a'", "b"),
        ("custom/deep/er=3", "c"),
        ("custom/deep/er='three'", "c"),
        ("custom/flag=true", "c"),
        ("custom/flag='true'", "c"),
        ("custom/flag!=true", "a b"),
        ("custom/nothing=null", "a b c"),
        ("custom!=null", "c"),
        ("properties/zookeeper-path^='/job/'", "a"),
        ("property['zookeeper-path']='/job/entries/entry-050-0000000001'", "a"),
        ("property['a/b']=\"it's\"", "a"),
        ("properties/a/b!=null", ""),
        ("property['none']=null", "a b c"),
        ("property['a/b']!='x'", "a b c"),
        ("priority=50", "a"),
        ("priority='50'", "a"),
        ("priority='50.0'", "a"),
        ("priority<100", "a"),
        ("priority<='100'", "a b"),
        ("priority!=50", "b c"),
        ("progress=0", "b"),
        ("progress>0", "c"),
        ("returnCode<0", "b"),
        ("returnCode='-1'", "b"),
        ("duration<9223372036854775807", "c"),
        ("interrupted=true", "b"),
        ("interrupted!=true", "a c"),
        ("interrupted=false", "c"),
        ("interrupted=null", "a"),
        ("created<2019-04-02", ""),
        ("created>2019-04-02", "a b c"),
        ("created>'2019-04-02'", "c"),
        ("created<='2019-04-02'", "a b"),
        ("created='2019-04-02'", "a b"),
        ("created='2019-04'", "a b"),
        ("created!='2019-04'", "c"),
        ("created=2019-05-01", "c"),
        ("created>=2019-05", "c"),
        ("created<'2019-04-02T08:15:30.123456Z'", ""),
        ("created<='2019-04-02T10:15:30.123+02:00'", "a"),
        ("created>'2019-04-01||+1d/d'", "c"),
        ("created<'now-7d'", "a b c"),
        ("started!=null", "b"),
        ("fulltext=='disk'", "a c"),
        ("fulltext=='DISK copy'", "a"),
        ("fulltext=='done disk'", "c"),
        ("fulltext=='dis'", ""),
        ("fulltext=='entries 050'", "a"),
        ("none=null and none!='x'", "a b c"),
        ("none='x' or none<'x' or none^='x' or none=='x' or none!=null", ""),
        ("state='QUEUED' or state='RUNNING' or custom/deep/er=3", "a b c"),
        ("action='copy' and (state='RUNNING' or priority=50) and name=null", "b"),
        ("fulltext='x' or state='QUEUED'", FilterError),
        ("payload=null", FilterError),
        ("created='soon'", FilterError),
        ("priority='9223372036854775808'", FilterError),
    ],
)
def test_a_filter_finds(filled: Store, text: str, found: Any) -> None:
    query = Query(parse(text))
    if found is FilterError:
        with pytest.raises(FilterError):
            filled.search("job", query)
    else:
        page = filled.search("job", query)
        assert names(page.documents) == found
        assert page.count == len(page.documents)


def test_an_object_is_there_with_any_value_in_it(store: Store) -> None:
    inserted(
        store,
        job("a", targetResource={"href": "cloud/1"}),
        job("b", targetResource={"zone": ["x"]}),
        job("c", targetResource={"zone": [None, {}]}),
        job("d"),
    )
    assert names(store.search("job", Query(parse("targetResource!=null"))).documents) == "a b"
    assert names(store.search("job", Query(parse("targetResource=null"))).documents) == "c d"


@pytest.mark.parametrize(
    "text", ["\ud7ff", "\U0010ffff", "a\U0010ffff", "\uffff", "\x7f", "%", "a=b", 'q"', "\\\\", "\n"]
)
def test_any_text_can_be_a_prefix(store: Store, text: str) -> None:
    inserted(
        store,
        job("a", name=text, custom=[text]),
        job("b", name=text + "\U0010ffff", custom=[text + "\U0010ffff"]),
        job("c", name=chr(ord(text[0]) - 1) + "\U0010ffff", custom=[chr(ord(text[0]) - 1)]),
        job("d", name="\U0010fffe", custom=["\U0010fffe"]),
        job("e", name="", custom=[""]),
    )
    following = text[:-1] + chr(min(ord(text[-1]) + 1, 0x10FFFF))
    if following != text and following != "\ud800":
        inserted(store, job("f", name=following, custom=[following]))
    for attribute in ("name", "custom"):
        query = Query(parse(f"{attribute}^='{text}'"), orderby=[("name", False)])
        assert names(store.search("job", query).documents) == "a b"


def test_found_documents_are_whole(filled: Store) -> None:
    assert filled.search("job", Query()).documents == DOCUMENTS


def test_dates_count_from_the_moment_of_the_search(store: Store) -> None:
    moments = {name: cimi_time(now() - timedelta(**ago)) for name, ago in [("old", {"days": 8}), ("new", {"days": 6})]}
    inserted(store, *(job(name, created=moment) for name, moment in moments.items()))
    assert names(store.search("job", Query(parse("created<'now-7d'"))).documents) == "old"
    assert names(store.search("job", Query(parse("created>='now-7d'"))).documents) == "new"


def test_an_update_moves_a_document_from_search_to_search(filled: Store) -> None:
    filled.write([Update("job/a", lambda document: job("a", state="FAILED", affectedResources=[{"href": "cloud/9"}]))])
    for text in ("state='FAILED'", "affectedResources/href='cloud/9'"):
        assert names(filled.search("job", Query(parse(text))).documents) == "a"
    for text in (
        "state='QUEUED'",
        "affectedResources/href='cloud/2'",
        "action='copy' and id='job/a'",
        "fulltext=='the'",
    ):
        assert names(filled.search("job", Query(parse(text))).documents) in ("", "c")


def test_ones_own_attributes_are_never_searched(store: Store) -> None:
    inserted(store, job(1, _token="secret"), job(2))
    query = Query(
        orderby=[("_token", True)], aggregations=[("terms", "_token"), ("count", "_token"), ("terms", "payload")]
    )
    page = store.search("job", query)
    assert names(page.documents) == "1 2"
    assert page.aggregations["terms:_token"]["buckets"] == []
    assert page.aggregations["terms:payload"]["buckets"] == []
    assert page.aggregations["count:_token"] == {"value": 0}


def rule(kind: str, principal: str) -> dict[str, Any]:
    return {"type": kind, "principal": principal, "right": "VIEW"}


def acl(owner: dict[str, Any], *rules: dict[str, Any]) -> dict[str, Any]:
    return {"owner": {"type": owner["type"], "principal": owner["principal"]}, "rules": list(rules)}


def test_viewers_see_what_names_them(store: Store) -> None:
    alice, users = rule("USER", "alice"), rule("ROLE", "USER")
    inserted(
        store,
        job("owned", acl=acl(alice)),
        job("ruled", acl=acl(rule("ROLE", "ADMIN"), users, alice)),
        job("others", acl=acl(rule("USER", "alice2"), rule("ROLE", "alice"), rule("USER", "x\nUSER alice\n"))),
        {"id": "job/nobodys"},
        {"id": "job/ruleless", "acl": {"owner": {"type": "ROLE", "principal": "USER"}}},
    )

    def seen(*viewers: str) -> str:
        page = store.search("job", Query(viewers=frozenset(viewers), aggregations=[("count", "id")]))
        assert page.count == len(page.documents) == page.aggregations["count:id"]["value"]
        return names(page.documents)

    assert seen("USER alice") == "owned ruled"
    assert seen("USER alice", "ROLE USER") == "owned ruled ruleless"
    assert seen("ROLE alice") == "others"
    assert seen("USER x\nUSER alice\n") == "others"
    assert seen("USER ali") == ""
    assert seen("USER") == ""
    assert seen() == ""
    assert names(store.search("job", Query()).documents) == "nobodys others owned ruled ruleless"
    assert store.search("job", Query(parse("id='job/others'"), viewers=frozenset({"USER alice"}))).count == 0


@pytest.mark.parametrize(
    ("orderby", "found"),
    [
        ([], "a b c d"),
        ([("priority", False)], "b c a d"),
        ([("priority", True)], "a b c d"),
        ([("priority", False), ("name", True)], "c b a d"),
        ([("name", False)], "a b c d"),
        ([("name", True)], "c b a d"),
        ([("interrupted", False)], "b a c d"),
        ([("interrupted", True)], "a b c d"),
        ([("created", True)], "c a b d"),
        ([("custom/list", False)], "b a c d"),
        ([("custom/list", True)], "b a c d"),
        ([("targetResource/href", True)], "b a c d"),
        ([("none", True)], "a b c d"),
        ([("id", True)], "d c b a"),
    ],
)
def test_documents_come_in_order_and_those_without_a_value_last(
    store: Store, orderby: list[tuple[str, bool]], found: str
) -> None:
    moments = ["2019-04-02T08:15:30.123Z", "2019-04-01T08:15:30.123Z", "2019-04-03T08:15:30.123Z"]
    inserted(
        store,
        job("d", custom={"list": []}),
        job("c", priority=9, name="é", created=moments[2]),
        job(
            "b",
            priority=9,
            name="b",
            interrupted=False,
            created=moments[1],
            targetResource={"href": "y"},
            custom={"list": ["a", "z"]},
        ),
        job(
            "a",
            priority=100,
            name="Z",
            interrupted=True,
            created=moments[0],
            targetResource={"href": "x"},
            custom={"list": ["b", "m"]},
        ),
    )
    for text in (None, "id!='job/x'"):
        for last in (None, 10):
            query = Query(parse(text) if text else None, orderby=orderby, last=last)
            assert names(store.search("job", query).documents) == found


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [
        (1, None, "0 1 2 3 4"),
        (1, 2, "0 1"),
        (2, 3, "1 2"),
        (4, 9, "3 4"),
        (3, None, "2 3 4"),
        (6, 9, ""),
        (9, None, ""),
        (1, 0, ""),
        (3, 2, ""),
        (0, 1, "0"),
        (-5, 1, "0"),
    ],
)
def test_a_page_is_a_window_on_all_matches(store: Store, first: int, last: int | None, found: str) -> None:
    inserted(store, *(job(number, state="QUEUED") for number in (3, 1, 4, 0, 2)), job(9, state="RUNNING"))
    page = store.search("job", Query(parse("state='QUEUED'"), first=first, last=last))
    assert (page.count, names(page.documents)) == (5, found)


def test_a_search_returns_a_window_at_most(store: Store) -> None:
    store.write([Insert({"id": f"job/{number:05d}"}) for number in range(WINDOW + 2)])
    for last in (None, WINDOW + 2):
        page = store.search("job", Query(last=last))
        assert (page.count, len(page.documents)) == (WINDOW + 2, WINDOW)
    assert names(store.search("job", Query(first=WINDOW + 1)).documents) == f"{WINDOW:05d} {WINDOW + 1:05d}"


def test_select_reads_these_and_what_is_always_needed(filled: Store) -> None:
    page = filled.search("job", Query(parse("id='job/a'"), select=["state", "payload", "none"]))
    assert page.documents == [{"id": "job/a", "acl": ACL, "state": "QUEUED", "payload": {"n": 1}}]
    assert filled.search("job", Query(parse("id='job/a'"), select=[])).documents == [{"id": "job/a", "acl": ACL}]


def test_aggregations(filled: Store) -> None:
    names_of = {
        "terms": "action interrupted priority nestedJobs none",
        "count": "state nestedJobs none",
        "cardinality": "action none",
        "min": "priority created state",
        "max": "priority started",
        "sum": "priority created none",
        "avg": "priority none",
    }
    wanted = [(algorithm, name) for algorithm, listed in names_of.items() for name in listed.split()]
    found = filled.search("job", Query(last=0, aggregations=wanted)).aggregations
    assert list(found) == [f"{algorithm}:{name}" for algorithm, name in wanted]

    def buckets(*pairs: tuple[Any, int]) -> dict[str, Any]:
        return {
            "doc_count_error_upper_bound": 0,
            "sum_other_doc_count": 0,
            "buckets": [{"key": key, "doc_count": count} for key, count in pairs],
        }

    assert found["terms:action"] == buckets(("copy", 2), ("Copy", 1))
    assert found["terms:interrupted"] == buckets((False, 1), (True, 1))
    assert found["terms:interrupted"]["buckets"][0]["key"] is False
    assert found["terms:priority"] == buckets((50, 1), (100, 1))
    assert found["terms:nestedJobs"] == buckets(("job/a", 1), ("job/b", 1))
    assert found["terms:none"] == buckets()
    values = {name: result["value"] for name, result in found.items() if not name.startswith("terms")}
    assert values == {
        "count:state": 3, "count:nestedJobs": 2, "count:none": 0, "cardinality:action": 2, "cardinality:none": 0,
        "min:priority": 50, "max:priority": 100, "sum:priority": 150, "avg:priority": 75,
        "min:created": 1554192930123, "max:started": 1554249600000, "sum:created": 0, "min:state": None,
        "avg:none": None, "sum:none": 0,
    }  # fmt: skip
    assert found["min:created"]["value_as_string"] == "2019-04-02T08:15:30.123Z"


ALONE: dict[str, Any] = {
    "terms:action": [("copy", 2), ("Copy", 1)],
    "terms:nestedJobs": [("job/a", 1), ("job/b", 1)],
    "terms:properties/a/b": [],
    "terms:custom/flag": [("true", 1)],
    "terms:created": [
        ("2019-04-02T08:15:30.123Z", 1), ("2019-04-02T23:59:59.999Z", 1), ("2019-05-01T00:00:00.000Z", 1),
    ],
    "count:state": 3,
    "count:custom/deep/er": 2,
    "count:properties/zookeeper-path": 1,
    "cardinality:state": 3,
    "cardinality:action": 2,
    "cardinality:priority": 2,
    "cardinality:created": 3,
    "cardinality:interrupted": 2,
    "cardinality:properties/zookeeper-path": 1,
    "cardinality:custom/deep/er": 2,
    "cardinality:nestedJobs": 2,
    "cardinality:affectedResources/href": 2,
    "cardinality:none": 0,
    "min:priority": 50,
    "max:priority": 100,
    "min:returnCode": -1,
    "max:progress": 100,
    "sum:priority": 150,
    "sum:progress": 100,
    "avg:priority": 75,
    "avg:returnCode": -1,
    "missing:name": 2,
    "missing:properties/zookeeper-path": 2,
    "stats:progress": {"count": 2, "min": 0, "max": 100, "avg": 50, "sum": 100},
    "percentiles:priority": [50.5, 52.5, 62.5, 75, 87.5, 97.5, 99.5],
    "percentiles:progress": [1, 5, 25, 50, 75, 95, 99],
    "percentiles:duration": [3] * 7,
}  # fmt: skip
"""Results of aggregations that are alone in a request: Elasticsearch computes some of these in another way."""


@pytest.mark.parametrize("name", ALONE)
def test_an_aggregation_alone(filled: Store, name: str) -> None:
    found = aggregated(filled, name)[name]
    if name.startswith("terms"):
        found = [(bucket["key"], bucket["doc_count"]) for bucket in found["buckets"]]
    elif name.startswith("percentiles"):
        found = list(found["values"].values())
    elif not name.startswith("stats"):
        found = found["doc_count"] if name.startswith("missing") else found["value"]
    assert found == ALONE[name]
    assert repr(found) == repr(ALONE[name]), "4 and 4.0 are two texts in JSON"


@pytest.mark.parametrize("filter", [None, "state='QUEUED'"])
def test_the_cardinality_of_a_property_with_few_values_alone(store: Store, filter: str | None) -> None:
    inserted(store, *(job(n, state="QUEUED", properties={"k": f"v{n % 7}"}, tags=[f"t{n % 3}"]) for n in range(60)))
    for name, count in (("properties/k", 7), ("tags", 3)):
        query = Query(parse(filter) if filter else None, last=0, aggregations=[("cardinality", name)])
        assert store.search("job", query).aggregations == {f"cardinality:{name}": {"value": count}}


def test_a_long_text_is_cut_alike_in_every_store(store: Store) -> None:
    inserted(store, job(1, name="é" * 8000), job(2, custom="x" * 40_000), job(3, custom="x" * 256))
    found = aggregated(store, "terms:name", "terms:custom")
    assert found["terms:name"]["buckets"] == [{"key": "é" * 255 + "…", "doc_count": 1}]
    keys = {bucket["key"] for bucket in found["terms:custom"]["buckets"]}
    assert keys == {"x" * 255 + "…", "x" * 256}


def test_percentiles_of_some_hundred_values_are_exact(store: Store) -> None:
    inserted(store, *(job(number, priority=number * 8 % 1001) for number in range(0, 1001, 2)))
    values = aggregated(store, "percentiles:priority")["percentiles:priority"]["values"]
    ranked = sorted(number * 8 % 1001 for number in range(0, 1001, 2))
    exact = {percent: float(interpolated(ranked, float(percent))) for percent in values}
    assert values == pytest.approx(exact)


def interpolated(ranked: list[int], percent: float) -> float:
    """Return a percentile by linear interpolation."""
    place = percent / 100 * (len(ranked) - 1)
    below = ranked[int(place)]
    return below + (ranked[min(int(place) + 1, len(ranked) - 1)] - below) * (place % 1)


def aggregated(store: Store, *wanted: str) -> dict[str, Any]:
    pairs = [(algorithm, name) for algorithm, _, name in (one.partition(":") for one in wanted)]
    found = store.search("job", Query(last=0, aggregations=pairs)).aggregations
    assert list(found) == list(wanted)
    return found


def test_missing_counts_the_documents_without_a_value(filled: Store) -> None:
    counts = {
        "state": 0, "name": 2, "priority": 1, "interrupted": 1, "started": 2, "affectedResources": 2,
        "affectedResources/href": 2, "targetResource": 2, "targetResource/href": 2, "custom": 2, "custom/deep/er": 2,
        "custom/nothing": 3, "properties/zookeeper-path": 2, "none": 3, "none/x": 3, "payload": 3, "_own": 3,
    }  # fmt: skip
    found = aggregated(filled, *(f"missing:{name}" for name in counts))
    assert found == {f"missing:{name}": {"doc_count": count} for name, count in counts.items()}
    query = Query(parse("action='copy'"), aggregations=[("missing", "started")])
    assert filled.search("job", query).aggregations == {"missing:started": {"doc_count": 1}}


def test_statistics_of_numbers(store: Store) -> None:
    inserted(
        store, *(job(number, progress=value) for number, value in enumerate([2, 4, 4, 4, 5, 5, 7, 9])), job("none")
    )
    found = aggregated(store, "stats:progress", "extendedstats:progress")
    plain = {"count": 8, "min": 2, "max": 9, "avg": 5, "sum": 40}
    assert found["stats:progress"] == plain
    assert found["extendedstats:progress"] == {
        **plain, "sum_of_squares": 232, "variance": 4, "std_deviation": 2,
        "std_deviation_bounds": {"upper": 9, "lower": 1},
    }  # fmt: skip


def test_statistics_of_nothing_and_of_what_is_no_number(filled: Store) -> None:
    plain = {"count": 0, "min": None, "max": None, "avg": None, "sum": 0}
    more = {"sum_of_squares": None, "variance": None, "std_deviation": None}
    percents = ["1.0", "5.0", "25.0", "50.0", "75.0", "95.0", "99.0"]
    for name in ("attempts", "none", "state", "created", "interrupted", "custom", "_own", "payload"):
        found = aggregated(filled, f"stats:{name}", f"extendedstats:{name}", f"percentiles:{name}")
        assert found == {
            f"stats:{name}": plain,
            f"extendedstats:{name}": {**plain, **more, "std_deviation_bounds": {"upper": None, "lower": None}},
            f"percentiles:{name}": {"values": dict.fromkeys(percents)},
        }


def test_percentiles(store: Store) -> None:
    """Accept an error of one in a hundred, as the digests of Elasticsearch have for many values."""
    inserted(store, *(job(number, priority=number * 8 % 1001) for number in range(1001)), job("none"))
    values = aggregated(store, "percentiles:priority")["percentiles:priority"]["values"]
    assert list(values) == ["1.0", "5.0", "25.0", "50.0", "75.0", "95.0", "99.0"]
    assert values == pytest.approx({percent: float(percent) * 10 for percent in values}, abs=10)
    query = Query(parse("priority<3"), aggregations=[("percentiles", "priority")])
    few = store.search("job", query).aggregations["percentiles:priority"]["values"]
    assert few == pytest.approx(
        {"1.0": 0.02, "5.0": 0.1, "25.0": 0.5, "50.0": 1.0, "75.0": 1.5, "95.0": 1.9, "99.0": 1.98}, abs=0.5
    )


def test_aggregations_are_over_all_matches_and_no_others(filled: Store) -> None:
    query = Query(parse("action='copy'"), last=1, aggregations=[("terms", "state"), ("sum", "priority")])
    page = filled.search("job", query)
    assert (page.count, len(page.documents)) == (2, 1)
    assert [bucket["key"] for bucket in page.aggregations["terms:state"]["buckets"]] == ["QUEUED", "RUNNING"]
    assert page.aggregations["sum:priority"] == {"value": 150}


def test_of_many_terms_the_ten_most_frequent_are_told_apart(store: Store) -> None:
    actions = [f"a{number:02d}" for number in range(12)] + ["a11", "a11", "a03"]
    inserted(store, *(job(number, action=action) for number, action in enumerate(actions)))
    terms = store.search("job", Query(aggregations=[("terms", "action")])).aggregations["terms:action"]
    keys = [(bucket["key"], bucket["doc_count"]) for bucket in terms["buckets"]]
    assert keys[:3] == [("a11", 3), ("a03", 2), ("a00", 1)]
    assert len(keys) == 10
    assert terms["sum_other_doc_count"] == 2


def test_what_matches_is_deleted(filled: Store) -> None:
    assert filled.delete("job", Query(parse("action='copy'")), 10) == DOCUMENTS[:2]
    assert filled.search("job", Query()).documents == DOCUMENTS[2:]
    assert filled.delete("job", Query(parse("action='copy'")), 10) == []


def test_a_deletion_has_a_limit(store: Store) -> None:
    inserted(store, *(job(number, state="FAILED") for number in range(5)), job(9, state="QUEUED"))
    deleted = store.delete("job", Query(parse("state='FAILED'")), 3)
    assert len(deleted) == 3
    left = store.search("job", Query()).documents
    assert len(left) == 3
    assert not {document["id"] for document in left} & {document["id"] for document in deleted}
    assert store.delete("job", Query(parse("state='FAILED'")), 0) == []
    assert len(store.delete("job", Query(parse("state='FAILED'")), 3)) == 2
    assert names(store.search("job", Query()).documents) == "9"


def test_a_deletion_takes_what_its_viewers_see(store: Store) -> None:
    alice, bob = rule("USER", "alice"), rule("USER", "bob")
    inserted(store, job(1, acl=acl(alice)), job(2, acl=acl(bob)))
    assert names(store.delete("job", Query(viewers=frozenset({"USER alice"})), 10)) == "1"
    with pytest.raises(FilterError):
        store.delete("job", Query(parse("created='soon'")), 10)
    assert names(store.search("job", Query()).documents) == "2"


def test_a_deletion_leaves_what_no_longer_matches(store: Store) -> None:
    """Every document is either deleted in the state that matched, or kept."""
    inserted(store, *(job(number, progress=0) for number in range(200)))
    later = gevent.spawn(
        store.write, [Update(f"job/{number}", lambda document: {**document, "progress": 1}) for number in range(200)]
    )
    deleted = store.delete("job", Query(parse("progress=0")), 1000)
    later.join()
    assert all(document["progress"] == 0 for document in deleted)
    left = store.search("job", Query()).documents
    assert all(document["progress"] == 1 for document in left)
    assert len(deleted) + len(left) == 200


@pytest.mark.parametrize("terms", [500, 998])
def test_a_filter_may_have_a_thousand_terms(filled: Store, terms: int) -> None:
    one = "state='QUEUED'"
    others = [f"custom/x='{number}' and priority={number}" for number in range(terms // 2)]
    assert names(filled.search("job", Query(parse(" or ".join([*others, one])))).documents) == "a"
    same = " and ".join([*(f"state!='{number}'" for number in range(terms)), one])
    assert names(filled.search("job", Query(parse(same))).documents) == "a"


@pytest.mark.parametrize("levels", [10, 100, 499])
def test_a_filter_may_nest_deeply(filled: Store, levels: int) -> None:
    parens = "(" * levels * 6 + "state='QUEUED'" + ")" * levels * 6
    assert names(filled.search("job", Query(parse(parens))).documents) == "a"
    last = "(state!='X' and(state='X' or " * levels + "state='QUEUED'" + "))" * levels
    assert names(filled.search("job", Query(parse(last))).documents) == "a"
    first = "(" * levels * 2 + "state='QUEUED'" + " or state='X')and state!='X')" * levels
    assert names(filled.search("job", Query(parse(first))).documents) == "a"
    missing = "(progress!=7 and(progress=7 or " * levels + "state='QUEUED'" + "))" * levels
    assert names(filled.search("job", Query(parse(missing))).documents) == "a"
    never = f"progress=7 and {last}"
    assert names(filled.search("job", Query(parse(never))).documents) == ""


@pytest.mark.parametrize("limit", [1, 2, 3, 10])
def test_without_a_count_the_first_in_the_order_are_found(store: Store, limit: int) -> None:
    """The promoter reads the next times of held jobs so: none of the later jobs is read."""
    held = {"b": "2026-01-02T00:00:00.000Z", "c": "2026-01-01T00:00:00.000Z", "a": "2026-01-02T00:00:00.000Z"}
    store.write([Insert(job(name, held={"why": "retry", "until": until})) for name, until in held.items()])
    store.write([Insert(job("free")), Insert(job("late", held={"why": "retry", "until": "2027-01-01T00:00:00.000Z"}))])
    query = Query(parse("held/until<'2026-06-01'"), orderby=[("held/until", False)], last=limit, counted=False)
    assert names(store.search("job", query).documents) == " ".join(["c", "a", "b"][:limit])
    assert names(store.search("job", Query(parse("held/until=null"))).documents) == "free"


def test_a_refresh_shows_the_writes_of_every_server(make: Callable[[], Store], store: Store) -> None:
    try:
        other = make()
        other.start()
    except StoreError:  # the documents of this store belong to one server
        other = store
    assert store.search("job", Query()).count == 0
    inserted(other, job(1))
    store.refresh("job")
    assert store.search("job", Query()).count == 1
    if other is not store:
        other.close()
