"""The indexes: their fields, and how the first server creates or upgrades them.

An index keeps each document whole and not indexed (`document`). Searches read other fields with fixed names, so that no
input of a client can become a field.

| field | content |
|---|---|
| the single attributes, `state`, `targetResource/href` … | typed values |
| `values` | all other values, by the label of their path: one flattened field |
| `paths` | the labels of all paths that lead to a value |
| `readers` | the principals that may see the document |
| `document`, `key`, `born`, `mark` | kept, not searched (steps.py) |
| `dead` | only in tombstones: the time of the tombstone (steps.py) |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from geventjob.clock import boottime
from geventjob.server.store.attributes import FRACTIONS, SINGLE, Type, label
from geventjob.server.store.base import KINDS, StoreAway, StoreError
from geventjob.server.store.elasticsearch.wire import Wire, refusal

VERSION = 4
"""Version of the mappings, in their `_meta`: 2 has added the fields of held jobs, 3 those of jobs that wait on
something, limits and pauses, 4 rates, failures, events and claims. A version may only add fields and indexes."""
OLDEST = (7, 17)
KEYS = "keys"
"""The kind of the documents that claim unique keys."""
STARTING = 30.0
"""Seconds within which the indexes must be ready."""

_TYPES: Mapping[Type, Mapping[str, Any]] = {
    Type.TEXT: {"type": "keyword"},
    Type.NUMBER: {"type": "long", "coerce": False},
    Type.DATE: {"type": "date", "format": "strict_date_optional_time"},
    Type.BOOLEAN: {"type": "boolean"},
}
_FRACTION = {"type": "double"}
_UNREAD = {"type": "object", "enabled": False}
_KEPT = {"type": "keyword", "index": False, "doc_values": False}
_FIELDS: Mapping[str, Any] = {
    **{label(path): _FRACTION if path in FRACTIONS else _TYPES[type_] for path, type_ in SINGLE.items()},
    "values": {"type": "flattened"},
    "paths": {"type": "keyword", "doc_values": False},
    "readers": {"type": "keyword", "doc_values": False},
    "document": _UNREAD,
    "key": _UNREAD,
    "born": _KEPT,
    "mark": _KEPT,
    "dead": {"type": "date"},
}
_SETTINGS = {"number_of_shards": 1, "auto_expand_replicas": "0-1", "refresh_interval": "1s"}
"""One shard, so that aggregations are exact; a replica as soon as the cluster has a second node."""


def index(prefix: str, kind: str) -> str:
    """Return the name of the index of a kind."""
    return f"{prefix}-{kind}"


def prepare(wire: Wire, prefix: str) -> None:
    """Create missing indexes and upgrade older indexes. Several servers may do so at the same time.

    Raises StoreError for a cluster or an index that this program cannot use, StoreAway.
    """
    preparing = _Preparing(wire, prefix)
    check_cluster(wire, boottime() + STARTING)
    preparing.make_and_upgrade()
    preparing.await_indexes()


class _ClusterVersion(msgspec.Struct):
    number: str
    distribution: str = "elasticsearch"


class _Cluster(msgspec.Struct):
    version: _ClusterVersion


def check_cluster(wire: Wire, until: float) -> str:
    """Return the version of the cluster. Raises StoreAway, and StoreError for a cluster that cannot be used."""
    answer = wire.ask("GET", "/", until=until)
    if answer.status in (401, 403):
        raise refusal(answer)
    try:
        told = msgspec.json.decode(answer.data, type=_Cluster).version
        number, product = told.number, told.distribution
        version = tuple(map(int, number.split(".")[:2]))
    except (msgspec.DecodeError, ValueError):
        raise StoreError("the server that answered is not Elasticsearch") from None
    if product != "elasticsearch":
        raise StoreError(f"the server is {product} {number}: Elasticsearch 7.17 or newer is required")
    if version < OLDEST:
        raise StoreError(f"Elasticsearch {number} is too old: 7.17 or newer is required")
    return number


class _Preparing:
    def __init__(self, wire: Wire, prefix: str) -> None:
        self._wire = wire
        self._names = {kind: index(prefix, kind) for kind in (*KINDS, KEYS)}
        self._until = boottime() + STARTING

    def make_and_upgrade(self) -> None:
        versions = self._versions()
        for name, version in versions.items():
            if version > VERSION:
                known = f"this program knows {VERSION}"
                raise StoreError(f"index {name} has version {version}, {known}: use the newer geventjob")
        for kind, name in self._names.items():
            version = versions.get(name, 0)
            if version < VERSION:
                self._put_template(name, kind)
            if not version:
                self._ask("PUT", f"/{name}", None, "resource_already_exists_exception")
            elif version < VERSION:
                self._ask("PUT", f"/{name}/_mapping", _mappings(kind))

    def _versions(self) -> dict[str, int]:
        """Return the versions of the existing indexes. Raises StoreError for an index of another program."""
        names = ",".join(self._names.values())
        found = msgspec.json.decode(self._ask("GET", f"/{names}/_mapping?ignore_unavailable=true"))
        versions = {name: one["mappings"].get("_meta", {}).get("geventjob") for name, one in found.items()}
        for name, version in versions.items():
            if not isinstance(version, int):
                raise StoreError(f"index {name} belongs to another program: choose another --es-index-prefix")
        return versions

    def _put_template(self, name: str, kind: str) -> None:
        """Put the template of an index: an index that is deleted under a running server comes back with its mapping."""
        content = {"settings": _SETTINGS, "mappings": _mappings(kind)}
        template = {"index_patterns": [name], "priority": 500, "version": VERSION, "template": content}
        self._ask("PUT", f"/_index_template/{name}", template)

    def await_indexes(self) -> None:
        names = ",".join(self._names.values())
        path = f"/_cluster/health/{names}?wait_for_status=yellow&timeout={STARTING / 2:.0f}s"
        if self._wire.ask("GET", path, until=self._until).status == 408:
            raise StoreAway(f"some data of the indexes {names} cannot be reached: the cluster is red")

    def _ask(self, method: str, path: str, body: Any = None, harmless: str | None = None) -> bytes:
        """Send a request, and return the body of the answer. Raises StoreError, but not for the type `harmless`."""
        data = None if body is None else msgspec.json.encode(body)
        answer = self._wire.ask(method, path, data, until=self._until)
        if not answer.good and answer.reason.deepest.type != harmless:
            raise refusal(answer)
        return answer.data


def _mappings(kind: str) -> Mapping[str, Any]:
    meta = {"geventjob": VERSION}
    if kind == KEYS:
        return {"_meta": meta, "enabled": False}
    return {"_meta": meta, "dynamic": "strict", "properties": _FIELDS}
