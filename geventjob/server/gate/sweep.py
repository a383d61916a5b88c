"""Take jobs out of the queue that a new rule makes wait (docs/architecture.md, "The gate").

The jobs are held in the store first, then their entries are removed.

A job that is held in the store while its entry stands is begun by no claim: the claim is refused, and its executor
consumes the entry. So a server may die or freeze at any moment of a sweep, and another goes on with the jobs that are
not held yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gevent

from geventjob.cimi.document import WINDOW, Document
from geventjob.coordination.base import Coordination, Leadership
from geventjob.server.filter import And, Compare, Filter
from geventjob.server.gate.gate import stale_entry
from geventjob.server.store.base import Query, Store

QUEUED: tuple[Filter, ...] = (Compare(("state",), "=", "QUEUED"), Compare(("held", "why"), "=", None))
"""The jobs that have an entry, or that an add is about to give one."""
PAGE = 1_000
"""Jobs of one commit."""


class Sweep:
    """One pass over the queued jobs that match a filter, in steps."""

    def __init__(
        self,
        store: Store,
        coordination: Coordination,
        hold: Callable[[Sequence[Document]], list[Document]],
        filter: tuple[Filter, ...],
    ) -> None:
        """Begin at the first job. `hold(jobs)` asks the rules, and returns those of the jobs that are held now."""
        self._store = store
        self._coordination = coordination
        self._hold = hold
        self._filter: Filter = And((*QUEUED, *filter))
        self._found: list[Document] = []
        self._last: str | None = ""
        """The time of the add of the last job that was found; None when all were found."""
        self._seen: set[str] = set()
        """The jobs of this time that were found."""
        self._removal: gevent.Greenlet[..., object] | None = None

    def step(self, leadership: Leadership | None) -> bool:
        """Hold up to PAGE jobs, and remove their entries beside the next step; return whether work is left.

        Raises StoreError, CoordinationError. No entry is removed once another server may lead.
        """
        if not self._found and self._last is not None:
            self._search(self._last)
        jobs, self._found = self._found[:PAGE], self._found[PAGE:]
        entries = [entry for job in self._hold(jobs) if (entry := stale_entry(job))]
        if self._removal is not None:
            self._removal.get()
        self._removal = gevent.spawn(self._coordination.remove, entries, leadership) if entries else None
        return self._removal is not None or bool(self._found) or self._last is not None

    def _search(self, last: str) -> None:
        """Find the next jobs, in the order of their adds, in which a store writes them in half the time."""
        after: Filter = And((self._filter, Compare(("created",), ">=", last))) if last else self._filter
        query = Query(
            after, last=WINDOW, orderby=[("created", False)], select=("created",), counted=False, fresh=not last
        )
        page = self._store.search("job", query).documents
        self._found = [job for job in page if job["id"] not in self._seen]
        self._last = page[-1]["created"] if len(page) == WINDOW and self._found else None
        if self._last != last:
            self._seen.clear()
        self._seen.update(job["id"] for job in self._found if job["created"] == self._last)
