"""The callback of a batch: the job that waits until all jobs that name it as their `parentJob` have ended.

The functions are pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geventjob.cimi.document import Document
from geventjob.server.life.wait import Hold

BATCH = "batch"
"""Attribute of a callback: whether its batch is open, what it does after failures, and in the end the counts."""
OPTIONS = "_batch"
"""Attribute of the body of a new callback: its options."""


def opened(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of `batch` of a new callback."""
    return {"open": True, **options}


def is_open(job: Document) -> bool:
    """Return whether jobs may be added to the batch of this callback."""
    return bool(job[BATCH]["open"] and job["state"] == "QUEUED")


def waits(job: Document) -> bool:
    """Return whether the job, QUEUED, is a callback whose jobs have not been seen to have ended."""
    return BATCH in job and "total" not in job[BATCH] and job.get("state", "QUEUED") == "QUEUED"


def wait_children(job: Document) -> Hold:
    """Return how a callback waits: until its batch is closed, or on one of its jobs, or for a look at its jobs."""
    if job[BATCH]["open"]:
        return Hold("batch", "its batch is open", on="batch" + job["id"].removeprefix("job"))
    held = job.get("held", {})
    if held.get("on", "").startswith("job/"):
        return Hold("batch", held["detail"], on=held["on"])
    return Hold("batch", "its batch is closed", until=held.get("until", job["updated"]))


def wait_child(child: str) -> Hold:
    """Return how a callback waits on one of its jobs."""
    return Hold("batch", f"waits for {child} and the jobs of its batch before", on=child)
