"""Upgrades of the SQLite file: an older version is upgraded, a newer version refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from geventjob.server.store.base import Insert, Query, StoreError
from geventjob.server.store.sqlite import SqliteStore

JOB = {"id": "job/1", "state": "QUEUED"}
KEY = {"id": "credential/1", "claims": {"identity": "ann"}}


def made(path: Path, version: int) -> Path:
    """Make a file of a version of the store, with a job, and return its path."""
    store = SqliteStore(path)
    store.start()
    store.write([Insert(JOB, "key")])
    store.close()
    connection = sqlite3.connect(path)
    if version == 1:
        connection.execute("DROP TABLE credential")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    return path


def test_a_file_of_version_1_gets_a_table_of_credentials(tmp_path: Path) -> None:
    path = made(tmp_path / "store.db", 1)
    for _ in range(2):
        store = SqliteStore(path)
        store.start()
        assert store.find("job", ["key"]) == [JOB]
        store.write([Insert(KEY)])
        assert store.get(["credential/1"]) == [KEY]
        assert store.search("credential", Query()).count == 1
        store.close()
    fresh = tmp_path / "fresh.db"
    made(fresh, 2)
    assert schema(path) == schema(fresh)


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = made(tmp_path / "store.db", 3)
    with pytest.raises(StoreError, match="has version 3, this program knows 2"):
        SqliteStore(path).start()


def schema(path: Path) -> set[tuple[str, str]]:
    """Return the names and statements of all tables and indexes, and the version."""
    connection = sqlite3.connect(path)
    found = set(connection.execute("SELECT name, sql FROM sqlite_master"))
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return found | {("user_version", str(version))}
