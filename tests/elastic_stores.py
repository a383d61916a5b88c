"""Stores over the Elasticsearch that tests share."""

from __future__ import annotations

from pathlib import Path

from geventjob.server.store.base import KINDS, Query
from geventjob.server.store.elasticsearch import ElasticsearchStore
from tests import elasticsearch

PREFIX = "contract"
PATIENT = {"patience": 30.0, "commit": 30.0}
"""A machine that runs many tests is slow now and then, which is not what they are about."""


def elasticsearch_store(directory: Path) -> ElasticsearchStore:
    """The store of this directory, which is empty at first: to make indexes takes longer than to empty them."""
    host = elasticsearch.shared()
    if not (directory / "elasticsearch").exists():
        (directory / "elasticsearch").touch()
        _empty(host)
    return ElasticsearchStore([host], prefix=PREFIX, **PATIENT)


def _empty(host: str) -> None:
    store = ElasticsearchStore([host], prefix=PREFIX, **PATIENT)
    store.start()
    elasticsearch.ask(host, "POST", f"/{PREFIX}-*/_refresh")
    for kind in KINDS:
        store.delete(kind, Query(), 1_000_000)
    store.close()
