"""Write QUEUED to orphaned jobs: RUNNING jobs whose executor has gone.

The next executor that takes such a job finds out anyway. But while all executors are busy, or none lives, the job would
be shown as RUNNING. A running attempt holds its entry of the queue, so an executor without any entry, listed after
the job was read, does not run the job.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial

from geventjob.backoff import Trouble
from geventjob.cimi.document import Document
from geventjob.clock import cimi_time, now
from geventjob.coordination.base import Coordination
from geventjob.server.filter import And, Compare, Filter
from geventjob.server.leaders.leading import LeaderTask, at_intervals
from geventjob.server.life.requeue import orphaned
from geventjob.server.store.base import NoSuchDocument, Query, Store, Update

log = logging.getLogger(__name__)

ELECTION = "rescue"
INTERVAL = 2.0
"""Seconds between two searches."""
PAGE = 1_000
"""Most jobs of one search."""


class Rescue:
    """The search for orphaned jobs."""

    def __init__(self, store: Store, coordination: Coordination) -> None:
        self._store = store
        self._coordination = coordination

    def keep(self) -> None:
        """Search every INTERVAL seconds while this server is the leader. Does not return."""
        trouble = Trouble(log, "the search for orphaned jobs failed")
        LeaderTask(self._coordination, ELECTION, at_intervals(self.run, INTERVAL), trouble).keep()

    def run(self) -> int:
        """Search once, and return the number of orphaned jobs. Raises StoreError, CoordinationError."""
        jobs = self._running_elsewhere(self._coordination.members("executors"))
        if not jobs:
            return 0
        # Read after the search, and members before holders: only members are read from ZooKeeper's leader.
        known = {*self._coordination.members("executors"), *self._coordination.stats(1).holders}
        # A job that an executor of an old engine runs has no attribute `executor`.
        orphans = [job for job in jobs if "executor" in job and job["executor"] not in known]
        moment = now()
        changes = [
            Update(job["id"], partial(orphaned, executor=job["executor"], fence=job["fence"], now=moment))
            for job in orphans
        ]
        queued = []
        for job, result in zip(orphans, self._store.write(changes), strict=True):
            if isinstance(result, Exception) and not isinstance(result, NoSuchDocument):
                raise result
            if isinstance(result, dict) and result["updated"] == cimi_time(moment):  # else the search was out of date
                queued.append(job)
        if queued:
            names = ", ".join(sorted({job["executor"] for job in queued}))
            log.warning("%d jobs are QUEUED again, as their executors have gone: %s", len(queued), names)
        return len(queued)

    def _running_elsewhere(self, alive: Iterable[str]) -> list[Document]:
        """Return the jobs that are RUNNING on executors other than these."""
        others = [Compare(("executor",), "!=", name) for name in sorted(alive)]
        running: Filter = And((Compare(("state",), "=", "RUNNING"), Compare(("fence",), ">=", 0), *others))
        query = Query(running, last=PAGE, select=("executor", "fence"), fresh=False)
        return self._store.search("job", query).documents
