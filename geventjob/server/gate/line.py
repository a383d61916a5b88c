"""The jobs that wait for their turn under one key of a limit, the first of them in memory."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from geventjob.cimi.document import Document
from geventjob.server.gate.limit import ON
from geventjob.server.gate.waiting import PAGE, first_waiting
from geventjob.server.store.base import Store


class Waiter(NamedTuple):
    """A job that waits."""

    place: str
    id: str
    limits: tuple[str, ...]
    """The keys of all limits under which the job comes."""


def waiter(job: Document) -> Waiter:
    """Return a job, which is held on a limit, as one that waits."""
    return Waiter(job["held"]["place"], job["id"], tuple(job.get("limits", ())))


class Line:
    """The jobs that wait under one key, in order. The store has all of them, the line at most 2 * PAGE."""

    def __init__(self, key: str, *, more: bool) -> None:
        """Make a line. `more`: the store may have jobs that the line lacks."""
        self._key = key
        self._first: list[Waiter] = []
        self._more = more
        self._read = ""
        """The place up to which the line has the jobs of the store."""

    def add(self, job: Waiter) -> None:
        """Note a job that has begun to wait. The store has the job already."""
        if self._more and job.place > self._read:
            return
        index = bisect_left(self._first, job)
        if self._first[index : index + 1] != [job]:
            self._first.insert(index, job)
        if len(self._first) > 2 * PAGE:
            del self._first[PAGE:]
            self._more, self._read = True, self._first[-1].place

    def next(self, store: Store) -> Waiter | None:
        """Remove and return the first job; None if no job waits. Raises StoreError."""
        if not self._first and self._more:
            page = first_waiting(store, ON + self._key, self._read, select=("limits",))
            self._first = [waiter(job) for job in page]
            self._more = len(page) == PAGE
            self._read = self._first[-1].place if page else self._read
        return self._first.pop(0) if self._first else None
