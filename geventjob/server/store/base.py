"""The contract of a store: documents by id, changed atomically, searched with CIMI filters.

`tests/contract` holds every implementation to this text. All calls may block the calling greenlet, never the process.

A document is a JSON object with an `id` of the form `<kind>/<name>`, where `kind` is one of `KINDS`. A top-level
attribute whose name begins with an underscore is the server's own: it is kept, never searched and never shown.
Everything is batch first: one commit (or one `_bulk`) serves a whole list, and one bad item fails alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from geventjob.cimi.document import Document
from geventjob.server.filter import Filter

KINDS = ("job", "user", "session", "secret", "credential")
"""`secret` holds what the server keeps for itself, such as the key that signs its cookies."""


def kind_of(id: str) -> str:
    """Return the kind of the document of this id. Raises ValueError if no kind has such ids."""
    kind = id.partition("/")[0]
    if kind not in KINDS:
        raise ValueError(f"{id[:60]!r} is the id of no kind of document: {', '.join(KINDS)}")
    return kind


class StoreError(Exception):
    """A failure of the store itself; never of a request."""


class StoreAway(StoreError):
    """The store is out of reach: whether a write had its effect is not known."""


class StoreRefused(StoreError):
    """The store has certainly not written this (disk full, read-only)."""


class SearchTooLong(StoreError):
    """A search was given up: it, or those before it, took longer than the store allows."""


class NoSuchDocument(Exception):
    """There is no document of this id."""


class DuplicateKey(Exception):
    """An insert met a document of the same id or the same unique key; `document` is that one."""

    def __init__(self, document: Document) -> None:
        super().__init__(document["id"])
        self.document = document


Change = Callable[[Document], Document | None]
"""Given a copy of the document as it is, answers it as it shall be; None deletes it.

Pure and quick: it may be called again when another writer came first, and in another thread. What it raises is the
result of its item, and nothing is written. Answering the very document it was given, unchanged, writes nothing.
"""


@dataclass(frozen=True)
class Update:
    """Change the document of this id by `change`."""

    id: str
    change: Change


@dataclass(frozen=True)
class Insert:
    """Add a document; `key` is unique among the documents of its kind that exist (and free again after a delete)."""

    document: Document
    key: str | None = None


@dataclass(frozen=True)
class Query:
    """What to search. The defaults find everything that there is."""

    filter: Filter | None = None
    viewers: frozenset[str] | None = None
    """Principals as `USER alice` or `ROLE USER`; only documents whose acl names one of them (as owner or in a rule)
    are seen, counted and aggregated. None: all."""
    first: int = 1
    """The first match to return, from 1."""
    last: int | None = None
    """The last match to return, inclusive; None: WINDOW from `first`; 0: none."""
    orderby: Sequence[tuple[str, bool]] = ()
    """(attribute path with `/`, descending); missing values last; ties, and a search without an order, go by id."""
    aggregations: Sequence[tuple[str, str]] = ()
    """(algorithm, attribute path): those of store/aggregation.py; others are refused before they come."""
    select: Sequence[str] | None = None
    """Top-level attributes to read; a hint that saves work, `id` and `acl` always come. None: all."""
    fresh: bool = True
    """Whether all must be seen that was written through this store before, at some cost in stores that show writes to
    searches after a moment (one second at most)."""


@dataclass(frozen=True)
class Page:
    """What a search found."""

    count: int
    """All matches, whatever the page."""
    documents: list[Document]
    aggregations: dict[str, Any] = field(default_factory=dict)
    """`algo:attribute` → its result in the shape of store/aggregation.py."""


class Store(ABC):
    """Made without I/O; `start` opens or creates, `close` flushes and lets go."""

    @abstractmethod
    def start(self) -> None:
        """Open, create or upgrade. Raises StoreError with what an operator can do about it."""

    @abstractmethod
    def close(self) -> None:
        """Nothing may be called after it."""

    @abstractmethod
    def get(self, ids: Sequence[str]) -> list[Document | None]:
        """The documents as last written (realtime), in order; None for a missing one."""

    @abstractmethod
    def find(self, kind: str, keys: Sequence[str]) -> list[Document | None]:
        """The documents of this kind that were inserted with these unique keys, in order; None for a missing one."""

    @abstractmethod
    def write(self, items: Sequence[Insert | Update]) -> list[Document | Exception | None]:
        """Carry out each item by itself, in order; durable when it returns (a `kill -9` and a power loss later).

        The result of an item is the document as written (None: deleted), or its exception: DuplicateKey,
        NoSuchDocument, what its `change` raised, StoreRefused. Raises StoreAway when the outcome of the whole list is
        not known.
        """

    @abstractmethod
    def search(self, kind: str, query: Query) -> Page:
        """What matches. Raises FilterError, SearchTooLong, StoreAway."""

    @abstractmethod
    def delete(self, kind: str, query: Query, limit: int) -> list[Document]:
        """Delete up to `limit` matches of `query.filter` and `query.viewers`; the documents as they were.

        Raises as `search` and `write` do; what was deleted before stays so.
        """
