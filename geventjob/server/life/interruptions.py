"""Count the interruptions of a job: attempts whose executor ended without a report.

When a RUNNING job is begun anew, the executor of the earlier attempt has died, or has lost its session and lives on;
the server cannot know which. The attempt is therefore counted as an interruption and noted. An executor that lives on
reports later that the attempt ended in good order, and the count goes back by one, once for each attempt.
"""

from __future__ import annotations

from typing import Any

from geventjob.cimi.document import Document

Attempt = list[Any]
"""Entry, fencing token and executor of an attempt: `["/job/entries/…", 17, "name"]`."""

NOTED = 16
"""Attempts of a job that are noted. An executor cannot take back the interruption of an earlier one."""

_COUNTED = "_interrupted"
"""Attribute of a job: the counted attempts, each with whether its executor has reported."""
_LEFT = "_left"
"""Attribute of a job that was put into the queue anew while it was RUNNING: the attempt that was under way."""


def count(job: Document, attempt: Attempt | None) -> None:
    """Count an interruption, in place. An attempt that no fenced owner made is None, and is not noted."""
    job["interruptions"] = job.get("interruptions", 0) + 1
    job.pop(_LEFT, None)
    if attempt is not None:
        job[_COUNTED] = [*job.get(_COUNTED, []), {"attempt": attempt, "told": False}][-NOTED:]


def leave(job: Document, attempt: Attempt | None) -> None:
    """Note, in place, the attempt that is under way while the entry of the job changes; None: no attempt is."""
    job.pop(_LEFT, None)
    if attempt is not None:
        job[_LEFT] = attempt


def left_by(job: Document) -> Attempt | None:
    """Return the attempt that `leave` has noted."""
    attempt: Attempt | None = job.get(_LEFT)
    return attempt


def known(job: Document, attempt: Attempt) -> bool:
    """Return whether an executor may still report that this attempt ended in good order."""
    return left_by(job) == attempt or any(noted["attempt"] == attempt for noted in job.get(_COUNTED, []))


def forgive(job: Document, attempt: Attempt) -> Document:
    """Return the job without the interruption of this attempt; the very same document after a second report."""
    noted = job.get(_COUNTED, [])
    if {"attempt": attempt, "told": False} not in noted:
        return job
    told = [{**each, "told": True} if each["attempt"] == attempt else each for each in noted]
    return {**job, "interruptions": job["interruptions"] - 1, _COUNTED: told}


def end(job: Document) -> None:
    """Forget, in place, the attempts of a job that has ended. The count stays."""
    job.pop(_COUNTED, None)
    job.pop(_LEFT, None)
