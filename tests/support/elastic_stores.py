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
"""Generous time limits for tests of other things, since a machine that runs many tests is slow at times."""

ALL = {"size": 10_000, "_source": False}


def elasticsearch_store(directory: Path, hosts: Sequence[str] = (), **options: Any) -> ElasticsearchStore:
    """Return the store of a directory, empty on the first call: emptying shared indexes is faster than new ones.

    `hosts`: proxies in front of the shared node. `options`: further arguments of the store.
    """
    if not (directory / "elasticsearch").exists():
        (directory / "elasticsearch").touch()
        _empty()
    return ElasticsearchStore(hosts or [elasticsearch.shared()], prefix=shared_prefix(), **{**PATIENT, **options})


@functools.cache
def shared_prefix() -> str:
    """Return the prefix of the indexes of this process, which are removed at its end."""
    prefix = new_prefix()
    store = ElasticsearchStore([elasticsearch.shared()], prefix=prefix, **PATIENT)
    store.start()
    store.close()
    atexit.register(remove_indexes, prefix)
    return prefix


def new_prefix() -> str:
    """Return an unused prefix of indexes."""
    return f"test-{os.getpid()}-{secrets.token_hex(3)}"


def remove_indexes(prefix: str) -> None:
    """Remove the indexes and templates of a prefix, as far as they exist and the node still runs."""
    host = elasticsearch.shared()
    for path in [f"/{name}/{prefix}-{kind}" for kind in (*KINDS, KEYS) for name in ("", "_index_template")]:
        with contextlib.suppress(OSError):
            elasticsearch.ask(host, "DELETE", path.replace("//", "/"))


def _empty() -> None:
    """Delete everything from the indexes of this process, claims and tombstones included."""
    all_of_them = f"/{shared_prefix()}-*"
    elasticsearch.ask(elasticsearch.shared(), "POST", f"{all_of_them}/_refresh")
    while hits := elasticsearch.ask(elasticsearch.shared(), "POST", f"{all_of_them}/_search", ALL)["hits"]["hits"]:
        lines = [{"delete": {"_index": hit["_index"], "_id": hit["_id"]}} for hit in hits]
        elasticsearch.ask(elasticsearch.shared(), "POST", "/_bulk?refresh=true", lines)
