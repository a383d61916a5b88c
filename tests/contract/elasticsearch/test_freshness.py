"""Searches see earlier writes, with as few refreshes of Elasticsearch as possible."""

from __future__ import annotations

from collections.abc import Callable

import gevent

from geventjob.clock import boottime
from geventjob.server.store.base import Insert, Query, Update
from geventjob.server.store.elasticsearch import ElasticsearchStore
from tests.contract.store.documents import inserted, job, names
from tests.support.http_proxy import HttpProxy
from tests.support.waiting import eventually

Make = Callable[..., ElasticsearchStore]
REFRESH = b"/_refresh"


def found(store: ElasticsearchStore, *, fresh: bool) -> str:
    return names(store.search("job", Query(fresh=fresh)).documents)


def test_a_fresh_search_sees_every_write_and_refreshes_once_for_it(proxy: HttpProxy, behind: Make) -> None:
    store = behind()
    assert found(store, fresh=True) == ""
    assert proxy.count(REFRESH) == 1  # writes before its start are unknown to the store
    inserted(store, job(1), job(2))
    store.write([Update("job/1", lambda document: None)])
    assert proxy.count(REFRESH) == 1
    assert [found(store, fresh=True) for _ in range(3)] == ["2"] * 3
    assert proxy.count(REFRESH) == 2
    store.delete("job", Query(), 10)
    assert found(store, fresh=True) == ""
    assert proxy.count(REFRESH) == 3
    store.write([Insert({"id": "user/1"})])
    found(store, fresh=True)
    assert proxy.count(REFRESH) == 3
    assert store.search("user", Query()).count == 1
    assert proxy.count(REFRESH) == 4


def test_another_search_sees_a_write_within_moments_and_refreshes_nothing(proxy: HttpProxy, behind: Make) -> None:
    store = behind()
    found(store, fresh=True)
    inserted(store, job(1))
    began = boottime()
    eventually(lambda: found(store, fresh=False) == "1")
    assert boottime() - began < 5
    assert proxy.count(REFRESH) == 1


def test_searches_at_the_same_time_share_a_refresh(proxy: HttpProxy, behind: Make) -> None:
    store = behind()
    found(store, fresh=True)
    inserted(store, job(1))
    hold = proxy.hold_request(REFRESH)
    first = gevent.spawn(found, store, fresh=True)
    hold.reached.wait()
    inserted(store, job(2))
    others = [gevent.spawn(found, store, fresh=True) for _ in range(10)]
    gevent.sleep(0)
    hold.let_go()
    assert [one.get() for one in others] == ["1 2"] * 10
    assert "1" in first.get()
    assert proxy.count(REFRESH) == 3


def test_a_write_whose_outcome_is_not_known_is_looked_for(proxy: HttpProxy, behind: Make) -> None:
    store = behind(commit=0.5)
    found(store, fresh=True)
    hold = proxy.hold_answer(b"/_bulk")
    writing = gevent.spawn(store.write, [Insert(job(1))])
    writing.join()
    assert writing.exception is not None
    assert found(store, fresh=True) == "1"
    hold.drop()
