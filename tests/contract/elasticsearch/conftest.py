"""Fixtures: stores behind a proxy that fails on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from geventjob.server.store.elasticsearch import ElasticsearchStore
from tests.support import elasticsearch
from tests.support.elastic_stores import elasticsearch_store
from tests.support.http_proxy import HttpProxy


@pytest.fixture
def proxy() -> Iterator[HttpProxy]:
    made = HttpProxy(int(elasticsearch.shared().rpartition(":")[2]))
    yield made
    made.close()


@pytest.fixture
def behind(proxy: HttpProxy, tmp_path: Path) -> Iterator[Callable[..., ElasticsearchStore]]:
    """Return a factory of stores behind the proxy, which share one set of documents, empty at first."""
    made: list[ElasticsearchStore] = []

    def make(**options: float) -> ElasticsearchStore:
        made.append(elasticsearch_store(tmp_path, [proxy.url], **options))
        made[-1].start()
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def direct(tmp_path: Path) -> Iterator[ElasticsearchStore]:
    """Return a store of the same documents without the proxy, like the store of another server."""
    made = elasticsearch_store(tmp_path)
    made.start()
    yield made
    made.close()
