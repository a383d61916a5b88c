"""A slow, busy, full or unreachable cluster, and lost answers: every call ends, and no write is done twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest

from geventjob.server.filter import parse
from geventjob.server.store.base import Insert, NoSuchDocument, Query, SearchTooLong, StoreAway, StoreRefused, Update
from geventjob.server.store.elasticsearch import ElasticsearchStore
from geventjob.server.store.elasticsearch.store import FLIGHTS, SEARCHERS
from tests.contract.store.documents import inserted, job
from tests.support import elasticsearch
from tests.support.elastic_stores import shared_prefix
from tests.support.http_proxy import HttpProxy
from tests.support.waiting import eventually

Make = Callable[..., ElasticsearchStore]

BUSY = {"error": {"type": "es_rejected_execution_exception", "reason": "rejected"}, "status": 429}


def more(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "progress": document["progress"] + 1}


def gone(document: dict[str, Any]) -> None:
    return None


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


# --- lost answers


@pytest.mark.parametrize("lost", [b"-keys", b"-job"])
def test_an_insert_whose_answer_is_lost_is_done_once(proxy: HttpProxy, behind: Make, lost: bytes) -> None:
    store = behind()
    hold = proxy.hold_answer(b"POST /_bulk", lost)
    writing = gevent.spawn(store.write, [Insert(job(1), "k")])
    hold.reached.wait()
    hold.drop()
    assert writing.get() == [job(1)]
    assert store.find("job", ["k"]) == [job(1)]
    [taken] = store.write([Insert(job(2), "k")])
    assert taken.document == job(1)


def test_an_insert_whose_answer_is_lost_recognises_its_document_after_changes_by_others(
    proxy: HttpProxy, behind: Make, direct: ElasticsearchStore
) -> None:
    """An executor may take and edit a job before the answer to its insert is repeated."""
    store = behind()
    first = proxy.hold_answer(b"POST /_bulk")
    writing = gevent.spawn(store.write, [Insert(job(1, progress=0))])
    first.reached.wait()
    again = proxy.hold_request(b"POST /_bulk")
    first.drop()
    again.reached.wait()
    assert direct.write([Update("job/1", more)]) == [job(1, progress=1)]
    again.let_go()
    assert writing.get() == [job(1, progress=0)]
    assert store.get(["job/1"]) == [job(1, progress=1)]


def test_an_update_whose_answer_is_lost_is_done_once(proxy: HttpProxy, behind: Make) -> None:
    store = behind()
    inserted(store, job(1, progress=0))
    hold = proxy.hold_answer(b"POST /_bulk")
    writing = gevent.spawn(store.write, [Update("job/1", more), Update("job/1", more)])
    hold.reached.wait()
    hold.drop()
    assert writing.get() == [job(1, progress=1), job(1, progress=2)]
    assert store.get(["job/1"]) == [job(1, progress=2)]


def test_a_delete_whose_answer_is_lost_has_deleted(proxy: HttpProxy, behind: Make) -> None:
    store = behind()
    store.write([Insert(job(1), "k")])
    hold = proxy.hold_answer(b"POST /_bulk", b'"delete"', b"-job")
    writing = gevent.spawn(store.write, [Update("job/1", gone)])
    hold.reached.wait()
    hold.drop()
    assert writing.get() == [None]
    assert store.write([Insert(job(2), "k")]) == [job(2)]


def test_a_read_or_search_whose_answer_is_lost_is_made_again(proxy: HttpProxy, behind: Make) -> None:
    store = behind()
    inserted(store, job(1))
    for path, call in ((b"/_mget", lambda: store.get(["job/1"])), (b"/_search", lambda: found(store))):
        hold = proxy.hold_answer(path)
        reading = gevent.spawn(call)
        hold.reached.wait()
        hold.drop()
        assert reading.get() == [job(1)]


def found(store: ElasticsearchStore) -> list[dict[str, Any]]:
    return store.search("job", Query()).documents


# --- no answer at all

CALLS: dict[str, tuple[bytes, Callable[[ElasticsearchStore], Any]]] = {
    "get": (b"/_mget", lambda store: store.get(["job/1"])),
    "find": (b"/_mget", lambda store: store.find("job", ["k"])),
    "insert": (b"/_bulk", lambda store: store.write([Insert(job(2), "k2")])),
    "update": (b"/_mget", lambda store: store.write([Update("job/1", lambda document: document)])),
    "update written": (b"/_bulk", lambda store: store.write([Update("job/1", more)])),
    "search": (b"/_search", lambda store: found(store)),
    "search made fresh": (b"/_refresh", lambda store: found(store)),
    "delete": (b"/_search", lambda store: store.delete("job", Query(), 10)),
    "delete written": (b"/_bulk", lambda store: store.delete("job", Query(), 10)),
    "page far back": (b"/_pit", lambda store: store.search("job", Query(first=2))),
}


@pytest.mark.parametrize("call", CALLS)
def test_without_an_answer_a_call_ends_in_time(proxy: HttpProxy, behind: Make, call: str) -> None:
    store = behind(commit=0.4, patience=0.4)
    store.write([Insert(job(1, progress=0), "k")])
    path, do = CALLS[call]
    hold = proxy.hold_request(path)
    with within(3.0), pytest.raises(StoreAway, match="did not answer within"):
        do(store)
    hold.let_go()
    assert [document["id"] for document in store.get(["job/1"]) if document] in (["job/1"], [])


def test_an_answer_that_comes_byte_by_byte_is_given_up(proxy: HttpProxy, behind: Make) -> None:
    store = behind(commit=0.5, patience=0.5)
    proxy.dripping = True
    with within(3.0), pytest.raises(StoreAway, match="did not answer within"):
        store.get(["job/1"])
    with within(3.0), pytest.raises(StoreAway, match="did not answer within"):
        found(store)
    proxy.dripping = False
    assert store.get(["job/1"]) == [None]


def test_writes_that_wait_behind_one_without_an_answer_are_certainly_not_written(
    proxy: HttpProxy, behind: Make, direct: ElasticsearchStore
) -> None:
    store = behind(commit=1.0)
    holds, flying = [], []
    for number in range(FLIGHTS):
        holds.append(proxy.hold_request(b"/_bulk"))
        flying.append(gevent.spawn(store.write, [Insert(job(f"flies-{number}"))]))
        holds[-1].reached.wait()
    with within(3.0):
        [refused] = store.write([Insert(job(2))])
    assert isinstance(refused, StoreRefused)
    for each in flying:
        with pytest.raises(StoreAway):
            each.get()
    for hold in holds:
        hold.drop()
    assert direct.get(["job/2"]) == [None]
    inserted(store, job(3))


def test_reads_that_wait_behind_one_without_an_answer_end_too(proxy: HttpProxy, behind: Make) -> None:
    store = behind(commit=1.0)
    hold = proxy.hold_request(b"/_mget")
    reading = [gevent.spawn(store.get, ["job/1"]) for _ in range(3)]
    with within(3.0):
        gevent.joinall(reading)
    assert [type(one.exception) for one in reading] == [StoreAway] * 3
    hold.drop()
    assert store.get(["job/1"]) == [None]


def test_more_searches_than_there_are_turns_wait_in_vain(proxy: HttpProxy, behind: Make) -> None:
    store = behind()
    before = proxy.count(b"/_search")
    proxy.speaking.clear()
    searches = [gevent.spawn(store.search, "job", Query(fresh=False)) for _ in range(SEARCHERS)]
    eventually(lambda: proxy.count(b"/_search") == before + SEARCHERS)
    store._patience = 0.5
    with within(3.0), pytest.raises(SearchTooLong, match="too many searches"):
        store.search("job", Query(fresh=False))
    proxy.speaking.set()
    gevent.joinall(searches)
    assert store.search("job", Query()).documents == []


# --- busy


def test_a_busy_cluster_is_asked_again(proxy: HttpProxy, behind: Make) -> None:
    store = behind()
    proxy.reply(b"/_bulk", status=429, body=BUSY, times=2)
    inserted(store, job(1, progress=0))
    proxy.reply(b"/_mget", status=503, body={"error": {"type": "x"}}, times=1)
    assert store.get(["job/1"]) == [job(1, progress=0)]
    assert store.write([Update("job/1", more)]) == [job(1, progress=1)]
    proxy.reply(b"/_search", status=429, body=BUSY, times=1)
    assert found(store) == [job(1, progress=1)]


def test_a_cluster_that_stays_busy_is_away(proxy: HttpProxy, behind: Make) -> None:
    store = behind(commit=0.5, patience=0.5)
    proxy.reply(b"/_", status=429, body=BUSY)
    for call in (lambda: store.write([Insert(job(1))]), lambda: store.get(["job/1"]), lambda: found(store)):
        with within(2.0), pytest.raises(StoreAway, match="429, es_rejected_execution_exception: rejected"):
            call()
    proxy.pass_on()
    inserted(store, job(1))


def answer_of(status: int, kind: str) -> dict[str, Any]:
    return {"items": [{"create": {"status": status, "error": {"type": kind, "reason": "no"}}}]}


def test_an_item_that_a_busy_node_refuses_is_written_later(proxy: HttpProxy, behind: Make) -> None:
    store = behind()
    proxy.reply(b"/_bulk", status=200, body=answer_of(429, "es_rejected_execution_exception"), times=2)
    inserted(store, job(1))
    assert store.get(["job/1"]) == [job(1)]


def test_an_item_that_is_refused_to_the_end_is_certainly_not_written(proxy: HttpProxy, behind: Make) -> None:
    store = behind(commit=0.5)
    proxy.reply(b"/_bulk", b"-job", status=200, body=answer_of(429, "es_rejected_execution_exception"))
    [refused] = store.write([Insert(job(1), "k")])
    assert isinstance(refused, StoreRefused)
    proxy.pass_on()
    assert store.get(["job/1"]) == [None]
    assert store.write([Insert(job(2), "k")]) == [job(2)]


def test_of_an_item_that_failed_inside_nothing_is_known(proxy: HttpProxy, behind: Make) -> None:
    store = behind()
    proxy.reply(b"/_bulk", status=200, body=answer_of(503, "unavailable_shards_exception"), times=1)
    with pytest.raises(StoreAway, match="unavailable_shards_exception"):
        store.write([Insert(job(1))])


def test_a_search_that_elasticsearch_gives_up_was_too_long(proxy: HttpProxy, behind: Make) -> None:
    store = behind()
    body = {"timed_out": True, "hits": {"total": {"value": 0}, "hits": []}}
    proxy.reply(b"/_search", status=200, body=body, times=1)
    with pytest.raises(SearchTooLong, match="narrower"):
        found(store)
    assert found(store) == []


@pytest.mark.parametrize("body", [b"<html>", {"hello": "world"}, {"items": [], "docs": [], "hits": {"hits": 3}}])
def test_an_answer_that_is_none_tells_nothing(proxy: HttpProxy, behind: Make, body: Any) -> None:
    store = behind()
    proxy.reply(b"/_mget", status=200, body=body)
    proxy.reply(b"/_bulk", status=200, body=body)
    proxy.reply(b"/_search", status=200, body=body)
    for call in (lambda: store.write([Insert(job(1))]), lambda: store.get(["job/1"]), lambda: found(store)):
        with pytest.raises(StoreAway):
            call()


# --- writes blocked


@contextmanager
def block(name: str) -> Iterator[None]:
    """Block writes, as an operator may, or Elasticsearch itself on a full disk (`read_only_allow_delete`)."""
    path = f"/{shared_prefix()}-*/_settings"
    elasticsearch.ask(elasticsearch.shared(), "PUT", path, {f"index.blocks.{name}": True})
    try:
        yield
    finally:
        elasticsearch.ask(elasticsearch.shared(), "PUT", path, {f"index.blocks.{name}": None})


@pytest.mark.parametrize("name", ["read_only_allow_delete", "read_only", "write"])
def test_blocked_writes_are_refused_at_once(direct: ElasticsearchStore, name: str) -> None:
    inserted(direct, job(1, progress=0), job(2))
    with block(name), within(3.0):
        results = direct.write([Insert(job(3), "k"), Update("job/1", more), Update("job/2", gone), Insert(job(4))])
        assert [type(result) for result in results] == [StoreRefused] * 4
        assert "cluster_block_exception" in str(results[0])
        with pytest.raises(StoreRefused):
            direct.delete("job", Query(parse("id='job/2'")), 10)
        assert direct.get(["job/1", "job/3"]) == [job(1, progress=0), None]
        assert found(direct) == [job(1, progress=0), job(2)]
    assert direct.write([Insert(job(5), "k"), Update("job/1", more)]) == [job(5), job(1, progress=1)]


def test_a_log_in_that_is_refused_is_told(proxy: HttpProxy, behind: Make) -> None:
    store = behind()
    proxy.reply(b"/_", status=403, body={"error": {"type": "security_exception", "reason": "unauthorized"}})
    [refused] = store.write([Insert(job(1))])
    assert isinstance(refused, StoreRefused)
    for call in (lambda: store.get(["job/1"]), lambda: found(store)):
        with pytest.raises(StoreAway, match="security_exception: unauthorized"):
            call()


def test_items_that_fail_do_not_harm_other_items_of_the_write(proxy: HttpProxy, behind: Make) -> None:
    store = behind()
    results = store.write([Update("job/none", more), Insert(job(1)), Update("job/1", lambda document: {"id": "job/2"})])
    assert [type(result) for result in results] == [NoSuchDocument, dict, ValueError]
