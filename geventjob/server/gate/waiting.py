"""Find the jobs that wait before the queue on one thing, by an index of the store."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from geventjob.cimi.document import Document
from geventjob.server.filter import And, Compare, Filter
from geventjob.server.store.base import Query, Store

PAGE = 1_000
"""Most jobs of one search."""
ON, PLACE = ("held", "on"), ("held", "place")


def waiting_on(store: Store, on: str, select: Sequence[str] = (), size: int = 0) -> Iterator[list[Document]]:
    """Yield pages of all jobs that wait on this thing, in order: by priority, then in the order of the adds.

    `select`: attributes of the jobs besides `id`. `size`: most jobs of a page, PAGE for 0; each page sorts all jobs
    that wait. A job that no longer waits does not disturb the order of the others. Raises StoreError.
    """
    last, size = "", size or PAGE
    while True:
        page = first_waiting(store, on, last, select, size)
        if page:
            yield page
        if len(page) < size:
            return
        last = page[-1]["held"]["place"]


def first_waiting(store: Store, on: str, place: str, select: Sequence[str] = (), size: int = 0) -> list[Document]:
    """Return the first jobs, `size` or PAGE, in order, that wait on this thing behind a place. Raises StoreError."""
    behind: Filter = And((Compare(ON, "=", on), Compare(PLACE, ">", place)))
    query = Query(behind, last=size or PAGE, orderby=[("held/place", False)], select=("held", *select), counted=False)
    return store.search("job", query).documents


def waited_on(store: Store, prefix: str, but: Collection[str] = ()) -> Iterator[str]:
    """Yield, in order, each thing with this prefix on which a job waits. Raises StoreError.

    `but`: things to leave out, at no cost however many jobs wait on them.
    """
    last = prefix
    for end in (*sorted(but), None):
        yield from _between(store, prefix, last, end)
        last = end or last


def _between(store: Store, prefix: str, last: str, end: str | None) -> Iterator[str]:
    """Yield the things after `last`, and before `end`."""
    before = () if end is None else (Compare(ON, "<", end),)
    while True:
        below: Filter = And((Compare(ON, "^=", prefix), Compare(ON, ">", last), *before))
        query = Query(below, last=PAGE, orderby=[("held/on", False)], select=("held",), counted=False)
        page = store.search("job", query).documents
        found = sorted({job["held"]["on"] for job in page})
        yield from found
        if len(page) < PAGE:
            return
        last = found[-1]
