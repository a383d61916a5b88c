"""A store that knows due jobs alone: what the promoter looks for and writes when the time of held jobs is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gevent

from geventjob.cimi.document import Document
from geventjob.server.store.base import Insert, Page, Query, Store, Update


class HeldJobs(Store):
    """Held jobs whose time is over. `commit`: seconds of a search and of a write.

    Searches in the order of `held/until` find the jobs that are held; all others find nothing.
    """

    def __init__(self, commit: float) -> None:
        self._commit = commit
        self._jobs: dict[str, Document] = {}

    def add(self, jobs: Sequence[Document]) -> None:
        """Add jobs."""
        self._jobs.update((job["id"], job) for job in jobs)

    def start(self) -> None: ...

    def close(self) -> None: ...

    def refresh(self, kind: str) -> None: ...

    def get(self, ids: Sequence[str]) -> list[Document | None]:
        return [self._jobs.get(id) for id in ids]

    def find(self, kind: str, keys: Sequence[str]) -> list[Document | None]:
        return [None for _ in keys]

    def search(self, kind: str, query: Query) -> Page:
        gevent.sleep(self._commit)
        if kind != "job" or [path for path, _ in query.orderby] != ["held/until"]:
            return Page(0, [])
        found = [job for _, job in zip(range(query.last or 0), self._jobs.values(), strict=False)]
        return Page(len(self._jobs), found)

    def write(
        self, items: Sequence[Insert | Update], seen: Callable[[], None] | None = None
    ) -> list[Document | Exception | None]:
        """Change jobs; a job that is held no more is forgotten."""
        gevent.sleep(self._commit)
        results: list[Document | Exception | None] = []
        for item in items:
            assert isinstance(item, Update)
            job = item.change(dict(self._jobs.pop(item.id)))
            if job is not None and "held" in job:
                self._jobs[item.id] = job
            results.append(job)
        return results

    def delete(self, kind: str, query: Query, limit: int) -> list[Document]:
        return []
