"""Keys of unique jobs, their claims, and what an add changes (unique.py).

The functions are pure: none of them changes its argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

import msgspec

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time, moment_of, now
from geventjob.job.states import FINAL
from geventjob.server.accounts.acl import MODIFY
from geventjob.server.accounts.caller import Caller
from geventjob.server.gate.gate import asked, await_completion, is_pending, wait_of
from geventjob.server.gate.rules import Rules
from geventjob.server.life.changes import HELD, changed, set_entry
from geventjob.server.life.wait import hold
from geventjob.server.store.base import Change

CLAIM = "_unique"
"""Attribute of a job: the id of the claim of its key."""
REPLACED_BY = "_replacedBy"
"""Attribute of a job: the idempotency key of the add that replaced its payload last."""
REPLACED = ("payload", "notBefore", "expires")
"""The attributes that an add with `replace` gives to the job that waits."""
LOOK = timedelta(hours=1)
"""Time after which the sweep looks whether the job of a claim still keeps its key."""


@dataclass(frozen=True)
class NewJob:
    """A job to add."""

    job: Document
    caller: Caller
    key: str | None
    """The idempotency key, unique among all jobs."""


def claim_id(job: Mapping[str, Any], user: str | None) -> str:
    """Return the id of the claim of the key of a unique job; `user`: the submitter, None for administrators.

    Values are compared as JSON. A missing value is equal to a missing value, and to no other.
    """
    values = [[path, *_value(job, path)] for path in sorted(set(job["unique"]["by"]))]
    key = msgspec.json.encode([user, values], order="deterministic")
    return f"claim/{blake2b(key, digest_size=24).hexdigest()}"


def keeps(job: Document, now: datetime) -> bool:
    """Return whether the job keeps its key. A job that has given its key up never keeps the key again."""
    rule = job["unique"]
    if "for" in rule:
        return moment_of(job["created"]) + timedelta(seconds=rule["for"]) > now
    if rule["while"] == "queued":
        return job["state"] == "QUEUED" and "started" not in job
    return job["state"] not in FINAL


def _value(job: Mapping[str, Any], path: str) -> list[Any]:
    """Return the value at a path, in a list; an empty list without a value."""
    value: Any = job
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return []
        value = value[name]
    return [value]


def is_kept(job: Document | None, now: datetime) -> bool:
    """Return whether the job that a claim names keeps the key. Each job was stored before it was named."""
    return job is not None and (is_pending(job) or keeps(job, now))


def has_ended(job: Document, now: datetime) -> bool:
    """Return whether the job has ended, and has given its key up."""
    return job["state"] in FINAL and not keeps(job, now)


def claim_of(job: Document) -> Document:
    """Return the claim of the key of a job; the sweep looks at the claim when `held.until` is over."""
    rule = job["unique"]
    until = moment_of(job["created"]) + timedelta(seconds=rule["for"]) if "for" in rule else now() + LOOK
    return {"id": job[CLAIM], "job": job["id"], "held": {"until": cimi_time(until)}}


def taking_over(seen: Document, job: Document) -> Change:
    """Return the change that gives a claim to this job, unless the claim has changed hands since it was seen."""
    return lambda claim: claim_of(job) if claim["job"] == seen["job"] else claim


def freeing(id: str) -> Change:
    """Return the change that deletes the claim of this job."""
    return lambda claim: None if claim["job"] == id else claim


def looking_again(seen: Document, later: str) -> Change:
    """Return the change by which the sweep looks at this claim later."""
    return lambda claim: {**claim, "held": {"until": later}} if claim == seen else claim


def pending(job: Document) -> Document:
    """Return the job, pending."""
    waits = dict(job)
    await_completion(waits, now())
    return waits


def let_through(job: Document, entry: str | None, rules: Rules, now: datetime) -> Document:
    """Return the job, under this entry or held for another reason; the very same document if the job is not pending.

    A job without an entry that need not wait stays pending.
    """
    if not is_pending(job):
        return job
    after = changed(job, {}, (), now)
    for name in HELD:
        after.pop(name, None)
    if wait := wait_of(after, rules, now):
        hold(after, wait)
    elif entry is None:
        return job
    else:
        set_entry(after, entry)
    return after


def replacing(new: NewJob, rules: Rules, now: datetime) -> Change:
    """Return the change that gives the payload and the times of a new job to the job that waits, if the caller may."""
    return lambda job: _replaced(job, new, rules, now) if new.caller.may(MODIFY, job) else job


def _replaced(job: Document, new: NewJob, rules: Rules, now: datetime) -> Document:
    """Return the waiting job with payload and times of a new one; the very same document of a job that has begun."""
    if job["state"] != "QUEUED" or "started" in job:
        return job
    after = changed(job, {}, (), now)
    for name in REPLACED:
        after.pop(name, None)
    after.update((name, new.job[name]) for name in REPLACED if name in new.job)
    after[REPLACED_BY] = identity(new)
    held = after.get("held", {})
    if held.get("why") == "notBefore":
        after["held"] = {**held, "until": min(held["until"], cimi_time(now))}
    return asked(after, rules, now)


def repeats(new: NewJob, keeper: Document) -> bool:
    """Return whether the add has replaced the payload of this job before: its first answer was lost."""
    return bool(keeper.get(REPLACED_BY) == identity(new))


def identity(new: NewJob) -> str:
    """Return a text by which a repeated add is known."""
    return str(new.job.get("idempotencyKey", new.job["id"]))
