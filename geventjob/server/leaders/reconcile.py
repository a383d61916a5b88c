"""Reconcile the queue with the store, for example after a loss of ZooKeeper's data, or a move to another queue.

An unfinished job that is not held, and whose entry is gone, or older than the last claim of the job, is put into the
queue again, unless a rule holds the job. An entry whose job does not exist or is in a final state is removed. An entry
is older where coordination was restored from an older copy: the fencing tokens have gone back, so no claim of the entry
can begin the job. Each difference is checked again after a grace, since an add or an end may have been in flight.
Reconciling is safe beside executors and beside another reconciler: the job decides, once, which entry counts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import gevent

from geventjob.backoff import Trouble
from geventjob.cimi.document import Document
from geventjob.clock import now
from geventjob.coordination.base import Coordination
from geventjob.job.bounds import LOWEST_PRIORITY
from geventjob.job.states import FINAL
from geventjob.server.filter import And, Compare, Filter, Or
from geventjob.server.leaders.leading import LeaderTask, at_intervals
from geventjob.server.leaders.pages import PAGE, pages
from geventjob.server.leaders.promoter import Promoter
from geventjob.server.life.changes import entry_of
from geventjob.server.life.requeue import requeued
from geventjob.server.store.base import Change, NoSuchDocument, Store, Update

log = logging.getLogger(__name__)

ELECTION = "reconciler"
GRACE = 5.0
"""Seconds between the two checks of a difference."""
HEAD = 1_000
"""Entries of the head of the queue that are looked at."""
UNFINISHED: Filter = And(
    (
        Or(tuple(Compare(("state",), "=", state) for state in ("QUEUED", "RUNNING", "STOPPING"))),
        Compare(("held", "why"), "=", None),
    )
)
"""The jobs that need an entry: held jobs have none."""
READ = ("state", "properties", "priority", "fence")


@dataclass
class Report:
    """The counts of one round."""

    jobs: int = 0
    """Jobs that are not in a final state."""
    requeued: int = 0
    """Jobs without an entry, which were put into the queue."""
    removed: int = 0
    """Entries without a job to run, which were removed from the queue."""


class Reconciler:
    """The comparison of queue and store. Methods raise StoreError and CoordinationError."""

    def __init__(self, store: Store, coordination: Coordination, promoter: Promoter | None = None) -> None:
        """Compare nothing yet. `promoter`: the promoter of this server; None: another server has one."""
        self._store = store
        self._coordination = coordination
        self._promoter = promoter or Promoter(store, coordination)

    def keep(self, interval: float) -> None:
        """Run a round each `interval` seconds while this server is the leader. Does not return."""
        trouble = Trouble(log, "the queue and the store cannot be reconciled")
        LeaderTask(self._coordination, ELECTION, at_intervals(self.run, interval), trouble).keep()

    def run(self, *, dry: bool = False, grace: float = GRACE) -> Report:
        """Run one round. `dry`: only count the differences. `grace`: seconds between the two checks."""
        report = Report()
        lost, restored = [], 0
        for page in pages(self._store, UNFINISHED, READ):
            report.jobs += len(page)
            older = self._with_older_entry(page)
            lost += self._without_entry(page) + older
            restored += len(older)
        if not dry:
            self._promoter.look()
        orphans = self._orphans()
        if restored:
            grace = max(grace, self._log_restored(restored))
        if lost or orphans:
            gevent.sleep(grace)
        for first in range(0, len(lost), PAGE):
            report.requeued += self._requeue([job["id"] for job in lost[first : first + PAGE]], dry)
        again = self._orphans()
        still = {entry: over for entry, over in orphans.items() if again.get(entry) == over}
        report.removed = len(still) if dry else self._take_out(still)
        if report.requeued or report.removed:
            did = "would have been" if dry else "were"
            log.warning(
                "%d jobs without an entry of theirs %s put into the queue, %d entries without a job to run %s removed",
                report.requeued, did, report.removed, did,
            )  # fmt: skip
        return report

    def _log_restored(self, count: int) -> float:
        """Log the restored copy. Return the seconds for which owners may still run jobs that they took before."""
        log.error(
            "%d jobs have entries older than their last claim: coordination was restored from an older copy; they are "
            "put into the queue anew, and run again as after an interruption", count,
        )  # fmt: skip
        session = self._coordination.session
        return session.timeout if session else 0.0

    def _without_entry(self, jobs: list[Document]) -> list[Document]:
        """Return the jobs whose entry the queue lacks, or has for another job."""
        entries = [entry_of(job) or "" for job in jobs]
        said = self._coordination.jobs(entries) if jobs else []
        return [job for job, id in zip(jobs, said, strict=True) if id not in (job["id"], "")]

    def _with_older_entry(self, jobs: list[Document]) -> list[Document]:
        """Return the jobs whose fence is above all fencing tokens of their entry."""
        begun = [job for job in jobs if "fence" in job]
        if not begun:
            return []
        entries = [entry_of(job) or "" for job in begun]
        fences = dict(zip(entries, self._coordination.fences(entries), strict=True))
        said = zip(begun, entries, self._coordination.jobs(entries), strict=True)
        return [job for job, entry, id in said if id == job["id"] and (fences[entry] or 0) < job["fence"]]

    def _requeue(self, ids: list[str], dry: bool) -> int:
        """Put jobs into the queue that are still unfinished and without an entry. Return their number."""
        found = [job for job in self._store.get(ids) if job is not None and _needs_entry(job)]
        older = self._with_older_entry(found)
        lost = self._without_entry(found) + older
        if dry or not lost:
            return len(lost)
        waiting = self._promoter.ask([job for job in lost if job["state"] == "QUEUED"])
        lost = [job for job in lost if job["id"] not in waiting]
        lost.sort(key=lambda job: (job.get("priority", LOWEST_PRIORITY), job["created"]))
        entries = self._coordination.put([(job["id"], job.get("priority", LOWEST_PRIORITY)) for job in lost])
        results = self._store.write(
            [Update(job["id"], _move(job, entry)) for job, entry in zip(lost, entries, strict=True)]
        )
        # Jobs that were not moved were deleted, ended, begun, or put by another reconciler meanwhile. An older entry
        # that is taken stays: its executor consumes the entry after the server's 409 `entry`.
        pairs = zip(entries, results, strict=True)
        moved = [isinstance(result, dict) and entry_of(result) == entry for entry, result in pairs]
        replaced = [entry_of(job) for job, done in zip(lost, moved, strict=True) if done and job in older]
        unused = [entry for entry, done in zip(entries, moved, strict=True) if not done]
        if useless := [*unused, *filter(None, replaced)]:
            self._coordination.remove(useless)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, NoSuchDocument):
                raise result
        return sum(moved)

    def _orphans(self) -> dict[str, bool]:
        """Return entries at the head of the queue without a job to run, each with whether the job is in a final state.

        The entry of a missing job counts only if no executor has taken the entry. The entry of a job in a final state
        counts even if taken: an executor of another engine releases the entry and takes it again, without end.
        """
        head = [waiting for waiting in self._coordination.stats(HEAD).head if waiting.job.startswith("job/")]
        jobs = self._store.get([waiting.job for waiting in head])
        return {
            waiting.entry: job is not None
            for waiting, job in zip(head, jobs, strict=True)
            if (waiting.taken_by is None if job is None else job["state"] in FINAL)
        }

    def _take_out(self, orphans: Mapping[str, bool]) -> int:
        """Remove these entries, and return the number of entries that are gone."""
        over = sorted(entry for entry, is_over in orphans.items() if is_over)
        if over:
            self._coordination.discard(over)
        return len(over) + sum(self._coordination.remove(sorted(orphans.keys() - set(over))))


def _needs_entry(job: Document) -> bool:
    return job["state"] not in FINAL and "held" not in job


def _move(seen: Document, new: str) -> Change:
    """Return a change that gives the job a new entry, unless the job has changed since it was seen."""

    def change(job: Document) -> Document:
        if not _needs_entry(job) or entry_of(job) != entry_of(seen) or job.get("fence") != seen.get("fence"):
            return job
        return requeued(job, new, now=now())

    return change
