"""Responses and bodies at their bounds, and health checks of a store that cannot be written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import falcon
import falcon.testing
import gevent
import msgspec
import pytest

from geventjob.coordination.base import Coordination
from geventjob.server.http import decode as decode_module
from geventjob.server.http import response, spool
from geventjob.server.http.decode import decode, decode_as
from geventjob.server.http.errors import problem_of
from geventjob.server.problem import Problem
from geventjob.server.resources import health
from geventjob.server.resources.bodies import BulkEditBody
from geventjob.server.resources.health import HealthResource
from geventjob.server.store.base import Insert, StoreAway, StoreRefused, Update, write_one
from geventjob.server.store.sqlite import SqliteStore, writing


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "store.db")
    made.start()
    yield made
    made.close()


def test_a_server_that_cannot_write_is_unhealthy(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_INTERVAL", 0.0)
    coordination = cast(Coordination, SimpleNamespace(session=SimpleNamespace(over=False)))
    app: falcon.App[Any, Any] = falcon.App()
    app.add_route("/healthz", HealthResource(store, coordination, lambda: False))
    client = falcon.testing.TestClient(app)

    def asked() -> tuple[int, str]:
        found = client.simulate_get("/healthz")
        gevent.sleep(0.05)
        return found.status_code, found.text

    assert asked() == (200, "ok")
    store._writing.execute("PRAGMA query_only = ON")
    with gevent.Timeout(10):
        while asked() == (200, "ok"):
            pass
    assert asked() == (503, "the store refuses to write: attempt to write a readonly database")
    store._writing.execute("PRAGMA query_only = OFF")
    with gevent.Timeout(10):
        while asked() != (200, "ok"):
            pass


def test_a_full_disk_is_told_from_a_store_that_is_out_of_reach(store: SqliteStore) -> None:
    store._writing.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreRefused) as full:
        write_one(store, Insert({"id": "job/1", "payload": {"text": "x" * 2_000_000}}))
    assert problem_of(full.value).body() == {
        "status": 503,
        "message": "the store refuses to write: database or disk is full",
    }
    assert problem_of(StoreAway("no node answers")).message == "the store is out of reach: no node answers"


def test_many_edits_of_one_document_write_it_once(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    [_] = store.write([Insert({"id": "job/1", "n": 0})])
    written = []
    values = writing.__dict__["values"]

    def noted(document: dict[str, Any], *columns: str) -> Any:
        written.append(document["n"])
        return values(document, *columns)

    def add(document: dict[str, Any]) -> dict[str, Any]:
        return document | {"n": document["n"] + 1}

    def refuse(document: dict[str, Any]) -> dict[str, Any]:
        raise Problem(409, f"at {document['n']}")

    monkeypatch.setattr(writing, "values", noted)
    results = store.write([Update("job/1", change) for change in (add, add, refuse, add, lambda _: None, add)])
    assert [result["n"] for result in results if isinstance(result, dict)] == [1, 2, 3]
    assert [str(result) for result in results if isinstance(result, Exception)] == ["at 2", "job/1"]
    assert results[4] is None
    assert store.get(["job/1"]) == [None]
    assert written == []
    store.write([Insert({"id": "job/2", "n": 0})])
    written.clear()
    store.write([Update("job/2", add)] * 50)
    assert written == [50]


def test_a_large_response_is_spooled_to_a_file() -> None:
    resp = falcon.Response()
    value = {"x": "y" * 3 * spool.PART}
    response.set_json(resp, value)
    assert resp.data is None
    parts = list(cast(Any, resp.stream))
    assert max(map(len, parts)) == spool.PART
    assert msgspec.json.decode(b"".join(parts)) == value
    assert int(resp.get_header("Content-Length") or 0) == sum(map(len, parts))
    taken = spool._spooled
    cast(Any, resp.stream).close()
    assert spool._spooled == taken - sum(map(len, parts))


def test_a_response_that_is_too_large_names_select(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response, "MAX_RESPONSE", (1 << 16) + response.MARGIN)
    items = [{"x": "y" * 10_000}] * 20
    with pytest.raises(Problem, match=r"\$select") as caught:
        response.encode_items(items)
    assert caught.value.status == 413
    encoded = response.encode_items(items, lambda: {"status": 503})
    assert [msgspec.json.decode(item) for item in encoded] == items[:6] + [{"status": 503}] * 14


@pytest.mark.parametrize("others", [{}, {"count": 2, "id": "job"}])
@pytest.mark.parametrize("items", [[], [{"n": 1}], [{"x": "y" * spool.PART}] * 3])
def test_a_response_is_joined_from_its_items(others: dict[str, Any], items: list[Any]) -> None:
    resp = falcon.Response()
    response.set_json(resp, {**others, "jobs": response.encode_items(items), "more": response.encode_items(items)})
    data = resp.data if resp.stream is None else b"".join(cast(Any, resp.stream))
    assert msgspec.json.decode(cast(bytes, data)) == {**others, "jobs": items, "more": items}
    if resp.stream is not None:
        cast(Any, resp.stream).close()


def test_a_body_of_too_many_values_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_module, "MAX_VALUES", 10)
    assert decode(b'{"x": "' + b"," * 100 + b'\\",\\","}')["x"].startswith(",,")
    for many in (b"[" + b"0," * 20 + b"0]", b"[" + b'"a",' * 20 + b"0]"):
        with pytest.raises(Problem, match="more than 10 values"):
            decode(many)


def test_items_of_a_bulk_request_are_decoded_one_by_one() -> None:
    edits = decode_as(BulkEditBody, b'{"edits": [{"id": 1}, [0, 1], {"id": "job/1", "set": {}}]}').edits
    assert [bytes(edit)[:4] for edit in edits] == [b'{"id', b"[0, ", b'{"id']
