"""The file of coordination: one native thread, one lock, and one transaction for all operations that are waiting.

SQLite's own busy handler sleeps with back-off and is unfair (433 ms at worst; docs/measurements.md, "SQLite as a
queue"). So writers queue at a lock file instead, in a native thread: no wait for the disk or for another process blocks
the hub.

An operation should consist of few statements, whatever the number of its rows: many values go in as one JSON text, and
many rows come out as one. Each statement releases the GIL, and a hub that computes returns the GIL 5 ms later, while
the lock is held.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from enum import IntEnum
from typing import Any, TypeVar, cast

from gevent.event import AsyncResult

from geventjob.batch import Batcher
from geventjob.coordination.base import CoordinationAway
from geventjob.coordination.sqlite.bell import is_heard, ring
from geventjob.coordination.sqlite.schema import File, open_file
from geventjob.native_thread import NativeThread

Result = TypeVar("Result")


class Need(IntEnum):
    """The durability that an operation needs. The greatest need decides for all operations of a transaction."""

    READ = 0
    WRITE = 1
    """The change survives the death of any process. A loss of power may undo it, and ends every session anyway."""
    SYNC = 2
    """The change is on the disk before the answer."""


class Transaction:
    """The database as an operation sees it, in the database's thread."""

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection = connection
        self._path = path
        self.rings: dict[str, bytes] = {}

    def change(self, sql: str, *parameters: Any) -> int:
        """Execute one statement, and return the number of rows that it changed."""
        return self._connection.execute(sql, parameters).rowcount

    def insert(self, sql: str, *parameters: Any) -> int:
        """Execute one INSERT, and return the row id of the last row."""
        return cast(int, self._connection.execute(sql, parameters).lastrowid)

    def rows(self, columns: str, source: str, *parameters: Any) -> list[list[Any]]:
        """Return the rows of `SELECT columns source`, in one step and in no order."""
        rows = f"SELECT json_array({columns}) AS fields {source}"
        sql = f"SELECT json_group_array(json(fields)) FROM ({rows})"
        return cast("list[list[Any]]", json.loads(self._connection.execute(sql, parameters).fetchone()[0]))

    def value(self, sql: str, *parameters: Any) -> Any:
        """Return the first column of the first row, or None."""
        row = self._connection.execute(sql, parameters).fetchone()
        return row[0] if row else None

    def is_heard(self, bell: str) -> bool:
        """Return whether a process listens to this bell."""
        return is_heard(self._path, bell)

    def ring(self, bell: str, what: bytes) -> None:
        """Send a ring to a bell once this transaction is committed."""
        self.rings[bell] = self.rings.get(bell, b"") + what


Operation = Callable[[Transaction], Result]


class Database:
    """Runs operations in transactions. Operations that arrive during a transaction share the next one."""

    def __init__(self, path: str, patience: float) -> None:
        """Keep the settings. `patience`: seconds after which `call` gives up on an operation without an answer."""
        self.path = path
        self._patience = patience
        self._thread: NativeThread | None = None
        self._file: File | None = None
        self._synchronous = ""
        self._batch: Batcher[tuple[Operation[Any], Need], Any] = Batcher(self._send)

    def open(self) -> None:
        """Open the file, and make it if it is missing.

        Raises CoordinationError for a file that belongs to another program or user, CoordinationAway if the lock stays
        taken.
        """
        self._thread = NativeThread()
        self._synchronous = ""
        self._file = self._thread.call(open_file, self.path, self._patience)

    def close(self) -> None:
        """Close the file. Later calls raise CoordinationAway. A thread that is stuck is left behind."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.close(self._close)

    def disown(self) -> None:
        """Let go of the lock in a forked child, which would keep it beyond its owner's death; never touch the file
        again."""
        self._thread = None
        if self._file is not None:
            os.close(self._file.lock)

    def call(self, operation: Operation[Result], need: Need = Need.WRITE) -> Result:
        """Run one operation and return its result, or raise its error.

        Raises CoordinationAway if the file failed or did not answer in time; the operation may still be carried out
        then.
        """
        answer = self.submit(operation, need)
        answer.wait(self._patience)
        if not answer.ready():
            raise self._unanswered()
        return cast("Result", answer.get())

    def submit(self, operation: Operation[Result], need: Need = Need.WRITE) -> AsyncResult[Result]:
        """Hand in one operation without waiting for it. May be called from the hub."""
        return self._batch.submit((operation, need))

    def _unanswered(self) -> CoordinationAway:
        return CoordinationAway(
            f"{self.path}: no answer within {self._patience:g} s; its lock is held by {_holder(self.path + '.lock')}"
        )

    def _send(self, batch: list[tuple[Operation[Any], Need]]) -> Sequence[Any]:
        if self._thread is None:
            raise CoordinationAway(f"{self.path}: closed")
        return self._thread.call(self._transact, batch)

    # --- in the thread: no logging and no lock of the hub (docs/measurements.md, "gevent")

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.connection.close()
            os.close(file.lock)

    def _transact(self, batch: Sequence[tuple[Operation[Any], Need]]) -> list[Any]:
        """Return the results of a batch.

        A batch that fails is tried again one by one, so that a bad operation fails alone.
        """
        try:
            return self._commit(batch)
        except Exception as error:
            if len(batch) == 1:
                return [self._in_words(error)]
        return [result for item in batch for result in self._transact([item])]

    def _commit(self, batch: Sequence[tuple[Operation[Any], Need]]) -> list[Any]:
        with self._transaction(max(need for _, need in batch)) as transaction:
            results = [operation(transaction) for operation, _ in batch]
        for bell, what in transaction.rings.items():
            ring(self.path, bell, what)
        return results

    @contextmanager
    def _transaction(self, need: Need) -> Iterator[Transaction]:
        assert self._file is not None
        lock, connection = self._file
        with _locked(lock) if need is not Need.READ else nullcontext():
            try:
                self._begin(connection, need)
                yield Transaction(connection, self.path)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _begin(self, connection: sqlite3.Connection, need: Need) -> None:
        if need is Need.READ:
            connection.execute("BEGIN")
            return
        synchronous = "FULL" if need is Need.SYNC else "NORMAL"
        if synchronous != self._synchronous:
            connection.execute(f"PRAGMA synchronous={synchronous}")
            self._synchronous = synchronous
        connection.execute("BEGIN IMMEDIATE")

    def _in_words(self, error: Exception) -> Exception:
        if isinstance(error, (sqlite3.Error, OSError)):
            return CoordinationAway(f"{self.path}: {error}")
        return error


@contextmanager
def _locked(lock: int) -> Iterator[None]:
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)


def _holder(lock: str) -> str:
    """Name the process that has the lock, for operators.

    A process that is stopped in a transaction makes all others wait.
    """
    inode = str(os.stat(lock).st_ino)
    if not os.path.exists("/proc/locks"):  # hidden by `ProcSubset=pid`, for example
        return "another process"
    with open("/proc/locks") as file:
        for fields in map(str.split, file):
            if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == inode:
                return f"process {fields[4]}"
    return "no process"
