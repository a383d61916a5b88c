"""Stop, release or rerun all jobs that match a filter, each with the rights of the caller.

A request goes through the matches in the order of their ids, for some seconds; the client repeats it while `more`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gevent.pool import Pool

from geventjob.cimi.document import Document
from geventjob.clock import boottime, cimi_time, now
from geventjob.job.attributes import COPIED
from geventjob.job.copies import like
from geventjob.job.states import FINAL
from geventjob.server.accounts.caller import Caller
from geventjob.server.filter import And, Compare, Filter, Or
from geventjob.server.jobs.service import Jobs
from geventjob.server.problem import Problem
from geventjob.server.store.base import Query

PAGE = 200
"""Jobs that one search returns."""
COPIES = 20
"""Jobs that are read whole at once, each with up to 256 KB of payload."""
TIME = 20.0
"""Seconds after which a request goes no further."""
AT_ONCE = 50
"""Jobs that are changed at the same time, so that they share a commit."""
NOT_FINAL: Filter = Or(tuple(Compare(("state",), "=", state) for state in ("QUEUED", "RUNNING")))
IS_FINAL: Filter = Or(tuple(Compare(("state",), "=", state) for state in sorted(FINAL)))
IS_HELD: Filter = Compare(("held", "why"), "!=", None)

Work = Callable[[Sequence[Document]], Sequence[Any]]
"""Does something to jobs, and returns the result or the error of each."""


@dataclass
class Done:
    """The outcome of an operation on the jobs that match."""

    ids: list[str] = field(default_factory=list)
    """The jobs that were changed, or copied."""
    refused: int = 0
    more: bool = False
    """Whether the time was over before all matches were met."""
    last: str = ""
    """The last match that was met. A filter with `id>'LAST'` goes on from there."""

    def add(self, jobs: Sequence[Document], results: Sequence[Any]) -> None:
        """Add the results for these jobs. Raises errors that concern all jobs, as StoreAway."""
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Problem) and result.status < 500:
                self.refused += 1
            elif isinstance(result, Exception):
                raise result
            else:
                self.ids.append(job["id"])
        self.last = jobs[-1]["id"]


class MatchingJobs:
    """Operations on all jobs that match a filter."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def stop(self, filter: Filter, caller: Caller) -> Done:
        """Stop the matches that are QUEUED or RUNNING."""
        return self._all(And((filter, NOT_FINAL)), caller, self._each(self._jobs.stop, caller), PAGE)

    def release(self, filter: Filter, caller: Caller) -> Done:
        """Release the matches that are held."""
        return self._all(And((filter, IS_HELD)), caller, self._each(self._jobs.release, caller), PAGE)

    def rerun(self, filter: Filter, key: str, caller: Caller) -> Done:
        """Add a copy of each match that has ended before now, once for each key."""
        before = Compare(("created",), "<=", cimi_time(now()))

        def copy(jobs: Sequence[Document]) -> Sequence[Any]:
            return self._jobs.add([like(job) | {"idempotencyKey": f"{key}/{job['id']}"} for job in jobs], caller)

        return self._all(And((filter, IS_FINAL, before)), caller, copy, COPIES, COPIED)

    def _each(self, change: Callable[[str, Caller], Document], caller: Caller) -> Work:
        def one(job: Document) -> Document | Exception:
            try:
                return change(job["id"], caller)
            except Exception as error:
                return error

        return lambda jobs: list(Pool(AT_ONCE).imap(one, jobs))

    def _all(self, filter: Filter, caller: Caller, work: Work, page: int, select: Sequence[str] = ()) -> Done:
        """Do the work to all matches, a page after the other. Raises StoreError, CoordinationError."""
        done, until = Done(), boottime() + TIME
        while True:
            query = Query(
                And((filter, Compare(("id",), ">", done.last))) if done.last else filter,
                viewers=caller.viewers,
                last=page,
                orderby=[("id", False)],
                select=select,
            )
            jobs = self._jobs.search(query, caller, fresh=True).documents
            if not jobs:
                return done
            done.add(jobs, work(jobs))
            if boottime() > until:
                done.more = True
                return done
