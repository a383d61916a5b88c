"""Nodes killed and frozen under load: no acknowledged write is lost, and the store recovers by itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from itertools import count

import gevent
import pytest

from geventjob.server.store.base import Insert, Query, StoreAway, StoreError, StoreRefused, Update
from geventjob.server.store.elasticsearch import ElasticsearchStore
from tests.contract.store.documents import job
from tests.support import elasticsearch
from tests.support.waiting import eventually

COMMIT = 4.0
LONGEST = COMMIT + 1.5
"""Longest duration of a call in seconds, on a loaded machine."""


class Load:
    """Writers that each insert documents with keys, update a counter in each, and delete some."""

    def __init__(self, store: ElasticsearchStore, writers: int = 8) -> None:
        self.store = store
        self.sure: dict[str, int | None] = {}
        """The counter that each document must have; None for a document that must be gone."""
        self.written = 0
        self.longest = 0.0
        self.failures: list[StoreError] = []
        self._stopping = False
        self._writers = [gevent.spawn(self._write, number) for number in range(writers)]

    def stop(self) -> None:
        self._stopping = True
        gevent.joinall(self._writers, raise_error=True)

    def _write(self, writer: int) -> None:
        for number in count():
            if self._stopping:
                return
            name = f"{writer}-{number}"
            if self._do(Insert(job(name, progress=0), name), 0):
                for progress in (1, 2):
                    self._do(Update(f"job/{name}", _progress(progress)), progress)
                if number % 3 == 0:
                    self._do(Update(f"job/{name}", lambda document: None), None)

    def _do(self, item: Insert | Update, holds: int | None) -> bool:
        id = item.document["id"] if isinstance(item, Insert) else item.id
        began = time.monotonic()
        try:
            [result] = self.store.write([item])
        except StoreAway as error:
            result = error
        self.longest = max(self.longest, time.monotonic() - began)
        if isinstance(result, StoreRefused):
            self.failures.append(result)  # certainly not written
        elif isinstance(result, StoreAway):
            self.failures.append(result)
            self.sure.pop(id, None)
        else:
            assert not isinstance(result, Exception), result
            self.sure[id] = holds
            self.written += 1
        if isinstance(result, StoreError):
            gevent.sleep(0.05)
        return not isinstance(result, StoreError)

    def check(self) -> None:
        """Assert that the store has every acknowledged write."""
        ids = list(self.sure)
        held = [document and document["progress"] for document in self.store.get(ids)]
        assert dict(zip(ids, held, strict=True)) == self.sure
        kept = [id for id, holds in self.sure.items() if holds is not None]
        owners = self.store.find("job", [id.partition("/")[2] for id in kept])
        assert [owner and owner["id"] for owner in owners] == kept
        found = {document["id"] for document in self.store.search("job", Query()).documents}
        assert {id for id, holds in self.sure.items() if holds is not None} <= found


def _progress(progress: int):  # type: ignore[no-untyped-def]
    return lambda document: {**document, "progress": progress}


def wrote_again(load: Load) -> bool:
    before = load.written
    return bool(eventually(lambda: load.written > before + 20, 90))


@pytest.fixture(scope="module")
def node() -> Iterator[elasticsearch.Node]:
    with elasticsearch.running(elasticsearch.Cluster()) as cluster:
        yield cluster.nodes[0]


@pytest.fixture
def store(node: elasticsearch.Node, request: pytest.FixtureRequest) -> Iterator[ElasticsearchStore]:
    prefix = request.node.name.replace("_", "-")[:60].strip("-")
    made = ElasticsearchStore([node.host], prefix=prefix, commit=COMMIT, patience=COMMIT)
    made.start()
    yield made
    made.close()


def test_a_node_that_is_killed_has_lost_nothing(
    node: elasticsearch.Node, store: ElasticsearchStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "geventjob")
    load = Load(store)
    assert wrote_again(load)
    node.kill()
    eventually(lambda: len(load.failures) > 20)
    with pytest.raises(StoreAway):
        store.get(["job/1"])
    with pytest.raises(StoreAway):
        store.search("job", Query())
    node.start()
    node.await_ready()
    assert wrote_again(load)
    load.stop()
    load.check()
    assert load.longest < LONGEST
    told = [record.getMessage() for record in caplog.records if record.name.endswith("elasticsearch.wire")]
    # One line for a failure, one for its recovery: a node that has just started may be late once more.
    assert [line.endswith("answers again") for line in told] == [False, True] * (len(told) // 2)
    assert 2 <= len(told) <= 4


def test_a_node_that_is_frozen_keeps_nobody_waiting(node: elasticsearch.Node, store: ElasticsearchStore) -> None:
    load = Load(store)
    assert wrote_again(load)
    node.freeze()
    try:
        eventually(lambda: len(load.failures) >= 8, 30)
        began = time.monotonic()
        with pytest.raises(StoreAway):
            store.search("job", Query())
        assert time.monotonic() - began < LONGEST + 1
    finally:
        node.thaw()
    assert wrote_again(load)
    load.stop()
    load.check()
    assert load.longest < LONGEST


def has_started(store: ElasticsearchStore) -> bool:
    """Make the indexes, as a server that is started again until it can: a busy machine takes longer than COMMIT."""
    try:
        store.start()
    except StoreAway:
        return False
    return True


def test_one_of_three_nodes_is_killed() -> None:
    """The killed node is the master and has all primary shards; the others take over within seconds."""
    with elasticsearch.running(elasticsearch.Cluster(3)) as cluster:
        store = ElasticsearchStore(cluster.hosts, commit=COMMIT, patience=COMMIT)
        eventually(lambda: has_started(store), within=60)
        load = Load(store)
        assert wrote_again(load)
        green = "/_cluster/health?wait_for_status=green&wait_for_no_initializing_shards=true&timeout=60s"
        assert not elasticsearch.ask(cluster.hosts[0], "GET", green)["timed_out"]
        master = elasticsearch.ask(cluster.hosts[0], "GET", "/_cat/master?format=json")[0]["node"]
        [killed] = [node for node in cluster.nodes if node.name == master]
        killed.kill()
        began = time.monotonic()
        assert wrote_again(load)
        print(
            f"three nodes: 20 writes within {time.monotonic() - began:.1f} s of the kill, {len(load.failures)} failed"
        )
        load.stop()
        load.check()
        assert load.longest < LONGEST
        store.close()
