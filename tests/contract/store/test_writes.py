"""Writes: every item is atomic, and has a result of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest

from geventjob.cimi.document import Document
from geventjob.server.store.base import DuplicateKey, Insert, NoSuchDocument, Query, Store, Update
from tests.contract.store.documents import ACL, inserted, job


def put(name: str, value: Any) -> Callable[[Document], Document]:
    return lambda document: {**document, name: value}


def gone(document: Document) -> None:
    return None


def test_what_is_inserted_is_got(store: Store) -> None:
    full = job(
        1,
        state="QUEUED",
        payload={"text": "é\u2028\0", "list": [1, 2.5, None, True, {}]},
        properties={"zookeeper-path": "/job/entries/entry-999-0000000001"},
        statusMessage="line 1\nline 2 \"'\\",
        returnCode=-(2**63),
        _entry="kept",
    )
    inserted(store, full, job(2))
    assert store.get(["job/2", "job/1", "job/3", "nothing/1", "nothing"]) == [job(2), full, None, None, None]


def test_kinds_are_apart(store: Store) -> None:
    user, session, secret = ({"id": f"{kind}/1", "acl": ACL} for kind in ("user", "session", "secret"))
    inserted(store, user, session, secret)
    assert store.get(["job/1", "secret/1"]) == [None, secret]
    assert store.search("user", Query()).documents == [user]
    assert store.search("job", Query()).count == 0


def test_an_id_is_taken_once(store: Store) -> None:
    [first] = inserted(store, job(1, action="a"))
    [result] = store.write([Insert(job(1, action="b"))])
    assert isinstance(result, DuplicateKey)
    assert result.document == first
    assert store.get(["job/1"]) == [first]


def test_a_key_is_taken_once_and_free_after_a_delete(store: Store) -> None:
    results = store.write([Insert(job(1), "k"), Insert(job(2), "k"), Insert(job(3), "other"), Insert(job(4))])
    assert [type(result) for result in results] == [dict, DuplicateKey, dict, dict]
    assert store.find("job", ["k", "none", "other"]) == [job(1), None, job(3)]
    store.write([Update("job/1", put("state", "RUNNING"))])
    assert store.find("job", ["k"]) == [job(1, state="RUNNING")]
    store.write([Update("job/1", gone)])
    assert store.find("job", ["k"]) == [None]
    assert store.write([Insert(job(5), "k")]) == [job(5)]


def test_keys_are_unique_within_a_kind(store: Store) -> None:
    user = {"id": "user/1", "acl": ACL}
    assert store.write([Insert(job(1), "k"), Insert(user, "k")]) == [job(1), user]
    assert store.find("user", ["k"]) == [user]


def test_a_key_freed_by_a_sweep_is_free(store: Store) -> None:
    store.write([Insert(job(1), "k")])
    assert store.delete("job", Query(), 10) == [job(1)]
    assert store.write([Insert(job(2), "k")]) == [job(2)]


def test_an_update_answers_the_document_as_written(store: Store) -> None:
    inserted(store, job(1, progress=1, payload={"n": 1}))
    changed = job(1, progress=2, payload={"n": 1})
    assert store.write([Update("job/1", put("progress", 2))]) == [changed]
    assert store.get(["job/1"]) == [changed]


def test_a_change_may_work_on_its_copy(store: Store) -> None:
    inserted(store, job(1, progress=1, payload={"n": 1}))

    def change(document: Document) -> Document:
        document["progress"] = 2
        document["payload"]["n"] = 3
        return document

    assert store.write([Update("job/1", change)]) == [job(1, progress=2, payload={"n": 3})]
    assert store.get(["job/1"]) == [job(1, progress=2, payload={"n": 3})]
    assert store.search("job", Query()).documents == [job(1, progress=2, payload={"n": 3})]


def test_an_unchanged_document_stays_as_it_is(store: Store) -> None:
    [document] = inserted(store, job(1, progress=1, payload={"n": 1}))
    assert store.write([Update("job/1", lambda document: document)]) == [document]
    assert store.get(["job/1"]) == [document]


def test_a_payload_can_change_alone(store: Store) -> None:
    inserted(store, job(1, payload={"n": 1}))
    assert store.write([Update("job/1", put("payload", {"n": 2}))]) == [job(1, payload={"n": 2})]
    assert store.get(["job/1"]) == [job(1, payload={"n": 2})]


def test_an_attribute_can_be_taken_out(store: Store) -> None:
    inserted(store, job(1, state="QUEUED", payload={"n": 1}, targetResource={"href": "cloud/1"}))
    assert store.write([Update("job/1", lambda document: job(1))]) == [job(1)]
    assert store.get(["job/1"]) == [job(1)]


def test_none_deletes(store: Store) -> None:
    inserted(store, job(1), job(2))
    assert store.write([Update("job/1", gone)]) == [None]
    assert store.get(["job/1", "job/2"]) == [None, job(2)]
    assert store.search("job", Query()).documents == [job(2)]


def test_one_bad_item_fails_alone(store: Store) -> None:
    refusal = RuntimeError("no")

    def refuse(document: Document) -> Document:
        document["progress"] = 99
        raise refusal

    inserted(store, job(1, progress=1))
    results = store.write(
        [
            Insert(job(2)),
            Update("job/1", refuse),
            Update("job/none", put("progress", 2)),
            Insert(job(1)),
            Insert({"id": "nothing/1", "acl": ACL}),
            Insert(job(3, name=object())),
            Update("job/1", put("id", "job/9")),
            Insert(job(4)),
        ]
    )
    assert [type(result) for result in results] == [
        dict, RuntimeError, NoSuchDocument, DuplicateKey, ValueError, TypeError, ValueError, dict
    ]  # fmt: skip
    assert results[1] is refusal
    assert store.get(["job/1", "job/2", "job/3", "job/4", "job/9"]) == [job(1, progress=1), job(2), None, job(4), None]


def test_items_are_carried_out_in_order(store: Store) -> None:
    results = store.write(
        [
            Insert(job(1, progress=0)),
            Update("job/1", lambda document: {**document, "progress": document["progress"] + 1}),
            Update("job/1", lambda document: {**document, "progress": document["progress"] * 10}),
            Update("job/1", gone),
            Update("job/1", put("progress", 5)),
            Insert(job(1, progress=7)),
        ]
    )
    assert [result["progress"] if isinstance(result, dict) else type(result) for result in results] == [
        0, 1, 10, type(None), NoSuchDocument, 7
    ]  # fmt: skip


def test_an_empty_list_is_written_too(store: Store) -> None:
    assert store.write([]) == []
    assert store.get([]) == []
    assert store.find("job", []) == []


def test_no_update_of_many_writers_is_lost(store: Store) -> None:
    inserted(store, job(1, progress=0), job(2, progress=0))
    count = Update("job/1", lambda document: {**document, "progress": document["progress"] + 1})
    other = Update("job/2", lambda document: {**document, "progress": document["progress"] + 1})
    writers = [gevent.spawn(store.write, [count, other] * 5) for _ in range(40)]
    gevent.joinall(writers, raise_error=True)
    assert [document and document["progress"] for document in store.get(["job/1", "job/2"])] == [200, 200]


def test_of_many_inserts_of_one_key_one_wins(store: Store) -> None:
    writers = [gevent.spawn(store.write, [Insert(job(number), "k")]) for number in range(40)]
    gevent.joinall(writers, raise_error=True)
    results = [(writer.value or [])[0] for writer in writers]
    [won] = [result for result in results if isinstance(result, dict)]
    assert all(result.document == won for result in results if isinstance(result, DuplicateKey))
    assert store.search("job", Query()).documents == [won]


def test_writes_are_seen_by_what_follows(store: Store) -> None:
    for number in range(30):
        inserted(store, job(number))
        assert store.get([f"job/{number}"]) == [job(number)]
        assert store.search("job", Query(last=0)).count == number + 1


def test_what_was_written_is_there_after_a_restart(make: Callable[[], Store]) -> None:
    first = make()
    first.start()
    store_key = Insert(job(1, state="QUEUED", payload={"n": 1}), "k")
    first.write([store_key])
    first.close()
    second = make()
    second.start()
    try:
        assert second.get(["job/1"]) == [store_key.document]
        assert second.find("job", ["k"]) == [store_key.document]
        assert second.search("job", Query()).documents == [store_key.document]
    finally:
        second.close()


def test_a_killed_writer_harms_no_other(store: Store) -> None:
    inserted(store, job(0))
    killed = [gevent.spawn(store.write, [Insert(job(f"killed-{number}"))]) for number in range(10)]
    gevent.sleep(0)
    gevent.killall(killed)
    assert store.write([Insert(job(1))]) == [job(1)]
    assert [killer.successful() and isinstance(killer.value, gevent.GreenletExit) for killer in killed] == [True] * 10


@pytest.mark.parametrize("size", [1, 250_000])
def test_large_payloads_come_back(store: Store, size: int) -> None:
    [document] = inserted(store, job(1, payload={"text": "x" * size}))
    assert store.get(["job/1"]) == [document]


def test_an_update_that_need_not_be_durable_is_seen_at_once(store: Store) -> None:
    """A power loss may undo such an update, the next writes and reads see it."""
    inserted(store, job(1))
    (written,) = store.write([Update("job/1", lambda found: {**found, "progress": 7}, durable=False)])
    assert isinstance(written, dict)
    (again,) = store.write([Update("job/1", lambda found: {**found, "state": "FAILED"})])
    assert isinstance(again, dict)
    assert (again["progress"], again["state"]) == (7, "FAILED")
    assert store.get(["job/1"]) == [again]
