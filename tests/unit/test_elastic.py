"""`executor.es` against a server that answers like Elasticsearch 6: plain JSON only, and no name of the product."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest

from geventjob.executor import elastic
from geventjob.executor.context import ExecutorContext
from tests.support.answering import Answering, Asked, Reply, answering

DELETED = {"took": 3, "timed_out": False, "deleted": 4, "failures": []}
QUERY = {"query": {"query_string": {"query": "created:<now-7d"}}}


def of_version_6(asked: Asked) -> Reply:
    if any("vnd." in value for name, value in asked.headers.items() if name.lower() in ("accept", "content-type")):
        return Reply(406, {"error": "Content-Type header is not supported", "status": 406})
    content = {"Content-Type": "application/json; charset=UTF-8"}
    if asked.path.endswith("/_delete_by_query"):
        return Reply(200, DELETED, headers=content)
    if asked.path == "/gone":
        return Reply(404, {"error": {"type": "index_not_found_exception"}, "status": 404}, headers=content)
    return Reply(200, {"acknowledged": True}, headers=content)


def es(server: Answering, *hosts: str) -> Any:
    return elastic.connect(hosts or [server.url], 3)


def test_a_deletion_by_query_as_old_actions_call_it() -> None:
    with answering(of_version_6) as server:
        result = es(server).delete_by_query(index="slipstream-job", doc_type="_doc", body=QUERY)
    assert type(result) is dict
    assert (result["timed_out"], result["failures"], result["deleted"]) == (False, [], 4)
    assert server.paths() == ["POST /slipstream-job/_delete_by_query"]
    assert server.asked[0].json == QUERY


def test_parts_of_the_client_and_its_errors() -> None:
    from elasticsearch import NotFoundError

    with answering(of_version_6) as server:
        assert es(server).indices.refresh(index="x") == {"acknowledged": True}
        with pytest.raises(NotFoundError, match="index_not_found_exception"):
            es(server).indices.get(index="gone")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("localhost", "http://localhost:9200"),
        ("10.0.0.1:9201", "http://10.0.0.1:9201"),
        ("https://es.example", "https://es.example:9200"),
        ("https://me:se:cret@es.example", "https://me:se:cret@es.example:9200"),
        ("http://es.example:80/behind", "http://es.example:80/behind"),
        ("http://es.example/behind", "http://es.example:9200/behind"),
        ("[::1]", "http://[::1]:9200"),
    ],
)
def test_hosts(host: str, url: str) -> None:
    assert elastic._url(host) == url


def test_it_is_made_at_first_use_and_once() -> None:
    with answering(of_version_6) as server:
        context = ExecutorContext(None, Namespace(es_hosts_list=[server.url], threads=5))  # type: ignore[arg-type]
        assert not server.asked
        assert context.es is context.es
        assert context.es.delete_by_query(index="x", body=QUERY)["deleted"] == 4
    connections = context.es._current.transport.node_pool.get().pool
    assert connections.pool.maxsize == 5


def test_without_hosts_an_action_may_have_it_and_not_use_it() -> None:
    context = ExecutorContext(None, Namespace(es_hosts_list=[], threads=5))  # type: ignore[arg-type]
    assert context.es
    with pytest.raises(RuntimeError, match="started without --es-hosts-list"):
        context.es.delete_by_query(index="x")
