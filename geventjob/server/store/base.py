"""The contract of a store: documents by id, changed atomically, searched with CIMI filters.

`tests/contract/store` holds every implementation to this contract: add a factory to `IMPLEMENTATIONS` in its
conftest.py to test another store.

**Documents.** A document is a JSON object with an `id` of the form `<kind>/<name>`, where `kind` is in `KINDS`, and
usually an `acl`. A store returns each document exactly as written: texts with NUL characters or line separators,
integers of 64 bits, nulls, and nested lists of any shape included. A top-level attribute whose name begins with an
underscore belongs to the server: a store keeps the attribute and never searches it. The attributes
`NOT_SEARCHED` of `attributes.py` can be large and are never searched either.

**Searches.** A store does not interpret filters, dates or document structure. At each write, a store indexes what
`attributes.py` computes from a document: the typed single attributes (`SINGLE`), the `terms` and the `readers`. At each
search, `resolve.py` turns the filter into conditions on these, and the store translates the conditions into its own
query language. The results of aggregations have the shapes of `aggregation.py`.

**Concurrency.** Any number of greenlets call one store at once. A call may block the calling greenlet, but never the
process: blocking calls of a database belong into native threads, and long loops must yield to other greenlets. A store
of one server refuses to start while another server owns the data; a store of many servers gives every server the same
guarantees. Calls take and return lists, so that one commit or one request serves many items.

**Time.** Every call ends within seconds, whatever the database does, and says by its exception whether a write may have
taken effect: StoreRefused if the write certainly did not, StoreAway if the outcome is unknown.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from geventjob.cimi.document import Document
from geventjob.server.filter import Filter

KINDS = (
    "job", "user", "session", "secret", "credential", "schedule", "log", "limit", "pause", "rate", "failure", "event",
    "claim",
)  # fmt: skip
"""The kinds of documents. `secret` has the server's own data, such as the key that signs cookies; `log` has the logs
and records of jobs, `log/<uuid>` for `job/<uuid>`; `rate` and `failure` have what was counted, `event` who did what;
`claim` has the claims of the keys of unique jobs."""


def kind_of(id: str) -> str:
    """Return the kind of a document. Raises ValueError for an id of no kind."""
    kind = id.partition("/")[0]
    if kind not in KINDS:
        raise ValueError(f"{id[:60]!r} is the id of no kind of document: {', '.join(KINDS)}")
    return kind


class StoreError(Exception):
    """A failure of the store, as opposed to an error in a request."""

    MEANING = "the store fails"

    @property
    def told(self) -> str:
        """The failure in words, for users and logs."""
        return f"{self.MEANING}: {self}"


class StoreAway(StoreError):
    """The store cannot be reached; whether a write took effect is unknown."""

    MEANING = "the store is out of reach"


class StoreRefused(StoreError):
    """The store certainly did not carry out a write, because the disk is full, for instance."""

    MEANING = "the store refuses to write"


class SearchTooLong(StoreError):
    """A search was given up because the search, or the searches before it, exceeded the time limit of the store."""

    WAITING = "too many searches wait"
    SLOW = "the search took too long: a narrower filter may help"


class NoSuchDocument(Exception):
    """No document has the id of an update."""


class DuplicateKey(Exception):
    """A document with the same id or the same unique key exists; `document` is the existing document."""

    def __init__(self, document: Document) -> None:
        super().__init__(document["id"])
        self.document = document


Change = Callable[[Document], Document | None]
"""Return the new state of a document, given a copy of the current state; return None to delete the document.

A change must be pure and quick: a store may call the change in another thread, and again after another writer came
first. A change may modify its copy. A change must keep the `id`. A change that raises becomes the result of its item,
and writes nothing. A change that returns the document unchanged writes nothing either.
"""


@dataclass(frozen=True)
class Update:
    """Change the document with this id by `change`."""

    id: str
    change: Change
    durable: bool = True
    """Whether the write must survive a power loss. Without, it survives the death of any process."""


@dataclass(frozen=True)
class Insert:
    """Add a document.

    `key` is unique among the existing documents of the kind. Updates keep the key; deleting the document frees the key.
    """

    document: Document
    key: str | None = None


@dataclass(frozen=True)
class Query:
    """A search. The defaults match every document of a kind."""

    filter: Filter | None = None
    viewers: frozenset[str] | None = None
    """Principals of the form `USER alice` or `ROLE USER`: only documents with one of them among the `readers` are
    found, counted and aggregated. None: all documents."""
    first: int = 1
    """The first match to return, counted from 1; less than 1 means 1."""
    last: int | None = None
    """The last match to return, inclusive. None: WINDOW matches from `first`. 0: no matches, only the count."""
    orderby: Sequence[tuple[str, bool]] = ()
    """Pairs of an attribute path (names joined by `/`) and whether the order is descending. Of several values, the
    least counts, or the greatest if descending. Missing values come last. Ties, and searches without an order, are in
    the order of the ids."""
    aggregations: Sequence[tuple[str, str]] = ()
    """Pairs of an algorithm of `aggregation.py` and an attribute path; the server refuses other algorithms."""
    counted: bool = True
    """Whether `Page.count` must be right. Without, the matches are read along an index of the order, and no others:
    for orders that few documents precede which do not match."""
    select: Sequence[str] | None = None
    """Top-level attributes to read, in addition to `id` and `acl`; a store may return more. None: all attributes."""
    fresh: bool = True
    """Whether the search must see all earlier writes through this store. Without, a store that shows writes to searches
    late may miss the writes of the last second, and saves work."""


@dataclass(frozen=True)
class Page:
    """The result of a search."""

    count: int
    """The number of all matches, on the page or not."""
    documents: list[Document]
    aggregations: dict[str, Any] = field(default_factory=dict)
    """The results by `algorithm:attribute path`, in the shapes of `aggregation.py`."""


class Store(ABC):
    """A place of documents. Constructing a store does no I/O; no method is called before `start` or after `close`."""

    @property
    def is_shared(self) -> bool:
        """Whether other servers may write to the store too."""
        return False

    @abstractmethod
    def start(self) -> None:
        """Open the data, or create or upgrade them.

        Only the account of the server may read the data: they hold password hashes and signing keys. Raises StoreError
        with a message that tells an operator what to do; data of another program and of a newer version are refused.
        """

    def log_in(  # noqa: B027  (nothing to do for a store in a file)
        self, user: str | None = None, password: str | None = None, api_key: str | None = None
    ) -> None:
        """Use these credentials from the next request on; a store in a file has none. Raises StoreError."""

    @abstractmethod
    def close(self) -> None:
        """Finish the writes in progress, and release the data for another server."""

    @abstractmethod
    def get(self, ids: Sequence[str]) -> list[Document | None]:
        """Return the documents of these ids, in order; None for a missing document and for an id of no kind.

        Every earlier write is visible, whichever server wrote. Raises StoreAway.
        """

    @abstractmethod
    def find(self, kind: str, keys: Sequence[str]) -> list[Document | None]:
        """Return the documents of a kind that were inserted with these unique keys, in order; None for a free key.

        Every earlier write is visible, as in `get`. Raises StoreAway.
        """

    @abstractmethod
    def write(
        self, items: Sequence[Insert | Update], seen: Callable[[], None] | None = None
    ) -> list[Document | Exception | None]:
        """Carry out each item atomically and independently, and return the results in the order of the items.

        Items of one document are carried out in order, and of several inserts with one key the first wins. A write is
        durable once `write` returns: the write survives a `kill -9`, and a power loss too unless it is an update
        without `durable`. `seen` is called once other calls of this store see the writes, durable or not; not after an
        error.

        The result of an item is the document as written, None after a delete, or an exception: DuplicateKey,
        NoSuchDocument, StoreRefused, any exception of a change, ValueError for an id of no kind or a changed id,
        TypeError or ValueError for a document that JSON cannot express. Raises StoreAway if the outcome of any
        item is unknown.
        """

    @abstractmethod
    def search(self, kind: str, query: Query) -> Page:
        """Return the count, a page of the matches in order, and the aggregations.

        Raises FilterError for a filter that the database cannot carry out, SearchTooLong, StoreAway.
        """

    @abstractmethod
    def refresh(self, kind: str) -> None:
        """Let later searches of a kind see every earlier write, whichever server wrote. Raises StoreAway."""

    @abstractmethod
    def delete(self, kind: str, query: Query, limit: int) -> list[Document]:
        """Delete up to `limit` documents that match `query.filter` and `query.viewers`; return the deleted documents.

        A document that changes during the call is deleted only in a state that matches. Raises the errors of `search`
        and `write`; documents that were deleted before the error stay deleted.
        """


def write_one(store: Store, item: Insert | Update) -> Document | None:
    """Write one item, and return its document; None for a deletion.

    Raises StoreAway and the errors that `Store.write` returns.
    """
    (result,) = store.write([item])
    if isinstance(result, Exception):
        raise result
    return result
