"""The SQLite store: file, lock, errors, transactions and query plans."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from bench import store as bench_store
from geventjob.clock import now
from geventjob.server.filter import parse
from geventjob.server.store.base import (
    Insert,
    Query,
    SearchTooLong,
    StoreAway,
    StoreError,
    StoreRefused,
    Update,
)
from geventjob.server.store.sqlite import SqliteStore
from geventjob.server.store.sqlite.search import TableSearch
from tests.contract.store.documents import inserted, job, names
from tests.support.waiting import eventually


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(path)
    made.start()
    yield made
    made.close()


def refusal(path: Path) -> str:
    """Return the error with which the store refuses to start."""
    with pytest.raises(StoreError) as caught:
        SqliteStore(path).start()
    return str(caught.value)


def test_making_one_touches_nothing(path: Path) -> None:
    SqliteStore(path)
    assert not path.exists()


def test_only_its_owner_reads_the_files(store: SqliteStore, path: Path) -> None:
    inserted(store, job(1))
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(["server.db", "server.db-wal", "server.db-shm", "server.db.lock"], "0o600")


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the files that are synced to the disk."""
    files: list[str] = []
    sync = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        files.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    return files


def test_a_write_is_on_the_disk_before_the_answer(store: SqliteStore, path: Path, synced: list[str]) -> None:
    """Check what survives a power loss, which no test can cause."""
    settings = [store._writing.execute(f"PRAGMA {name}").fetchone() for name in ("synchronous", "journal_mode")]
    assert settings == [(1,), ("wal",)]
    seen: list[list[str]] = []
    store.write([Insert(job(1))], seen=lambda: seen.append([*synced, *names(store.search("job", Query()).documents)]))
    assert seen == [["1"]], "the others see the job sooner"
    assert synced == [f"{path}-wal"]
    store.write([Update("job/1", lambda found: {**found, "state": "FAILED"})])
    store.delete("job", Query(), 10)
    assert synced == [f"{path}-wal"] * 3


def test_what_need_not_be_durable_waits_for_no_disk(store: SqliteStore, synced: list[str]) -> None:
    inserted(store, job(1))
    del synced[:]
    store.write([Update("job/1", lambda found: {**found, "progress": 7}, durable=False)])
    assert store.get(["job/1"]) == [job(1, progress=7)]
    assert synced == []


def test_a_disk_that_fails_is_away(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fdatasync(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    with pytest.raises(StoreAway, match="-wal: Input/output error"):
        store.write([Insert(job(1))])


def test_a_file_has_one_server(store: SqliteStore, path: Path) -> None:
    message = f"{path} is in use by another server, PID {os.getpid()}: stop it or name another file"
    assert refusal(path) == message
    inserted(store, job(1))


def test_the_next_server_has_the_file_though_a_child_lives_on(path: Path) -> None:
    first = SqliteStore(path)
    first.start()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as child:
        first.close()
        second = SqliteStore(path)
        second.start()
        second.close()
        assert child.poll() is None


def test_a_start_that_failed_leaves_the_file_to_others(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)
    assert refusal(path) == f"{path}: file is not a database"
    path.unlink()
    store = SqliteStore(path)
    store.start()
    store.close()


def test_another_programs_file_is_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE job (id)")
    connection.close()
    before = path.read_bytes()
    assert refusal(path) == f"{path} belongs to another program: name another file"
    assert path.read_bytes() == before


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "server.db"
    assert refusal(path) == f"{path}.lock: No such file or directory"


def test_a_full_disk_refuses_and_is_forgotten_when_there_is_room(store: SqliteStore) -> None:
    inserted(store, job(1, progress=0))
    (pages,) = store._writing.execute("PRAGMA page_count").fetchone()
    store._writing.execute(f"PRAGMA max_page_count = {pages + 2}")
    results = store.write(
        [Insert(job(2)), Insert(job(3, payload={"text": "x" * 100_000})), Update("job/1", lambda _: None)]
    )
    assert [str(result) for result in results] == ["database or disk is full"] * 3
    assert all(isinstance(result, StoreRefused) for result in results)
    assert store.search("job", Query()).documents == [job(1, progress=0)]
    store._writing.execute("PRAGMA max_page_count = 1000000")
    assert store.write([Insert(job(3, payload={"text": "x" * 100_000}))]) == [job(3, payload={"text": "x" * 100_000})]


def test_a_read_only_file_refuses(store: SqliteStore) -> None:
    store._writing.execute("PRAGMA query_only = ON")
    [result] = store.write([Insert(job(1))])
    assert isinstance(result, StoreRefused)
    assert store.get(["job/1"]) == [None]


def test_a_file_that_another_program_holds_is_away(store: SqliteStore, path: Path) -> None:
    store._writing.execute("PRAGMA busy_timeout = 50")
    inserted(store, job(1))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreAway, match="locked"):
        store.write([Insert(job(2))])
    assert store.get(["job/1", "job/2"]) == [job(1), None]
    other.execute("ROLLBACK")
    other.close()
    assert store.write([Insert(job(2))]) == [job(2)]


def test_a_damaged_file_is_away(path: Path) -> None:
    store = SqliteStore(path)
    store.start()
    inserted(store, *(job(number) for number in range(200)))
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        pages = connection.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = 'job'").fetchall()
    with path.open("r+b") as file:
        for (page,) in pages:
            file.seek((page - 1) * 8192)
            file.write(b"\xff" * 8192)
    store.start()
    try:
        for call in (
            lambda: store.get(["job/1"]),
            lambda: store.search("job", Query()),
            lambda: store.write([Update("job/1", lambda _: None)]),
        ):
            with pytest.raises(StoreAway, match="malformed"):
                call()
    finally:
        store.close()


def test_an_expected_error_prints_nothing(slow: tuple[SqliteStore, Query], capfd: pytest.CaptureFixture[str]) -> None:
    store, query = slow
    store._patience = 0.1
    with pytest.raises(SearchTooLong):
        store.search("job", query)
    assert capfd.readouterr() == ("", "")


def statements(store: SqliteStore) -> list[str]:
    """Return a list that receives all statements of the writing connection from now on."""
    told: list[str] = []
    store._writing.set_trace_callback(told.append)
    return told


def test_many_writers_share_a_transaction(store: SqliteStore) -> None:
    told = statements(store)
    writers = [gevent.spawn(store.write, [Insert(job(number))]) for number in range(100)]
    gevent.joinall(writers, raise_error=True)
    assert store.search("job", Query(last=0)).count == 100
    assert told.count("COMMIT") <= 3


def test_a_transaction_has_a_bound(store: SqliteStore) -> None:
    told = statements(store)
    lists = [[Insert(job(f"{number}-{item}")) for item in range(300)] for number in range(6)]
    gevent.joinall([gevent.spawn(store.write, items) for items in lists], raise_error=True)
    assert store.search("job", Query(last=0)).count == 1800
    assert told.count("COMMIT") == 2


def test_an_unchanged_document_is_not_written(store: SqliteStore) -> None:
    inserted(store, job(1, payload={"n": 1.5, "é": ["\u2028", None]}, properties={"b": "1", "a": "2"}))
    told = statements(store)
    store.write([Update("job/1", lambda document: document)])
    assert [words for words in told if words.startswith("UPDATE")] == []
    store.write([Update("job/1", lambda document: {**document, "progress": 1})])
    assert len([words for words in told if words.startswith("UPDATE")]) == 1


def test_an_update_touches_no_more_columns_than_it_must(store: SqliteStore) -> None:
    inserted(store, job(1, state="RUNNING", action="copy", created="2019-04-02T08:15:30.123Z"))
    told = statements(store)
    store.write([Update("job/1", lambda document: {**document, "state": "SUCCESS"})])
    [update] = [words for words in told if words.startswith("UPDATE")]
    assert '"state" =' in update
    assert '"action" =' not in update
    assert '"created" =' not in update


@pytest.fixture
def slow(path: Path) -> Iterator[tuple[SqliteStore, Query]]:
    """Return a store with a time limit of one second, and a query that takes many seconds."""
    store = SqliteStore(path, patience=1.0)
    store.start()
    inserted(store, *(job(number, custom=["x"] * 3) for number in range(5000)))
    yield store, Query(parse(" or ".join(f"custom>'y{number}'" for number in range(1000))))
    store.close()


def test_a_long_search_is_given_up_and_blocks_no_write(slow: tuple[SqliteStore, Query]) -> None:
    store, query = slow
    search = gevent.spawn(store.search, "job", query)
    gevent.sleep(0)
    for number in range(20):
        inserted(store, job(f"new-{number}"))
        assert store.get([f"job/new-{number}"]) != [None]
    assert not search.ready()
    with pytest.raises(SearchTooLong, match="took too long"):
        search.get()
    assert store.search("job", Query(last=0)).count == 5020


def test_a_search_waits_no_longer_than_it_may_run(slow: tuple[SqliteStore, Query]) -> None:
    store, query = slow
    searches = [gevent.spawn(store.search, "job", query) for _ in range(2)]
    eventually(lambda: not store._searching)
    store._patience = 0.1
    with pytest.raises(SearchTooLong, match="too many searches"):
        store.search("job", Query())
    gevent.joinall(searches)
    assert [type(search.exception) for search in searches] == [SearchTooLong] * 2
    store._patience = 5.0
    assert store.search("job", Query(last=0)).count == 5000


def test_a_close_waits_for_no_search(slow: tuple[SqliteStore, Query]) -> None:
    store, query = slow
    search = gevent.spawn(store.search, "job", query)
    eventually(lambda: len(store._searching) == 1)
    store.close()
    assert isinstance(search.exception, SearchTooLong)
    store.start()


COMMON = [
    "id='job/1'",
    "state='QUEUED'",
    "state='SUCCESS' or state='FAILED'",
    "(state='SUCCESS' or state='FAILED') and created<'now-7d'",
    "state='RUNNING' and executor='host-1'",
    "action='copy' and targetResource/href='cloud/1' and (state='QUEUED' or state='RUNNING')",
    "targetResource/href='cloud/1'",
    "targetResource/href^='cloud/'",
    "parentJob='job/1'",
    "created>'now-1h'",
    "updated<'now-60m'",
    "action='copy'",
]


def plan(store: SqliteStore, query: Query, what: str) -> str:
    search = TableSearch("job", query, now())
    explained = f"EXPLAIN QUERY PLAN SELECT {what} FROM job AS d WHERE {search.condition}"
    return "\n".join(row[-1] for row in store._reading.execute(explained, search.sql.parameters))


@pytest.mark.parametrize("text", COMMON)
def test_common_filters_are_looked_up_in_an_index(store: SqliteStore, text: str) -> None:
    for what in ("count(*)", "d.document"):
        assert "SCAN" not in plan(store, Query(parse(text)), what)


def test_counting_all_reads_no_documents(store: SqliteStore) -> None:
    assert "COVERING INDEX" in plan(store, Query(), "count(*)")


def nested(levels: int) -> str:
    """Return a filter whose parts have the greatest depth that needs no CASE."""
    text = "(a=1 and(a=1 or " * 9 + "a=1" + "))" * 9
    for level in range(levels):
        text = f"({text} {'or' if level % 2 else 'and'} {text})"
    return text


@pytest.mark.parametrize("levels", [1, 4, 5])
def test_no_nesting_is_too_much_for_sqlite(store: SqliteStore, levels: int) -> None:
    inserted(store, job(1, a=1), job(2, a=2))
    assert names(store.search("job", Query(parse(nested(levels)))).documents) == "1"


def test_values_never_are_sql(store: SqliteStore) -> None:
    nasty = "x' OR 1=1; DROP TABLE job; --"
    query = Query(
        parse(f'name="{nasty}" or property["{nasty}"]="{nasty}" or custom^="{nasty}"'),
        viewers=frozenset({f"USER {nasty}"}),
        orderby=[(nasty, True)],
        aggregations=[("terms", nasty)],
    )
    inserted(store, job(1, custom="y"))
    assert store.search("job", query).count == 0
    assert store.search("job", Query()).count == 1


def test_errors_of_an_item_do_not_stop_others_of_its_batch(store: SqliteStore) -> None:
    def fail(document: Any) -> Any:
        raise KeyError("state")

    inserted(store, job(1))
    bad = gevent.spawn(store.write, [Update("job/1", fail), Insert(job(2, name=object()))])
    good = gevent.spawn(store.write, [Insert(job(3))])
    gevent.joinall([bad, good], raise_error=True)
    assert [type(result) for result in bad.value] == [KeyError, TypeError]
    assert good.value == [job(3)]


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("held/on='limit/a|b' and held/place>'999 x'", "held/place"),
        ("held/until<='2026-04-02T08:15:30.123Z'", "held/until"),
    ],
)
def test_jobs_that_wait_are_read_along_an_index_in_their_order(store: SqliteStore, text: str, order: str) -> None:
    [steps] = plans(store, Query(parse(text), orderby=[(order, False)], counted=False, last=9)).values()
    assert len(steps) == 1
    assert "USING COVERING INDEX job_" in steps[0]


def plans(store: SqliteStore, query: Query) -> dict[str, list[str]]:
    """Return the statements of a search, each with the steps of its plan."""
    told: list[str] = []
    for connection in store._searching:
        connection.set_trace_callback(told.append)
    store.search("job", query)
    for connection in store._searching:
        connection.set_trace_callback(None)
    selects = [words for words in told if words.startswith("SELECT") and "WHERE row = " not in words]
    return {words: [step[-1] for step in store._reading.execute(f"EXPLAIN QUERY PLAN {words}")] for words in selects}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    """Return a store with jobs that are many enough for pages to be read along an order, some of them stale."""
    store = SqliteStore(tmp_path_factory.mktemp("filled") / "store.db")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("geventjob.server.store.sqlite.terms.STALE", 900)
        store.start()
        inserted(store, *(bench_store.job(number) for number in range(950)))
        inserted(store, bench_store.job(0))  # a small transaction, after which the index catches up
        (stale,) = store._writing.execute("SELECT count(*) FROM job_stale").fetchone()
        assert stale == 51
        inserted(store, *(bench_store.job(number) for number in range(950, 1000)))
        yield store
        store.close()


@pytest.mark.parametrize(("text", "more"), bench_store.SEARCHES)
def test_no_search_of_the_benchmark_scans(filled: SqliteStore, text: str, more: dict[str, Any]) -> None:
    for words, steps in plans(filled, Query(parse(text) if text else None, **more)).items():
        table = "job" if "FROM [job] AS d" in words else "other"
        scans = [step for step in steps if step.startswith("SCAN d") and "VIRTUAL" not in step]
        if table == "job" and ("count(*)" in words or "AS v" in words):
            assert scans == [], words
        if table == "job":
            assert all("INDEX job_" in step for step in scans), words  # along an order, until the page is full


@pytest.mark.parametrize(
    ("text", "words", "count"),
    [
        ("statusMessage^='done in 1'", True, 180),  # 1, 10 to 19
        ("statusMessage='done in 1 s'", True, 10),
        ("fulltext=='entry'", True, 1001),
        ("properties/zookeeper-path^='/job/'", False, 1001),  # a row may have several terms of a prefix
    ],
)
def test_common_texts_are_counted_in_the_vocabulary(filled: SqliteStore, text: str, words: bool, count: int) -> None:
    query = Query(parse(text), last=0)
    assert filled.search("job", query).count == count
    assert any("FROM job_words" in statement for statement in plans(filled, query)) == words
