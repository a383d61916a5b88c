"""A look at one node of a cluster, for `geventjob check`."""

from __future__ import annotations

from typing import Any

import msgspec

from geventjob.clock import boottime
from geventjob.server.store.base import StoreAway
from geventjob.server.store.elasticsearch.mapping import check_cluster
from geventjob.server.store.elasticsearch.wire import Wire, refusal


class _Health(msgspec.Struct):
    status: str
    cluster_name: str


def version_of(host: str, seconds: float, **login: Any) -> str:
    """Return the version of a node and the name of its cluster. `login`: further arguments of `Wire`.

    Raises StoreAway for a node that does not answer and for a cluster that is red, StoreRefused for a log-in that is
    refused, StoreError for a server of another kind or of a version that is too old.
    """
    until = boottime() + seconds
    wire = Wire([host], **login)
    try:
        version = check_cluster(wire, until)
        answer = wire.ask("GET", "/_cluster/health", until=until)
        if not answer.good:
            raise refusal(answer)
        health = answer.read(msgspec.json.Decoder(_Health).decode)
    finally:
        wire.close()
    if health.status == "red":
        raise StoreAway(f"the cluster {health.cluster_name} is red: some data cannot be reached")
    return f"version {version}, cluster {health.cluster_name} is {health.status}"
