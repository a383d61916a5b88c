"""A store that tells listeners what was written: live events, rates and metrics follow from it, at one place."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from geventjob.cimi.document import Document
from geventjob.clock import boottime
from geventjob.server.store.base import Change, Insert, Page, Query, Store, StoreRefused, Update

log = logging.getLogger(__name__)


class Written(NamedTuple):
    """A document before and after a write; None: the document did not exist, or exists no more."""

    before: Document | None
    after: Document | None


Answer = TypeVar("Answer")
Listener = Callable[[Sequence[Written]], None]


class _NotedChange:
    """A change of a document that remembers the document before."""

    __slots__ = ("_change", "before", "given")

    def __init__(self, change: Change) -> None:
        self._change = change
        self.before: Document | None = None
        self.given: Document | None = None

    def __call__(self, document: Document) -> Document | None:
        self.given = document
        self.before = document.copy()
        return self._change(document)


class _Refusal:
    """A store that refuses writes (a full disk, a read-only index): one log line at the beginning, one at the end."""

    CALM = 10.0
    """Seconds without a refusal after which it is over: an index that is read-only refuses some writes, not all."""

    def __init__(self) -> None:
        self._last = 0.0

    def begin(self, error: StoreRefused) -> None:
        """Record a refusal."""
        if not self._last:
            log.warning("%s", error.told)
        self._last = boottime()

    def end(self) -> None:
        """Record a write without a refusal."""
        if self._last and boottime() > self._last + self.CALM:
            self._last = 0.0
            log.warning("the store takes writes again")


class WatchedStore(Store):
    """A store in front of another one, which notifies listeners of the writes of jobs after their commit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: list[Listener] = []
        self._refusal = _Refusal()
        self.measure: Callable[[str, float], None] = _nothing
        """Called with the name of each call that has succeeded, and its seconds."""

    def watch(self, listener: Listener) -> None:
        """Call `listener` after each commit that changes jobs. A listener returns at once, and raises nothing."""
        self._listeners.append(listener)

    @property
    def is_shared(self) -> bool:
        return self._store.is_shared

    def start(self) -> None:
        self._store.start()

    def log_in(self, user: str | None = None, password: str | None = None, api_key: str | None = None) -> None:
        self._store.log_in(user, password, api_key)

    def close(self) -> None:
        self._store.close()

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        return self._timed("get", self._store.get, ids)

    def find(self, kind: str, keys: Sequence[str]) -> list[Document | None]:
        return self._timed("find", self._store.find, kind, keys)

    def search(self, kind: str, query: Query) -> Page:
        return self._timed("search", self._store.search, kind, query)

    def write(
        self, items: Sequence[Insert | Update], seen: Callable[[], None] | None = None
    ) -> list[Document | Exception | None]:
        if not self._listeners:
            return self._write(items, seen)
        noted = list(map(_noting, items))
        results = self._write(noted, seen)
        self._tell([found for item, result in zip(noted, results, strict=True) if (found := _written(item, result))])
        return results

    def _write(
        self, items: Sequence[Insert | Update], seen: Callable[[], None] | None
    ) -> list[Document | Exception | None]:
        try:
            results = self._timed("write", self._store.write, items, seen)
        except StoreRefused as error:
            self._refusal.begin(error)
            raise
        refused = next((result for result in results if isinstance(result, StoreRefused)), None)
        if refused:
            self._refusal.begin(refused)
        else:
            self._refusal.end()
        return results

    def refresh(self, kind: str) -> None:
        self._store.refresh(kind)

    def delete(self, kind: str, query: Query, limit: int) -> list[Document]:
        deleted = self._timed("delete", self._store.delete, kind, query, limit)
        if kind == "job":
            self._tell([Written(document, None) for document in deleted])
        return deleted

    def _timed(self, name: str, call: Callable[..., Answer], *arguments: object) -> Answer:
        since = boottime()
        answer = call(*arguments)
        self.measure(name, boottime() - since)
        return answer

    def _tell(self, written: Sequence[Written]) -> None:
        if written:
            for listener in self._listeners:
                listener(written)


def _noting(item: Insert | Update) -> Insert | Update:
    """Return the item; an update of a job remembers the job before."""
    if isinstance(item, Update) and item.id.startswith("job/"):
        return Update(item.id, _NotedChange(item.change), item.durable)
    return item


def _written(item: Insert | Update, result: Document | Exception | None) -> Written | None:
    """Return what an item has written; None for an error, another kind, and a change that changed nothing."""
    if isinstance(result, Exception):
        return None
    if isinstance(item, Insert):
        return Written(None, result) if item.document["id"].startswith("job/") else None
    noted = item.change
    if not isinstance(noted, _NotedChange) or result is noted.given:
        return None
    return Written(noted.before, result)


def _nothing(name: str, seconds: float) -> None:
    """Measure nothing."""
