"""Refuse writes that conflict with the state or the owner of a job: HTTP 409 (docs/job-lifecycle.md, "Refusals")."""

from __future__ import annotations

from geventjob.cimi.document import Document
from geventjob.job.attributes import OWNED
from geventjob.server.life.changes import entry_of


class Refusal(Exception):
    """A write in conflict with the state or owner of the job: HTTP 409 with a `reason` and the current job."""

    def __init__(self, reason: str, message: str, job: Document) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.job = job


class EntryDiffers(Refusal):
    """A write from the entry `sent` to a job that names `entry`. Once `entry` is gone, `sent` may count."""

    def __init__(self, job: Document, entry: str, sent: str) -> None:
        super().__init__("entry", f"{job['id']} is queued as {entry}, not as {sent}", job)
        self.entry = entry
        self.sent = sent


class OwnerHolds(Refusal):
    """An unfenced edit of an attribute of the owner. The edit may land once `executor` does not hold `entry`."""

    def __init__(self, job: Document) -> None:
        self.entry: str = entry_of(job) or ""
        self.fence: int = job["fence"]
        self.executor: str = job["executor"]
        said = f"{job['id']} is run by {self.executor}, which alone writes {', '.join(OWNED[:-1])} and {OWNED[-1]}"
        super().__init__("fence", f"{said}: stop or delete the job instead, or edit it with ?force=true", job)


def stopping(job: Document) -> Refusal:
    """Return the refusal of a write to a job that is being stopped."""
    return Refusal("stopping", f"{job['id']} is being stopped", job)
