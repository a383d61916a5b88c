"""Batches: a callback runs when all its jobs have ended (docs/architecture.md, "The gate").

The callback of a closed batch waits on one job of the batch at a time: of the jobs that have not ended, on the job that
was added last. The end of this job alone leads to a look at the others. When the notice of an end is lost, the next
leader or the reconciler looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time, now
from geventjob.job.states import FINAL, STATES
from geventjob.server.filter import And, Compare, Filter, Or
from geventjob.server.gate.children import BATCH, wait_child, waits
from geventjob.server.gate.gate import asked, is_pending
from geventjob.server.gate.rules import Rules
from geventjob.server.life.changes import changed
from geventjob.server.life.wait import Hold, hold
from geventjob.server.store.base import Change, NoSuchDocument, Query, Store, Update

UNFINISHED: Filter = Or(tuple(Compare(("state",), "=", state) for state in STATES if state not in FINAL))
FAILED: Filter = Compare(("state",), "!=", "SUCCESS")


class Batches:
    """The callbacks of a store. Methods raise StoreError."""

    def __init__(
        self,
        store: Store,
        rules: Callable[[], Rules],
        watch: Callable[[Sequence[Document]], Sequence[Document]],
    ) -> None:
        """`rules()`: the rules of the gate. `watch(jobs)`: mark the jobs on which these wait, so that an end is told.

        `watch` returns the jobs that wait on a job that is over.
        """
        self._store = store
        self._rules = rules
        self._watch = watch

    def release(self, ids: Iterable[str]) -> list[Document]:
        """Look at the jobs of these callbacks again. Return the callbacks that wait for none: due, held or final."""
        moved: list[Document] = []
        named = list(dict.fromkeys(ids))
        jobs = [job for job in self._store.get(named) if job is not None and _may_look(job)] if named else []
        while jobs:
            self._store.refresh("job")
            results = self._store.write([Update(job["id"], self._step(job)) for job in jobs])
            for result in results:
                if isinstance(result, Exception) and not isinstance(result, NoSuchDocument):
                    raise result
            looked = [job for job in results if isinstance(job, dict)]
            moved += [job for job in looked if not waits(job)]
            jobs = list(self._watch([job for job in looked if waits(job)]))
        return moved

    def _step(self, job: Document) -> Change:
        """Return the change of a callback after a look at its jobs."""
        mine: Filter = Compare(("parentJob",), "=", job["id"])
        last_added = [("created", True)]
        unfinished = Query(And((mine, UNFINISHED)), last=1, orderby=last_added, select=("state",))
        for child in self._store.search("job", unfinished).documents:
            return partial(_waiting, child=child["id"], now=now())
        total = self._store.search("job", Query(mine, last=0)).count
        failed = self._store.search("job", Query(And((mine, FAILED)), last=0)).count
        return partial(_gathered, total=total, failed=failed, rules=self._rules(), now=now())


def closed(job: Document, now: datetime) -> Document:
    """Return the callback with its batch closed, due for a look; the very same document if closed already."""
    if not job[BATCH]["open"]:
        return job
    after = changed(job, {}, (), now) | {BATCH: {**job[BATCH], "open": False}}
    if waits(job) and not is_pending(job):
        hold(after, Hold("batch", "its batch is closed", cimi_time(now)))
    return after


def _may_look(job: Document) -> bool:
    return waits(job) and not job[BATCH]["open"] and not is_pending(job)


def _waiting(job: Document, child: str, now: datetime) -> Document:
    """Return the callback, waiting on this job; the very same document if it has changed nothing."""
    if not waits(job) or job["held"].get("on") == child:
        return job
    after = changed(job, {}, (), now)
    hold(after, wait_child(child))
    return after


def _gathered(job: Document, total: int, failed: int, rules: Rules, now: datetime) -> Document:
    """Return the callback after the end of all its jobs: due, held by a rule, or final because some have failed."""
    if not waits(job):
        return job
    after = changed(job, {}, (), now) | {BATCH: {**job[BATCH], "total": total, "failed": failed}}
    then = job[BATCH]["whenFailed"]
    if failed and then != "run":
        state = "STOPPED" if then == "stop" else "FAILED"
        message = f"{failed} of {total} jobs of the batch did not succeed"
        return changed(after, {"state": state, "statusMessage": message}, (), now)
    hold(after, Hold("batch", "its jobs have ended", cimi_time(now)))
    return asked(after, rules, now)
