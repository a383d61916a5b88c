"""The store over an Elasticsearch cluster: batches and time limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar, cast

from gevent.lock import BoundedSemaphore

from geventjob.batch import Batcher
from geventjob.cimi.document import Document
from geventjob.clock import boottime, cimi_time, now
from geventjob.server.store.base import (
    KINDS,
    Insert,
    Page,
    Query,
    SearchTooLong,
    Store,
    StoreAway,
    StoreError,
    StoreRefused,
    Update,
    kind_of,
)
from geventjob.server.store.elasticsearch.bulk import Documents, Read, Remove, StoredDocument
from geventjob.server.store.elasticsearch.freshness import Freshness
from geventjob.server.store.elasticsearch.indexed import decode
from geventjob.server.store.elasticsearch.mapping import KEYS, index, prepare
from geventjob.server.store.elasticsearch.searching import IndexSearch, old_tombstones
from geventjob.server.store.elasticsearch.steps import Result, owns, place_of
from geventjob.server.store.elasticsearch.wire import CALLS, Wire
from geventjob.server.store.elasticsearch.writing import BulkWriter, DeleteHit, Item, id_of

BATCH = 1_000
"""Most items that are written, or documents that are read, in one batch."""
FLIGHTS = 2
"""Most batches of writes in flight: this server prepares one while Elasticsearch and its disk work on the other."""
LASTING = timedelta(days=1)
"""Age at which tombstones are deleted: longer than any request to a cluster can be under way."""
SEARCHERS = CALLS - 4
"""Most searches that run at the same time; the other connections are for batches."""


Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


@dataclass(frozen=True)
class _Handed(Generic[Asked]):
    """The items of one caller, and the deadline of the answer in seconds of boottime()."""

    items: Sequence[Asked]
    until: float


class ElasticsearchStore(Store):
    """Documents in the indexes `<prefix>-<kind>` of a cluster, which any number of servers share.

    Reads by id or key are batched, one batch at a time for all callers, and so are writes, FLIGHTS batches at a time;
    searches run in parallel.
    Every call ends in time, whatever the cluster does: a read or write within `commit` seconds, a search within
    `patience` seconds and the time of a refresh.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        *,
        user: str | None = None,
        password: str | None = None,
        api_key: str | None = None,
        ca: str | None = None,
        prefix: str = "geventjob",
        patience: float = 5.0,
        commit: float = 4.0,
    ) -> None:
        """Set up the store; `Wire` explains the hosts and credentials.

        `patience`: time limit of a search, in seconds. `commit`: time limit of a read or a write, in seconds, including
        the wait for other batches. `commit` is less than `--not-found-grace` of executors (5 s): an executor that finds
        no job for an entry within the grace consumes the entry, so a later insert of the job must not happen.

        Raises StoreError for malformed hosts and contradictory credentials.
        """
        self._prefix = prefix
        self._patience = patience
        self._commit = commit
        self._wire = Wire(hosts, user=user, password=password, api_key=api_key, ca=ca)
        self._documents = Documents(self._wire, prefix)
        self._writer = BulkWriter(self._documents)
        self._fresh = Freshness(self._wire, prefix, patience)
        self._searchers = BoundedSemaphore(SEARCHERS)
        self._read: Batcher[_Handed[Read], list[StoredDocument | None]] = Batcher(self._found, size=_size, limit=BATCH)
        self._write: Batcher[_Handed[Item], list[Result]] = Batcher(
            self._written, name="store", size=_size, limit=BATCH, flights=FLIGHTS
        )

    @property
    def is_shared(self) -> bool:
        return True

    def start(self) -> None:
        """Create or upgrade the indexes, unless another server has. Raises StoreError."""
        prepare(self._wire, self._prefix)
        self._delete_old_tombstones()

    def log_in(self, user: str | None = None, password: str | None = None, api_key: str | None = None) -> None:
        """See `Store.log_in`."""
        self._wire.log_in(user, password, api_key)

    def _delete_old_tombstones(self) -> None:
        """Delete tombstones so old that no insert of their documents can still be in progress."""
        indexes = ",".join(index(self._prefix, kind) for kind in KINDS)
        hits = old_tombstones(self._wire, indexes, cimi_time(now() - LASTING), boottime() + self._patience)
        removes = [Remove(kind_of(hit.id), hit.id, hit.version) for hit in hits]
        self._documents.write(removes, boottime() + self._commit)

    def close(self) -> None:
        """Finish the writes in progress, and close the connections."""
        self._write.finish()
        self._wire.close()

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        return [_document(found) for found in self._read_all([_wanted(id) for id in ids])]

    def find(self, kind: str, keys: Sequence[str]) -> list[Document | None]:
        places = [place_of(kind, key) for key in keys]
        holders = self._read_all([Read(KEYS, place) for place in places])
        owners = self._read_all([Read(kind, holder.source.id) if holder else None for holder in holders])
        return [
            _document(owner) if owner and owns(owner.source.key, place) else None
            for owner, place in zip(owners, places, strict=True)
        ]

    def write(
        self, items: Sequence[Insert | Update], seen: Callable[[], None] | None = None
    ) -> list[Document | Exception | None]:
        results: list[Result] = []
        for first in range(0, len(items), BATCH):
            results += self._write_some(items[first : first + BATCH])
        if seen:
            seen()
        return results

    def search(self, kind: str, query: Query) -> Page:
        search = IndexSearch(index(self._prefix, kind), query, now())
        with self._searching(kind, query) as deadline:
            return search.page(self._wire, deadline)

    def refresh(self, kind: str) -> None:
        """See `Store.refresh`."""
        self._fresh.refresh(kind)

    def delete(self, kind: str, query: Query, limit: int) -> list[Document]:
        """Find matches, and delete each match that has not changed since."""
        deleted: list[Document] = []
        while len(deleted) < limit:
            search = IndexSearch(index(self._prefix, kind), query, now())
            wanted = min(BATCH, limit - len(deleted))
            with self._searching(kind, query) as deadline:
                hits = search.hits(self._wire, deadline, wanted)
            results = self._write_some([DeleteHit(hit.id, hit) for hit in hits])
            deleted += [document for result in results if (document := _deleted(result)) is not None]
            if len(hits) < wanted:
                break
        return deleted

    @contextmanager
    def _searching(self, kind: str, query: Query) -> Iterator[float]:
        """Wait for a free slot, refresh if needed, and yield the deadline in seconds of boottime()."""
        deadline = boottime() + self._patience
        if not self._searchers.acquire(timeout=self._patience):
            raise SearchTooLong(SearchTooLong.WAITING)
        try:
            if query.fresh:
                self._fresh.show(kind)
            yield deadline
        finally:
            self._searchers.release()

    # --- batches

    def _read_all(self, wanted: Sequence[Read | None]) -> list[StoredDocument | None]:
        """Return the documents in order; None for a missing document, and for None."""
        reads = [one for one in wanted if one is not None]
        found = iter(self._read(_Handed(reads, boottime() + self._commit)) if reads else ())
        return [None if one is None else next(found) for one in wanted]

    def _found(self, batch: list[_Handed[Read]]) -> list[list[StoredDocument | None] | StoreError]:
        late = StoreAway("too many reads wait for Elasticsearch")
        return self._timely(batch, self._read_lists, lambda reads: late)

    def _read_lists(self, lists: list[Sequence[Read]], until: float) -> list[list[StoredDocument | None] | StoreError]:
        found = iter(self._documents.read([read for reads in lists for read in reads], until))
        return [_known([next(found) for _ in reads]) for reads in lists]

    def _write_some(self, items: Sequence[Item]) -> list[Result]:
        return self._write(_Handed(items, boottime() + self._commit)) if items else []

    def _written(self, batch: list[_Handed[Item]]) -> list[list[Result] | StoreError]:
        late = StoreRefused("too many writes wait for Elasticsearch")
        return self._timely(batch, self._write_lists, lambda items: [late] * len(items))

    def _write_lists(self, lists: list[Sequence[Item]], until: float) -> list[list[Result] | StoreError]:
        try:
            return self._writer(lists, until)
        finally:
            self._fresh.wrote({id_of(item).partition("/")[0] for items in lists for item in items})

    def _timely(
        self,
        batch: list[_Handed[Asked]],
        send: Callable[[list[Sequence[Asked]], float], list[Answered]],
        late: Callable[[Sequence[Asked]], Answered],
    ) -> list[Answered]:
        """Send lists, and return the answers in order.

        A list that has waited for half of its time limit is not sent; `late` makes its answer.
        """
        enough = boottime() + self._commit / 2
        timely = [handed for handed in batch if handed.until > enough]
        lists = [handed.items for handed in timely]
        answers = iter(send(lists, min(handed.until for handed in timely)) if timely else ())
        return [next(answers) if handed.until > enough else late(handed.items) for handed in batch]


def _size(handed: _Handed[Asked]) -> int:
    return len(handed.items)


def _wanted(id: str) -> Read | None:
    """Return the read of an id; None for an id of no kind."""
    kind = id.partition("/")[0]
    return Read(kind, id) if kind in KINDS else None


def _document(found: StoredDocument | None) -> Document | None:
    return decode(found.source.document) if found and not found.source.dead else None


def _known(found: list[StoredDocument | StoreAway | None]) -> list[StoredDocument | None] | StoreError:
    for one in found:
        if isinstance(one, StoreAway):
            return one
    return cast("list[StoredDocument | None]", found)


def _deleted(result: Result) -> Document | None:
    if isinstance(result, Exception):
        raise result
    return result
