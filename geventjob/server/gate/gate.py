"""The gate: a job that must wait is held in the store, QUEUED and without an entry (docs/architecture.md, "The gate").

The functions are pure, except those that say so.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time
from geventjob.job.states import FINAL
from geventjob.server.gate.after import AFTER, WAITERS, wait_after
from geventjob.server.gate.children import wait_children, waits
from geventjob.server.gate.limit import is_let_through
from geventjob.server.gate.rules import Rules
from geventjob.server.life.changes import HELD, LAST_ENTRY, PLACE, changed, entry_of, set_entry
from geventjob.server.life.conflicts import Refusal
from geventjob.server.life.requeue import interrupted
from geventjob.server.life.wait import Hold, hold

CLOCKS = timedelta(seconds=5)
"""The most by which the clocks of two servers may differ: one puts a due job, the other is asked to begin the job."""
COMPLETED = timedelta(seconds=10)
"""Time after which the promoter completes the add of a unique job, whose server has died (unique.py)."""
PENDING = "unique"
"""The reason for which a unique job waits until its add is complete."""
EXPIRED = "expired"
"""The statusMessage of a job that was not RUNNING in time."""
NO_RULES = Rules()
AWAITED = ("limits", "parentJob", WAITERS)
"""Attributes of jobs whose end others may wait for."""


# --- the question


def wait_of(job: Document, rules: Rules, now: datetime) -> Hold | None:
    """Return how the QUEUED job must wait now; None: the job may pass.

    The one place that decides. Asked at the add, when a time is over, at the end of what the job has waited for, and
    before a lost entry is put back.
    """
    if AFTER in job:
        return wait_after(job)
    if waits(job):
        return wait_children(job)
    time = cimi_time(now)
    held = job.get("held")
    if held and held.get("until", "") > time:
        return Hold(held["why"], held["detail"], held["until"])
    if job.get("notBefore", "") > time:
        return Hold("notBefore", "added to run at this time or later", job["notBefore"])
    return rules.pause_of(job, time) or rules.wait_of(job)


def asked(job: Document, rules: Rules, now: datetime) -> Document:
    """Return the QUEUED job, held by what it must wait for now, or due at once; the very same document if so already.

    A job that may pass is held until now, so that every promoter finds the job, and that a claim may begin it.
    """
    if job["state"] != "QUEUED" or is_pending(job):
        return job
    wait = wait_of(job, rules, now)
    passes = wait is None
    if wait is None:
        if "held" not in job or is_let_through(job):
            return job
        held = job["held"]
        wait = Hold(held["why"], held["detail"], min(held.get("until", "~"), cimi_time(now)))
    after = changed(job, {}, (), now)
    if passes:
        after.pop("limits", None)
    hold(after, wait, waited=True)
    return job if _waits_alike(job, after) else after


def _waits_alike(before: Document, after: Document) -> bool:
    """Return whether a job waits before and after a question for the same, under the same limits."""
    held = {name: value for name, value in before.get("held", {}).items() if name != "token"}
    return held == after["held"] and before.get("limits") == after.get("limits")


def unless_paused(job: Document, after: Document, rules: Rules, now: datetime) -> Document:
    """Return the job after an edit; or held, if the edit begins an attempt of a paused action.

    So the job waits although its entry was still in the queue, and although an attempt was RUNNING whose executor died.
    """
    begins = after["state"] == "RUNNING" and (job["state"] == "QUEUED" or after["attempts"] != job["attempts"])
    wait = rules.pause_of(job, cimi_time(now)) if begins else None
    if wait is None:
        return after
    held = changed(job, {}, (), now) if job["state"] == "QUEUED" else interrupted(job, now)
    set_entry(held, entry_of(after))
    hold(held, wait, waited=True)
    return held


# --- changes


def is_due(job: Document, now: datetime) -> bool:
    """Return whether the time is over for which a job is held; False for a job that is not held for a time."""
    return bool(job.get("held", {}).get("until", "~") <= cimi_time(now))


def await_completion(job: Document, now: datetime) -> None:
    """Hold a unique job until its add is complete, in place."""
    detail = "its add is not complete: other jobs may have the same unique values"
    hold(job, Hold(PENDING, detail, cimi_time(now + COMPLETED)))


def is_pending(job: Document) -> bool:
    """Return whether the add of this unique job is not complete."""
    return "held" in job and job["held"]["why"] == PENDING


def due(job: Document) -> str | None:
    """Return the time at which the promoter has something to do with this QUEUED job; None: never."""
    times = [job["held"]["until"]] if "until" in job.get("held", ()) else []
    if "expires" in job:
        times.append(job["expires"])
    return min(times, default=None)


def promoted(job: Document, entry: str, now: datetime) -> Document:
    """Return the job under its entry in the queue; the very same document if the job is not held, or not due."""
    if is_pending(job) or waits(job) or not is_due(job, now):
        return job
    after = changed(job, {}, (), now)
    if entry != job.get(PLACE):
        after.pop("fence", None)  # fencing tokens begin anew with the entry
    for name in HELD:
        after.pop(name, None)
    set_entry(after, entry)
    return after


def released(job: Document, now: datetime) -> Document:
    """Return the job, due at once; the very same document if the job is not held for a time."""
    if "until" not in job.get("held", ()):
        return job
    time = cimi_time(now)
    after = changed(job, {}, (), now) | {"held": {**job["held"], "until": min(job["held"]["until"], time)}}
    if "notBefore" in job:
        after["notBefore"] = min(job["notBefore"], time)
    return after


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
    held = job["held"]
    if begins and entry is not None and is_pending(job):
        return  # the entry was put when the add was complete but for the job
    limited = "limits" in job and not is_let_through(job)
    if not begins or (entry is not None and entry == job.get(LAST_ENTRY)) or limited or not is_due(job, now + CLOCKS):
        until = f"until {held['until']}" if "until" in held else f"on {held.get('on')}"
        raise Refusal("entry", f"{job['id']} waits {until}", job)


def stale_entry(job: Document) -> str | None:
    """Return the entry under which a held job ran or waited last, for its removal; None without one."""
    entry: str | None = job.get(PLACE) or job.get(LAST_ENTRY)
    return entry


def is_awaited(job: Document) -> bool:
    """Return whether others may wait for the job, which has ended, was held or was deleted."""
    return any(name in job for name in AWAITED)


def has_left(job: Document) -> bool:
    """Return whether a job has ended, or was held, and so makes room for others."""
    return job["state"] in FINAL or "held" in job
