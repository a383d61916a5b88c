"""Stores over the Elasticsearch that tests share."""

from __future__ import annotations

import atexit
import functools
import os
import secrets
from pathlib import Path

from geventjob.server.store.base import KINDS, Query
from geventjob.server.store.elasticsearch import ElasticsearchStore
from geventjob.server.store.elasticsearch.mapping import KEYS
from tests import elasticsearch

PATIENT = {"patience": 30.0, "commit": 30.0}
"""A machine that runs many tests is slow now and then, which is not what they are about."""


def elasticsearch_store(directory: Path) -> ElasticsearchStore:
    """The store of this directory, which is empty at first: to make indexes takes longer than to empty them."""
    if not (directory / "elasticsearch").exists():
        (directory / "elasticsearch").touch()
        _empty()
    return _store()


def _store() -> ElasticsearchStore:
    return ElasticsearchStore([elasticsearch.shared()], prefix=_prefix(), **PATIENT)


@functools.cache
def _prefix() -> str:
    """Of the indexes of this process, which go with it."""
    prefix = new_prefix()
    atexit.register(remove_indexes, prefix)
    return prefix


def new_prefix() -> str:
    return f"test-{os.getpid()}-{secrets.token_hex(3)}"


def remove_indexes(prefix: str) -> None:
    host = elasticsearch.shared()
    for kind in (*KINDS, KEYS):
        elasticsearch.ask(host, "DELETE", f"/{prefix}-{kind}?ignore_unavailable=true")
        elasticsearch.ask(host, "DELETE", f"/_index_template/{prefix}-{kind}*")


def _empty() -> None:
    store = _store()
    store.start()
    elasticsearch.ask(elasticsearch.shared(), "POST", f"/{_prefix()}-*/_refresh")
    for kind in KINDS:
        store.delete(kind, Query(), 1_000_000)
    store.close()
