"""The store over an SQLite file: the division of work among threads."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, Union, cast

from gevent.threadpool import ThreadPool

from geventjob.batch import Batcher
from geventjob.cimi.document import Document
from geventjob.clock import now
from geventjob.native_thread import NativeThread
from geventjob.server.store.base import KINDS, Insert, Page, Query, Store, StoreAway, Update
from geventjob.server.store.sqlite.file import Lock, failure, opened
from geventjob.server.store.sqlite.rows import PARTS, document
from geventjob.server.store.sqlite.search import TableSearch
from geventjob.server.store.sqlite.upgrade import Progress
from geventjob.server.store.sqlite.writing import DeleteRows, Item, Result, TransactionWriter

TRANSACTION = 1000
"""Most items of a transaction, some 50 ms; the list of one caller is never split."""
SWEEP = 500
"""Documents that one transaction of `delete` deletes; other writes run between the transactions."""
SEARCHERS = 2
"""Most searches that run at the same time."""

Wanted = Union[str, tuple[str, str]]
"""The id of a document, or the kind and the unique key."""
Answer = TypeVar("Answer")


class SqliteStore(Store):
    """Documents in one file, which one server owns at a time.

    Only native threads call SQLite: one thread writes, with the items of many callers in each transaction; one thread
    reads by id or key, for many callers at once; `SEARCHERS` threads search. WAL mode lets all of them run in parallel.
    A commit does not wait for the disk: one more thread syncs SQLite's log for all callers whose writes must be
    durable, while the next transaction runs (docs/decisions/0040-commits-and-the-disk.md).
    """

    def __init__(
        self, path: str | Path, *, patience: float = 5.0, progress: Callable[[str], None] = lambda words: None
    ) -> None:
        """Set the time limit of a search, `patience`, in seconds, including the wait for other searches.

        `progress` is called with words during a start that takes long.
        """
        self._path = Path(path)
        self._progress = progress
        self._patience = patience
        self._write: Batcher[Sequence[Item], list[Result]] = Batcher(
            self._written, name="store", size=len, limit=TRANSACTION
        )
        self._sync: Batcher[None, None] = Batcher(self._synced)
        self._read: Batcher[Sequence[Wanted], list[Document | None]] = Batcher(self._found, size=len, limit=TRANSACTION)

    def start(self) -> None:
        """Open the file, or create it, readable by the owner only. Raises StoreError."""
        self._lock = Lock(self._path)
        try:
            self._writing, self._reading, *self._searching = opened(self._path, 1 + SEARCHERS, Progress(self._progress))
        except BaseException:
            self._lock.release()
            raise
        self._log = os.open(f"{self._path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        self._transact = TransactionWriter(self._writing)
        self._writer, self._syncer, self._reader = NativeThread(), NativeThread(), NativeThread()
        self._searcher = ThreadPool(SEARCHERS)

    def close(self) -> None:
        """Finish the writes in progress, interrupt the searches, and release the file."""
        self._write([])
        for connection in self._searching:
            connection.interrupt()
        self._searcher.join()
        self._searcher.kill()
        for connection in self._searching:
            connection.close()
        self._reader.close(self._reading.close, patience=None)
        self._syncer.close(lambda: os.close(self._log), patience=None)
        self._writer.close(self._writing.close, patience=None)
        self._lock.release()

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        return self._read(ids)

    def find(self, kind: str, keys: Sequence[str]) -> list[Document | None]:
        return self._read([(kind, key) for key in keys])

    def write(
        self, items: Sequence[Insert | Update], seen: Callable[[], None] | None = None
    ) -> list[Document | Exception | None]:
        results = self._write(items)
        if seen:
            seen()
        if any(isinstance(item, Insert) or item.durable for item in items):
            self._sync(None)
        return cast("list[Document | Exception | None]", results)

    def search(self, kind: str, query: Query) -> Page:
        moment = now()
        return self._searched(lambda connection, deadline: TableSearch(kind, query, moment).page(connection, deadline))

    def refresh(self, kind: str) -> None:
        """Do nothing: searches see every write."""

    def delete(self, kind: str, query: Query, limit: int) -> list[Document]:
        """Find the matches, then delete those that still match, `SWEEP` in each transaction."""
        search = TableSearch(kind, query, now())
        rows = self._searched(lambda connection, deadline: search.rows(connection, deadline, limit))
        deleted: list[Document] = []
        for start in range(0, len(rows), SWEEP):
            [found] = self._write([DeleteRows(search, rows[start : start + SWEEP])])
            if isinstance(found, Exception):
                raise found
            deleted += cast("list[Document]", found)
        if deleted:
            self._sync(None)
        return deleted

    def _written(self, lists: list[Sequence[Item]]) -> list[list[Result]]:
        return self._writer.call(self._transact, lists)

    def _synced(self, waiting: list[None]) -> list[None]:
        """Wait until all commits until now are on the disk, for the callers whose writes must be durable."""
        try:
            self._syncer.call(os.fdatasync, self._log)
        except OSError as error:
            raise StoreAway(f"{self._path}-wal: {error.strerror}") from error
        return waiting

    def _found(self, lists: list[Sequence[Wanted]]) -> list[list[Document | None]]:
        return self._reader.call(lambda: [[_read(self._reading, wanted) for wanted in one] for one in lists])

    def _searched(self, search: Callable[[sqlite3.Connection, float], Answer]) -> Answer:
        deadline = time.monotonic() + self._patience
        answer, error = self._searcher.apply(self._search_with_free, (search, deadline))
        if error is not None:
            raise error
        return cast(Answer, answer)

    def _search_with_free(
        self, search: Callable[[sqlite3.Connection, float], Answer], deadline: float
    ) -> tuple[Answer | None, Exception | None]:
        """Return the answer of a search, or its error: gevent prints a traceback of an error that leaves a thread."""
        connection = self._searching.pop()
        try:
            return search(connection, deadline), None
        except Exception as error:
            return None, error
        finally:
            self._searching.append(connection)


def _read(connection: sqlite3.Connection, wanted: Wanted) -> Document | None:
    if isinstance(wanted, str):
        kind, column, value = wanted.partition("/")[0], "id", wanted
    else:
        kind, column, value = wanted[0], "key", wanted[1]
    if kind not in KINDS:
        return None
    try:
        row = connection.execute(f"SELECT {', '.join(PARTS)} FROM [{kind}] WHERE {column} = ?", (value,)).fetchone()
    except sqlite3.Error as error:
        raise failure(error) from error
    return document(*row) if row else None
