"""The file: whose it is, how it is opened, its tables, and what its errors mean."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path

from geventjob.ownership import open_private
from geventjob.server.store.base import KINDS, StoreAway, StoreError, StoreRefused
from geventjob.server.store.sqlite.rows import NAMES

VERSION = 2
"""Of the tables, in `user_version`: each since 1 has brought kinds of documents, and nothing else."""
APPLICATION = 0x676A6F62
"""`gjob`, in `application_id`: marks the file as ours."""
PATIENCE = 5.0
"""Seconds to wait for another program that holds the file, such as the sqlite3 shell."""

_TABLE = ", ".join(["row INTEGER PRIMARY KEY", "key TEXT", *(f'"{name}" TEXT' for name in NAMES)])
_INDEXES = (
    "UNIQUE INDEX {kind}_id ON {kind} (id)",
    "UNIQUE INDEX {kind}_key ON {kind} (key) WHERE key IS NOT NULL",
    "INDEX {kind}_state ON {kind} (state, created) WHERE state IS NOT NULL",
    "INDEX {kind}_action ON {kind} (action, created) WHERE action IS NOT NULL",
    "INDEX {kind}_created ON {kind} (created)",
    'INDEX {kind}_target ON {kind} ("targetResource/href", state) WHERE "targetResource/href" IS NOT NULL',
    "INDEX {kind}_updated ON {kind} (updated)",
    "INDEX {kind}_parent ON {kind} (parentJob) WHERE parentJob IS NOT NULL",
)
"""Those of ids and keys cost 5 us CPU at an insert, the others 1 to 3."""


class Lock:
    """Makes the file that of one server at a time, as long as the process lives; programs it starts have no part."""

    def __init__(self, path: Path) -> None:
        """Raises StoreError if another server has it."""
        try:
            self._fd = open_private(f"{path}.lock")
        except OSError as error:
            raise StoreError(f"{error.filename}: {error.strerror}") from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._fd, 20).decode()
            os.close(self._fd)
            raise StoreError(f"{path} is in use by another server, PID {owner}: stop it or name another file") from None
        os.truncate(self._fd, 0)
        os.write(self._fd, str(os.getpid()).encode())

    def release(self) -> None:
        """Let the next one have it."""
        os.close(self._fd)


def opened(path: Path, readers: int) -> list[sqlite3.Connection]:
    """One connection that writes and this many that read, to a file that is made if there is none.

    Only its owner may read it: it holds keys and password hashes. Raises StoreError.
    """
    connections: list[sqlite3.Connection] = []
    try:
        os.close(open_private(path))
        connections.append(_connected(path, "rw"))
        _set(connections[0], "synchronous = FULL", "wal_autocheckpoint = 2000")
        _prepare(connections[0], path)
        connections += [_connected(path, "ro") for _ in range(readers)]
        for connection in connections:
            _set(connection, "temp_store = MEMORY", "cache_size = -16384")
    except (OSError, sqlite3.Error, StoreError) as error:
        for connection in connections:
            connection.close()
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{path}: {error.strerror if isinstance(error, OSError) else error}") from None
    return connections


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)


def _set(connection: sqlite3.Connection, *settings: str) -> None:
    for setting in settings:
        connection.execute(f"PRAGMA {setting}")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file, and those that an older one lacks; refuse one that is not ours."""
    version, application = _number(connection, "user_version"), _number(connection, "application_id")
    if (version, application) == (0, 0) and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        _make(connection, path)
    elif application != APPLICATION:
        raise StoreError(f"{path} is another program's file: name another")
    elif version > VERSION:
        raise StoreError(f"{path} has version {version}, this program knows {VERSION}: use the newer geventjob")
    elif version < VERSION:
        _make_tables(connection)


def failure(error: sqlite3.Error) -> StoreError:
    """An error of the file, as the contract of a store names it."""
    message = str(error)
    refused = "disk is full" in message or "readonly database" in message
    return StoreRefused(message) if refused else StoreAway(message)


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _make(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA page_size = 8192")
    if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
        raise StoreError(f"{path}: its file system cannot share memory, as SQLite's WAL needs: use a local disk")
    _make_tables(connection)


def _make_tables(connection: sqlite3.Connection) -> None:
    """Those of all kinds, as far as they are not there. An older program refuses the file from then on."""
    connection.execute("BEGIN IMMEDIATE")
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for kind in KINDS:
        if kind not in there:
            connection.execute(f"CREATE TABLE {kind} ({_TABLE})")
            for index in _INDEXES:
                connection.execute(f"CREATE {index.format(kind=kind)}")
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")
