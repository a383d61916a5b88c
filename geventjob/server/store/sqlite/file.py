"""The file: the lock of its owner, connections, tables, and the meaning of errors."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from pathlib import Path

from geventjob.ownership import open_private
from geventjob.server.store.base import KINDS, StoreAway, StoreError, StoreRefused
from geventjob.server.store.sqlite import terms, totals
from geventjob.server.store.sqlite.access import NONE
from geventjob.server.store.sqlite.rows import NAMES
from geventjob.server.store.sqlite.upgrade import Progress, upgrade

VERSION = 7
"""Version of the tables, in `user_version`: 2 has added the credentials, 3 `held/until`, `expires` and `reports`, 4 the
schedules and the logs of jobs, 5 the columns of jobs that wait, the limits and the pauses, 6 the rates, the failures,
the events and the claims of unique jobs, 7 the index of terms, the totals, and a table of access lists."""
APPLICATION = 0x676A6F62
"""`gjob`, in `application_id`: marks a file of this program."""
PATIENCE = 5.0
"""Seconds to wait while another program, such as the sqlite3 shell, has locked the file."""


def _declared(column: str) -> str:
    return f'"{column}" {"INTEGER" if column == "priority" else "TEXT"}'


ADDED = ("held/until", "expires", "reports", "held/why", "held/on", "held/place", "admitted", "priority", "executor")
"""The columns that tables of older versions lack."""
_COLUMNS = [_declared(name) for name in (*(name for name in NAMES if name not in ADDED), *ADDED)]
_TABLE = ", ".join(["row INTEGER PRIMARY KEY", "key TEXT", *_COLUMNS])
_TABLES = (
    "TABLE access (id TEXT PRIMARY KEY, readers TEXT, terms TEXT, digest BLOB UNIQUE)",
    *totals.TABLES,
    *(
        table.format(kind=kind)
        for kind in terms.INDEXED
        for table in (
            "VIRTUAL TABLE {kind}_terms USING fts5(words, content='', detail=none, columnsize=0, tokenize='ascii')",
            "TABLE {kind}_stale (row INTEGER PRIMARY KEY, terms TEXT)",
        )
    ),
)
_INDEXES = (
    "UNIQUE INDEX {kind}_id ON [{kind}] (id)",
    "UNIQUE INDEX {kind}_key ON [{kind}] (key) WHERE key IS NOT NULL",
    'INDEX {kind}_state ON [{kind}] (state, created, "held/why") WHERE state IS NOT NULL',
    "INDEX {kind}_action ON [{kind}] (action, created) WHERE action IS NOT NULL",
    "INDEX {kind}_created ON [{kind}] (created)",
    'INDEX {kind}_target ON [{kind}] ("targetResource/href", state) WHERE "targetResource/href" IS NOT NULL',
    "INDEX {kind}_updated ON [{kind}] (updated)",
    "INDEX {kind}_parent ON [{kind}] (parentJob) WHERE parentJob IS NOT NULL",
    'INDEX {kind}_held ON [{kind}] ("held/until", id) WHERE "held/until" IS NOT NULL',
    'INDEX {kind}_on ON [{kind}] ("held/on", "held/place", id) WHERE "held/on" IS NOT NULL',
    "INDEX {kind}_expires ON [{kind}] (state, expires, id) WHERE expires IS NOT NULL",
    "INDEX {kind}_admitted ON [{kind}] (state, admitted, id) WHERE admitted IS NOT NULL",
    "INDEX {kind}_access ON [{kind}] (access)",
    "INDEX {kind}_priority ON [{kind}] (priority, id)",
    "INDEX {kind}_executor ON [{kind}] (executor, state) WHERE executor IS NOT NULL",
)
"""The kind is in brackets, as `limit` is a word of SQL. At an insert, the indexes of ids and keys cost 5 us of CPU
each, the others 1 to 3 us."""


class Lock:
    """The lock that gives the file to one server, until `release` or the end of the process.

    Child programs do not inherit the lock.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock. Raises StoreError if another server has the lock."""
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
        """Release the lock for another server."""
        os.close(self._fd)


def opened(path: Path, readers: int, progress: Progress) -> list[sqlite3.Connection]:
    """Open the file, or create it; return one connection that writes and `readers` connections that read.

    Only the owner of the file may read it, since the file holds keys and password hashes. `progress` hears of each step
    of an upgrade. Raises StoreError.
    """
    connections: list[sqlite3.Connection] = []
    try:
        os.close(open_private(path))
        connections.append(_connected(path, "rw"))
        _set(connections[0], "synchronous = NORMAL", "wal_autocheckpoint = 2000")
        _prepare(connections[0], path, progress)
        connections += [_connected(path, "ro") for _ in range(readers)]
        for connection in connections:
            _set(connection, "temp_store = MEMORY", "cache_size = -16384")
            for kind in terms.INDEXED:  # the words of the index of terms, each with the number of its rows
                connection.execute(f"CREATE VIRTUAL TABLE temp.{kind}_words USING fts5vocab(main, {kind}_terms, row)")
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


def _prepare(connection: sqlite3.Connection, path: Path, progress: Progress) -> None:
    """Create the tables of a new file, add missing tables to an older file, and refuse a file of another program."""
    version, application = _number(connection, "user_version"), _number(connection, "application_id")
    if (version, application) == (0, 0) and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        _make(connection, path, progress)
    elif application != APPLICATION:
        raise StoreError(f"{path} belongs to another program: name another file")
    elif version > VERSION:
        raise StoreError(f"{path} has version {version}, this program knows {VERSION}: use the newer geventjob")
    elif version < VERSION or _missing(connection):
        _make_tables(connection, progress)


def failure(error: sqlite3.Error) -> StoreError:
    """Return the store error (store/base.py) for an error of SQLite."""
    message = str(error)
    refused = "disk is full" in message or "readonly database" in message
    return StoreRefused(message) if refused else StoreAway(message)


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _make(connection: sqlite3.Connection, path: Path, progress: Progress) -> None:
    connection.execute("PRAGMA page_size = 8192")
    if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
        raise StoreError(f"{path}: the file system has no shared memory, which SQLite's WAL needs: use a local disk")
    _make_tables(connection, progress)


def _make_tables(connection: sqlite3.Connection, progress: Progress) -> None:
    """Create what is missing of all kinds.

    The version is written first, after which older programs refuse the file; then older rows are upgraded in many
    transactions, and at last the indexes are made. An upgrade that was interrupted goes on at the next start.
    """
    connection.execute("BEGIN IMMEDIATE")
    made = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    for kind in KINDS:
        if kind in made:
            _upgrade(connection, kind)
        else:
            connection.execute(f"CREATE TABLE [{kind}] ({_TABLE})")
    for table in _TABLES:
        if _name(table) not in made:
            connection.execute(f"CREATE {table}")
    connection.execute(f"INSERT OR IGNORE INTO access (id, readers, terms) VALUES ('{NONE}', '', '[]')")
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")
    for kind in (kind for kind in KINDS if kind in made):
        upgrade(connection, kind, progress)
    connection.execute("BEGIN IMMEDIATE")
    for index in _missing(connection):
        progress(index)
        connection.execute(f"CREATE {index}")
    connection.execute("COMMIT")


def _missing(connection: sqlite3.Connection) -> list[str]:
    """Return the indexes that the file lacks."""
    made = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    indexes = [index.format(kind=kind) for kind in KINDS for index in _INDEXES]
    return [index for index in indexes if _name(index) not in made]


def _name(made: str) -> str:
    """Return the name of a table or index in the words after CREATE."""
    return re.split("TABLE |INDEX ", made)[1].partition(" ")[0]


def _upgrade(connection: sqlite3.Connection, kind: str) -> None:
    """Add the columns that a table of an older version lacks, and drop the index that has changed since."""
    there = {name for _, name, *_ in connection.execute(f"PRAGMA table_info([{kind}])")}
    for name in ADDED:
        if name not in there:
            connection.execute(f"ALTER TABLE [{kind}] ADD COLUMN {_declared(name)}")
    if "held/why" not in there:
        connection.execute(f"DROP INDEX IF EXISTS {kind}_state")
    if "readers" in there:
        connection.execute(f"ALTER TABLE [{kind}] RENAME COLUMN readers TO access")
