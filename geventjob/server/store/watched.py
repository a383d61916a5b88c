"""A store that tells listeners what was written: live events, rates and metrics follow from it, at one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from geventjob.cimi.document import Document
from geventjob.clock import boottime
from geventjob.server.store.base import Change, Insert, Page, Query, Store, Update


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


class WatchedStore(Store):
    """A store in front of another one, which notifies listeners of the writes of jobs after their commit."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: list[Listener] = []
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
            return self._timed("write", self._store.write, items, seen)
        noted = list(map(_noting, items))
        results = self._timed("write", self._store.write, noted, seen)
        self._tell([found for item, result in zip(noted, results, strict=True) if (found := _written(item, result))])
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
