"""A document that this server has written is not read again before the next write, whatever other servers do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from geventjob.cimi.document import Document
from geventjob.server.store.base import Insert, NoSuchDocument, Update
from geventjob.server.store.elasticsearch import ElasticsearchStore
from tests.contract.store.documents import inserted, job
from tests.support.http_proxy import HttpProxy

Make = Callable[..., ElasticsearchStore]
READ = b"/_mget"


def runs(count: int) -> Callable[[Document], Document]:
    """Return a change that sets the attempts of a job, and refuses a job with as many."""

    def change(document: Document) -> Document:
        if document.get("attempts", 0) >= count:
            raise ValueError(f"{document['attempts']} attempts already")
        return {**document, "attempts": count}

    return change


def attempts(store: ElasticsearchStore) -> int:
    (document,) = store.get(["job/1"])
    assert document
    return int(document["attempts"])


def test_writes_of_one_server_need_no_read(proxy: HttpProxy, behind: Make) -> None:
    store = behind()
    inserted(store, job(1), job(2))
    for count in (1, 2):
        store.write([Update(f"job/{number}", runs(count)) for number in (1, 2)])
    assert (proxy.count(READ), attempts(store)) == (0, 2)


def test_a_change_sees_what_another_server_has_written_meanwhile(
    proxy: HttpProxy, behind: Make, direct: ElasticsearchStore
) -> None:
    store = behind()
    inserted(store, job(1))
    direct.write([Update("job/1", lambda document: {**document, "name": "theirs"})])
    (written,) = store.write([Update("job/1", runs(1))])
    assert isinstance(written, dict)
    assert (written["name"], written["attempts"], proxy.count(READ)) == ("theirs", 1, 1)


@pytest.mark.parametrize("times", [1, 2])
def test_a_refusal_and_a_change_of_nothing_follow_from_the_present_document(
    times: int, behind: Make, direct: ElasticsearchStore
) -> None:
    store = behind()
    inserted(store, job(1))
    store.write([Update("job/1", runs(2))])
    direct.write([Update("job/1", lambda document: {**document, "attempts": 0})])
    (written,) = store.write([Update("job/1", runs(times))])
    assert isinstance(written, dict), written
    direct.write([Update("job/1", lambda document: {**document, "attempts": 5})])
    (same,) = store.write([Update("job/1", lambda document: document)])
    assert isinstance(same, dict)
    assert same["attempts"] == 5


def test_a_document_that_another_server_has_deleted_is_gone(behind: Make, direct: ElasticsearchStore) -> None:
    store = behind()
    inserted(store, job(1))
    direct.write([Update("job/1", lambda document: None)])
    (gone,) = store.write([Update("job/1", runs(1))])
    assert isinstance(gone, NoSuchDocument)
    assert store.write([Insert(job(1))]) == [job(1)]


def test_as_many_bytes_are_kept_as_there_is_room(
    proxy: HttpProxy, behind: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geventjob.server.store.elasticsearch.recent.BYTES", 3_000)
    store = behind()
    inserted(store, job(1, payload={"text": "x" * 1_000}), job(2, payload={"text": "x" * 1_000}))
    store.write([Update("job/2", runs(1))])
    assert proxy.count(READ) == 0
    store.write([Update("job/1", runs(1))])
    assert proxy.count(READ) == 1
