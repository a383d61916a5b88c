"""Interruptions of a job: attempts whose executor ended without telling.

When a job that is RUNNING is begun anew, nobody knows yet whether the executor of the attempt before died, or lost its
session and lives on. So the attempt is counted as an interruption and noted here. An executor that lives on tells
later that the attempt ended in good order, and the count goes back by one, once for each attempt.
"""

from __future__ import annotations

from typing import Any

from geventjob.cimi.document import Document

Attempt = list[Any]
"""Entry, fencing token and executor of an attempt: `["/job/entries/…", 17, "name"]`."""

KEPT = 16
"""Attempts of a job that are noted; of earlier ones nobody can tell any more."""

_COUNTED = "_interrupted"
"""Attribute of a job: the counted attempts, each with whether its executor has told."""
_LEFT = "_left"
"""Attribute of a job that was put into the queue anew while it was RUNNING: the attempt that was under way."""


def count(job: Document, attempt: Attempt | None) -> None:
    """Count an interruption. `attempt` is None for one that no fenced owner made: nobody can tell of it."""
    job["interruptions"] = job.get("interruptions", 0) + 1
    job.pop(_LEFT, None)
    if attempt is not None:
        job[_COUNTED] = [*job.get(_COUNTED, []), {"attempt": attempt, "told": False}][-KEPT:]


def leave(job: Document, attempt: Attempt | None) -> None:
    """Note the attempt that is under way while the entry of the job changes; None: nothing is under way."""
    job.pop(_LEFT, None)
    if attempt is not None:
        job[_LEFT] = attempt


def left_by(job: Document) -> Attempt | None:
    """Return the attempt that was noted by `leave`."""
    attempt: Attempt | None = job.get(_LEFT)
    return attempt


def known(job: Document, attempt: Attempt) -> bool:
    """Return whether an executor may tell of this attempt that it ended in good order."""
    return left_by(job) == attempt or any(noted["attempt"] == attempt for noted in job.get(_COUNTED, []))


def forgive(job: Document, attempt: Attempt) -> Document:
    """Return the job without the interruption that this attempt counted as; the very same document if told before."""
    noted = job.get(_COUNTED, [])
    if {"attempt": attempt, "told": False} not in noted:
        return job
    told = [{**each, "told": True} if each["attempt"] == attempt else each for each in noted]
    return {**job, "interruptions": job["interruptions"] - 1, _COUNTED: told}


def end(job: Document) -> None:
    """Forget the attempts of a job that has ended: its count stays as it is."""
    job.pop(_COUNTED, None)
    job.pop(_LEFT, None)
