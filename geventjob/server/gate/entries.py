"""Remove entries of jobs from the queue, where no executor will consume them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from geventjob.cimi.document import Document
from geventjob.coordination.base import Coordination, CoordinationError
from geventjob.server.gate.gate import stale_entry
from geventjob.server.life.changes import entry_of

log = logging.getLogger(__name__)


def entries_of(jobs: Sequence[Document]) -> list[str]:
    """Return the entries of the jobs, without jobs that have none."""
    return [entry for entry in map(entry_of, jobs) if entry is not None]


def remove(coordination: Coordination, entries: list[str]) -> None:
    """Remove entries that no executor has taken.

    Where coordination fails, the entries stay in the queue until an executor takes them and consumes them, after the
    server's 404 or 409.
    """
    if not entries:
        return
    try:
        coordination.remove(entries)
    except CoordinationError as error:
        log.warning("%d entries without a job to run stay in the queue: %s", len(entries), error)


def discard(coordination: Coordination, jobs: Sequence[Document]) -> None:
    """Remove the entries of jobs in a final state, and the last entries of held jobs, even if they are taken.

    An executor of another engine that is refused such a job releases the entry, and takes it again, without end.
    """
    if not jobs:
        return
    try:
        entries = [entry_of(job) or stale_entry(job) or "" for job in jobs]
        said = coordination.jobs(entries)
        coordination.discard([entry for entry, job, id in zip(entries, jobs, said, strict=True) if id == job["id"]])
    except CoordinationError as error:
        log.warning("entries of jobs that may not run stay in the queue: %s", error)
