"""The tables of the file, and the check that a file is ours."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from typing import NamedTuple

from gevent.monkey import get_original

from geventjob.coordination.base import CoordinationAway, CoordinationError
from geventjob.ownership import Unsafe, open_private, private_folder

_native_sleep = get_original("time", "sleep")

APPLICATION = 0x674A6F62
"""The mark of our files (`PRAGMA application_id`): gJob."""
FORMAT = 1
"""The version of the tables (`PRAGMA user_version`)."""

# When the row of a session is deleted, its other rows are deleted and its entries become free.
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE session (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    boot TEXT NOT NULL,
    namespace TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started INTEGER NOT NULL,
    bell TEXT NOT NULL,
    expires REAL NOT NULL,            -- CLOCK_BOOTTIME
    wants INTEGER NOT NULL DEFAULT 0, -- how many entries its taker waits for
    asked REAL NOT NULL DEFAULT 0     -- since when
);
CREATE TABLE entry (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    priority INTEGER NOT NULL,
    job TEXT NOT NULL,
    put_at REAL NOT NULL,
    owner INTEGER REFERENCES session ON DELETE SET NULL
);
CREATE INDEX entry_free ON entry (priority) WHERE owner IS NULL; -- ends in the sequence, as every index does
CREATE INDEX entry_held ON entry (owner) WHERE owner IS NOT NULL;
CREATE TABLE fence (
    boot TEXT NOT NULL,
    last INTEGER NOT NULL
);
INSERT INTO fence VALUES ('', 0);
INSERT INTO sqlite_sequence VALUES ('entry', abs(random()) % 1000000000); -- a new file repeats no names of a lost one
CREATE TABLE candidate (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    election TEXT NOT NULL,
    token TEXT NOT NULL UNIQUE,
    session INTEGER NOT NULL REFERENCES session ON DELETE CASCADE
);
CREATE INDEX candidate_election ON candidate (election);
CREATE INDEX candidate_session ON candidate (session);
CREATE TABLE member (
    role TEXT NOT NULL,
    name TEXT NOT NULL,
    session INTEGER NOT NULL REFERENCES session ON DELETE CASCADE,
    info TEXT NOT NULL,
    PRIMARY KEY (role, name)
) WITHOUT ROWID;
CREATE INDEX member_session ON member (session);
CREATE TABLE note (
    election TEXT PRIMARY KEY,
    note TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE message (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    executor TEXT NOT NULL,
    message TEXT NOT NULL,
    sent REAL NOT NULL
);
CREATE INDEX message_executor ON message (executor);
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {FORMAT};
COMMIT;
"""


class File(NamedTuple):
    """An open database, and the lock that writers take."""

    lock: int
    connection: sqlite3.Connection


def open_file(path: str, patience: float) -> File:
    """Open the file at `path`, and make it and its folder if missing. Called in a native thread.

    Raises CoordinationError, in words, if the file cannot be opened or belongs to another program; CoordinationAway if
    the file is locked for `patience` seconds.
    """
    try:
        private_folder(os.path.dirname(path))
        os.close(open_private(path))
        lock = open_private(path + ".lock")
    except Unsafe as unsafe:
        raise CoordinationError(f"--data-dir: {unsafe.strerror}") from None
    except OSError as error:
        raise CoordinationError(f"{error.filename}: {error.strerror}") from error
    try:
        _acquire(lock, path, patience)  # one of several processes that start at once makes the tables
        connection = _connect(path)
        fcntl.flock(lock, fcntl.LOCK_UN)
    except BaseException:
        os.close(lock)
        raise
    return File(lock, connection)


def _acquire(lock: int, path: str, patience: float) -> None:
    end = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise CoordinationAway(f"{path}.lock: held by another process for {patience:g} s") from None
        _native_sleep(0.02)


def _connect(path: str) -> sqlite3.Connection:
    connection = None
    try:
        # The timeout is for other programs in the file (a backup, the sqlite3 command); ours queue at the lock.
        connection = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
        _set_up(connection, path)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.Error):
            raise CoordinationError(f"{path}: {error}") from error
        raise
    return connection


def _set_up(connection: sqlite3.Connection, path: str) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION and (application or version or tables):
        raise CoordinationError(f"{path}: a SQLite database of another program, not geventjob's coordination")
    if version > FORMAT:
        raise CoordinationError(f"{path}: made by a newer geventjob (format {version}, this one knows {FORMAT})")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")
    if not version:
        connection.executescript(SCHEMA)
