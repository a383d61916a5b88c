"""Upgrades of the SQLite file: an older version is upgraded, a newer version refused."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import pytest

from geventjob.server.filter import parse
from geventjob.server.store.base import KINDS as ALL_KINDS
from geventjob.server.store.base import Insert, Query, StoreError, Update
from geventjob.server.store.sqlite import SqliteStore, upgrade
from geventjob.server.store.sqlite.file import VERSION

JOB = {"id": "job/1", "state": "QUEUED", "payload": {"rows": 10}}
KEY = {"id": "credential/1", "claims": {"identity": "ann"}}
SCHEDULE = {"id": "schedule/1", "name": "nightly"}
KINDS = {1: ("job", "user", "session", "secret"), 2: ("job", "user", "session", "secret", "credential")}
"""The kinds of documents by version."""
TABLE = (
    'row INTEGER PRIMARY KEY, key TEXT, "id" TEXT, "state" TEXT, "action" TEXT, "created" TEXT, "updated" TEXT, '
    '"targetResource/href" TEXT, "parentJob" TEXT, "readers" TEXT, "terms" TEXT, "document" TEXT, "payload" TEXT'
)
"""The columns of the tables of versions 1 and 2."""
INDEXES = (
    "UNIQUE INDEX {kind}_id ON {kind} (id)",
    "UNIQUE INDEX {kind}_key ON {kind} (key) WHERE key IS NOT NULL",
    "INDEX {kind}_state ON {kind} (state, created) WHERE state IS NOT NULL",
    "INDEX {kind}_action ON {kind} (action, created) WHERE action IS NOT NULL",
    "INDEX {kind}_created ON {kind} (created)",
    'INDEX {kind}_target ON {kind} ("targetResource/href", state) WHERE "targetResource/href" IS NOT NULL',
    "INDEX {kind}_updated ON {kind} (updated)",
    "INDEX {kind}_parent ON {kind} (parentJob) WHERE parentJob IS NOT NULL",
)


def old_file(path: Path, version: int) -> Path:
    """Make a file of an old version of the store, with a job, and return its path."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA page_size = 8192")
    connection.execute("PRAGMA journal_mode = WAL")
    for kind in KINDS[version]:
        connection.execute(f"CREATE TABLE {kind} ({TABLE})")
        for index in INDEXES:
            connection.execute(f"CREATE {index.format(kind=kind)}")
    stored = {name: value for name, value in JOB.items() if name != "payload"}
    connection.execute(
        "INSERT INTO job (key, id, state, readers, terms, document, payload) VALUES (?, ?, ?, ?, ?, ?, ?)",
        ("key", JOB["id"], JOB["state"], "", "[]", json.dumps(stored), json.dumps(JOB["payload"])),
    )
    connection.execute(f"PRAGMA application_id = {0x676A6F62}")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.commit()
    connection.close()
    return path


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_of_an_older_version_is_upgraded(tmp_path: Path, version: int) -> None:
    path = old_file(tmp_path / "store.db", version)
    held = {"why": "retry", "until": "2026-01-02T03:04:05.000Z", "detail": "x"}
    for _ in range(2):
        store = SqliteStore(path)
        store.start()
        assert [(job or {}) | {"held": {}} for job in store.find("job", ["key"])] == [JOB | {"held": {}}]
        store.write([Insert(KEY), Insert(SCHEDULE), Update("job/1", lambda job: job | {"held": held})])
        assert store.get(["credential/1"]) == [KEY]
        assert store.search("credential", Query()).count == 1
        assert store.get(["schedule/1"]) == [SCHEDULE]
        assert store.search("job", Query(parse("held/until<='2026-01-02T03:04:05.000Z'"))).count == 1
        store.close()
    fresh = SqliteStore(tmp_path / "fresh.db")
    fresh.start()
    fresh.close()
    assert schema(path) == schema(tmp_path / "fresh.db")


def to_version_6(path: Path) -> None:
    """Make a file of the present version one of version 6, whose rows have the readers and the terms of the acl."""
    connection = sqlite3.connect(path)
    for index in ("access", "priority", "executor"):
        for kind in ALL_KINDS:
            connection.execute(f"DROP INDEX {kind}_{index}")
    for kind in ALL_KINDS:
        connection.execute(f"ALTER TABLE [{kind}] RENAME COLUMN access TO readers")
        connection.execute(f"UPDATE [{kind}] SET readers = char(10) || 'ROLE USER' || char(10), terms = '[]'")
        for column in ("priority", "executor"):
            connection.execute(f"ALTER TABLE [{kind}] DROP COLUMN {column}")
    for table in ("access", "totals", "job_terms", "job_stale"):
        connection.execute(f"DROP TABLE {table}")
    connection.execute("PRAGMA user_version = 6")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("stopped", [0, 1, 2], ids=["at once", "interrupted once", "interrupted twice"])
def test_a_file_of_version_6_gets_indexes_of_terms_and_totals(
    tmp_path: Path, stopped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "BATCH", 2)
    monkeypatch.setattr(upgrade, "TOLD", 0.0)
    path, told = tmp_path / "store.db", list[str]()
    store = SqliteStore(path, progress=told.append)
    store.start()
    acl = {"owner": {"type": "USER", "principal": "ann"}}
    jobs = [{"id": f"job/{n}", "acl": acl, "tags": [f"t{n}"], "priority": n, "action": "copy"} for n in range(5)]
    store.write([Insert(job) for job in jobs])
    store.close()
    to_version_6(path)
    after = upgrade.RowUpgrade.after

    def interrupted(rows: upgrade.RowUpgrade, row: int) -> int:
        if row == 2 * stopped:
            raise sqlite3.OperationalError("interrupted")
        return after(rows, row)

    if stopped:
        with monkeypatch.context() as failing:
            failing.setattr(upgrade.RowUpgrade, "after", interrupted)
            with pytest.raises(StoreError, match="interrupted"):
                store.start()
    del told[:]
    store.start()
    steps = [words.partition(", ")[0].removeprefix("upgrade of the store: ") for words in told]
    left = [f"job {row} of 5" for row in range(0, 5, 2)]
    assert steps[: len(left)] == left
    assert "INDEX job_priority ON [job] (priority" in "".join(steps)
    ann = frozenset({"USER ann"})
    for text, viewers, count in (
        ("tags='t3'", None, 1), ("action='copy'", ann, 5), ("acl/owner/principal='ann'", None, 5),
        ("priority<3", ann, 3), ("action='copy'", frozenset({"ROLE USER"}), 0),
    ):  # fmt: skip
        assert store.search("job", Query(parse(text), viewers=viewers)).count == count, text
    assert store.search("job", Query()).documents == jobs
    store.close()
    fresh = SqliteStore(tmp_path / "fresh.db")
    fresh.start()
    fresh.close()
    assert schema(path) == schema(tmp_path / "fresh.db")


def test_a_file_of_version_3_gets_a_table_of_schedules(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    for version in (None, 3):
        if version:
            to_version_6(path)
            connection = sqlite3.connect(path)
            connection.execute("DROP TABLE schedule")
            connection.execute(f"PRAGMA user_version = {version}")
            connection.close()
        store = SqliteStore(path)
        store.start()
        store.write([Insert(SCHEDULE), Insert(JOB)])
        assert store.get(["schedule/1", "job/1"]) == [SCHEDULE, JOB]
        store.close()


def test_held_jobs_of_version_4_are_found_by_their_reason(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    held = JOB | {"held": {"why": "retry", "until": "2026-01-02T03:04:05.000Z", "detail": "x"}}
    store = SqliteStore(path)
    store.start()
    store.write([Insert(held), Insert(JOB | {"id": "job/2"})])
    store.close()
    to_version_6(path)
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE [limit]")
    for index in ("state", "on", "admitted"):
        connection.execute(f"DROP INDEX job_{index}")
    for column in ("held/why", "held/on", "held/place", "admitted"):
        connection.execute(f'ALTER TABLE job DROP COLUMN "{column}"')
    connection.execute("PRAGMA user_version = 4")
    connection.close()
    store.start()
    assert [job["id"] for job in store.search("job", Query(parse("held/why='retry'"))).documents] == ["job/1"]
    assert [job["id"] for job in store.search("job", Query(parse("held/why=null"))).documents] == ["job/2"]
    assert store.search("limit", Query()).count == 0
    store.close()


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = old_file(tmp_path / "store.db", 2)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(StoreError, match=f"has version {VERSION + 1}, this program knows {VERSION}"):
        SqliteStore(path).start()


def schema(path: Path) -> set[tuple[str, str]]:
    """Return the names and statements of all tables and indexes, and the version."""
    connection = sqlite3.connect(path)
    found = {
        (name, sql and re.sub(r" IF NOT EXISTS|[\[\]]", "", sql))
        for name, sql in connection.execute("SELECT name, sql FROM sqlite_master")
    }
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return found | {("user_version", str(version))}
