"""The gate: a job that must wait is held in the store, QUEUED and without an entry (docs/architecture.md, "The gate").

The functions are pure, except those that say so.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time
from geventjob.server.jobs.changes import HELD, LAST_ENTRY, changed, entry_of, set_entry
from geventjob.server.jobs.conflicts import Refusal

CLOCKS = timedelta(seconds=5)
"""The most by which the clocks of two servers may differ: one puts a due job, the other is asked to begin the job."""
EXPIRED = "expired"
"""The statusMessage of a job that was not RUNNING in time."""


def hold(job: Document, why: str, until: str, detail: str) -> None:
    """Let the job wait before the queue, in place. No claim of its entry begins the job any more."""
    entry = entry_of(job)
    if entry is not None:
        job[LAST_ENTRY] = entry
    set_entry(job, None)
    job["held"] = {"why": why, "until": until, "detail": detail}


def due(job: Document) -> str | None:
    """Return the time at which the promoter has something to do with this QUEUED job; None: never."""
    times = [job["held"]["until"]] if "held" in job else []
    if "expires" in job:
        times.append(job["expires"])
    return min(times, default=None)


def promoted(job: Document, entry: str, now: datetime) -> Document:
    """Return the job under its entry in the queue; the very same document if the job is not held, or not due."""
    if "held" not in job or job["held"]["until"] > cimi_time(now):
        return job
    after = changed(job, {}, (), now)
    for name in HELD:
        after.pop(name, None)
    set_entry(after, entry)
    return after


def released(job: Document, now: datetime) -> Document:
    """Return the job, due at once; the very same document if the job is not held."""
    if "held" not in job:
        return job
    held = {**job["held"], "until": min(job["held"]["until"], cimi_time(now))}
    return changed(job, {}, (), now) | {"held": held}


def is_expired(job: Document, now: datetime) -> bool:
    """Return whether the job waits for longer than it may."""
    return bool(job["state"] == "QUEUED" and "expires" in job and job["expires"] <= cimi_time(now))


def expired(job: Document, now: datetime) -> Document:
    """Return the job, STOPPED if it waits for longer than it may; else the very same document."""
    if not is_expired(job, now):
        return job
    return changed(job, {"state": "STOPPED", "statusMessage": EXPIRED}, (), now)


def check(job: Document, entry: str | None, now: datetime, *, begins: bool = True) -> None:
    """Raise Refusal if a claim of this entry may not begin or end the QUEUED job; None: the claim names no entry.

    A held job may begin if it is due: its new entry can be taken before the job is stored with it. No claim may end it:
    the end may be that of an earlier run, whose first answer was lost.
    """
    if is_expired(job, now):
        raise Refusal("final", f"{job['id']} has expired", job)
    if "held" not in job:
        return
    until = job["held"]["until"]
    if not begins or (entry is not None and entry == job.get(LAST_ENTRY)) or until > cimi_time(now + CLOCKS):
        raise Refusal("entry", f"{job['id']} waits until {until}", job)


def stale_entry(job: Document) -> str | None:
    """Return the entry under which a held job ran last, for its removal; None without one."""
    entry: str | None = job.get(LAST_ENTRY)
    return entry
