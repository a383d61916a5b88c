"""Put a job that is RUNNING back to QUEUED, or give a job another entry, without a write of its executor."""

from __future__ import annotations

from datetime import datetime

from geventjob.cimi.document import Document
from geventjob.server.life import interruptions
from geventjob.server.life.changes import changed, entry_of, set_entry


def requeued(job: Document, entry: str, *, now: datetime) -> Document:
    """Return the job under another entry, in place of one that is gone. No executor owns the job until the next claim.

    Claims of the old entry reach nothing, and fencing tokens begin anew with the entry.
    """
    after = changed(job, {}, (), now)
    interruptions.leave(after, under_way(job))
    set_entry(after, entry)
    for name in ("fence", "_owned"):
        after.pop(name, None)
    return after


def orphaned(job: Document, executor: str, fence: int, *, now: datetime) -> Document:
    """Return the job, QUEUED, after the executor of this attempt has gone.

    The very same document is returned if the attempt is not RUNNING any more.
    """
    if job["state"] != "RUNNING" or not job.get("_owned") or (job["executor"], job["fence"]) != (executor, fence):
        return job
    return interrupted(job, now)


def interrupted(job: Document, now: datetime) -> Document:
    """Return the job, QUEUED, with the attempt that was RUNNING counted as an interruption."""
    after = changed(job, {"state": "QUEUED"}, (), now)
    interruptions.count(after, under_way(job))
    after.pop("_owned", None)
    after["interrupted"] = True
    return after


def under_way(job: Document) -> interruptions.Attempt | None:
    """Return the attempt that is RUNNING; None if no fenced owner began it."""
    if job.get("_owned"):
        return [entry_of(job), job["fence"], job["executor"]]
    return interruptions.left_by(job)
