"""Stores over the Elasticsearch that tests share."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geventjob.server.store.base import KINDS
from geventjob.server.store.elasticsearch import ElasticsearchStore
from geventjob.server.store.elasticsearch.mapping import KEYS
from tests.support import elasticsearch

PATIENT: dict[str, Any] = {"patience": 30.0, "commit": 30.0}
"""A machine that runs many tests is slow now and then, which is not what they are about."""

ALL = {"size": 10_000, "_source": False}


def elasticsearch_store(directory: Path, hosts: Sequence[str] = (), **options: Any) -> ElasticsearchStore:
    """The store of this directory, which is empty at first: to make indexes takes longer than to empty them.

    `hosts`: proxies to reach it through; `options` of the store.
    """
    if not (directory / "elasticsearch").exists():
        (directory / "elasticsearch").touch()
        _empty()
    return ElasticsearchStore(hosts or [elasticsearch.shared()], prefix=shared_prefix(), **{**PATIENT, **options})


@functools.cache
def shared_prefix() -> str:
    """Of the indexes of this process, which go with it."""
    prefix = new_prefix()
    store = ElasticsearchStore([elasticsearch.shared()], prefix=prefix, **PATIENT)
    store.start()
    store.close()
    atexit.register(remove_indexes, prefix)
    return prefix


def new_prefix() -> str:
    return f"test-{os.getpid()}-{secrets.token_hex(3)}"


def remove_indexes(prefix: str) -> None:
    """As far as they were made, and while there still is a node."""
    host = elasticsearch.shared()
    for path in [f"/{name}/{prefix}-{kind}" for kind in (*KINDS, KEYS) for name in ("", "_index_template")]:
        with contextlib.suppress(OSError):
            elasticsearch.ask(host, "DELETE", path.replace("//", "/"))


def _empty() -> None:
    """Nothing is left, not even what keeps a key or an id from being had."""
    all_of_them = f"/{shared_prefix()}-*"
    elasticsearch.ask(elasticsearch.shared(), "POST", f"{all_of_them}/_refresh")
    while hits := elasticsearch.ask(elasticsearch.shared(), "POST", f"{all_of_them}/_search", ALL)["hits"]["hits"]:
        lines = [{"delete": {"_index": hit["_index"], "_id": hit["_id"]}} for hit in hits]
        elasticsearch.ask(elasticsearch.shared(), "POST", "/_bulk?refresh=true", lines)
