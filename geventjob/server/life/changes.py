"""Change the document of a job, with all that follows from a change: times, progress, duration, the entry.

The functions are pure: none of them changes its argument, except those that say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from geventjob.cimi.document import RESOURCE_URI, Document
from geventjob.clock import cimi_time, moment_of
from geventjob.job.attributes import AT_ADD, AT_EDIT, ENTRY, KEPT, MOMENTS, SET_BY_SERVER
from geventjob.job.bounds import LOWEST_PRIORITY
from geventjob.job.moments import moment
from geventjob.job.states import FINAL
from geventjob.job.types import MESSAGE_BYTES
from geventjob.server.life import interruptions

LAST_ENTRY = "_lastEntry"
"""Attribute of a held job: the entry under which the job ran last. A claim of this entry is over."""
PLACE = "_place"
"""Attribute of a held job: the entry under which the job waited in the queue, and to which it may come back."""
TURN = "_turn"
"""Attribute of a job that was held at its add: the number of the add among those of its server."""
HELD = ("held", LAST_ENTRY, PLACE)
"""Attributes of a job that waits before the queue (gate.py)."""


def added(body: Mapping[str, Any], *, id: str, now: datetime, acl: Mapping[str, Any]) -> Document:
    """Return the new job for a validated body. The caller puts the entry into `properties` once there is one."""
    time = cimi_time(now)
    job: Document = {"priority": LOWEST_PRIORITY, "progress": 0}
    job.update((name, value) for name, value in body.items() if name not in SET_BY_SERVER | AT_EDIT)
    job.update(id=id, resourceURI=RESOURCE_URI + "Job", created=time, updated=time, acl=acl, state="QUEUED")
    job.update(attempts=0, interruptions=0, retried=0, interrupted=False)
    set_entry(job, None)
    target = job.get("targetResource")
    affected = job.get("affectedResources", [])
    if target and target not in affected:
        job["affectedResources"] = [*affected, target]
    if "statusMessage" in job:
        _set_message(job, time)
    for name in MOMENTS:
        if name in job:
            job[name] = cimi_time(moment(job[name], now))
    return job


def changed(job: Document, change: Mapping[str, Any], delete: Sequence[str], now: datetime) -> Document:
    """Return the job with these attributes set and deleted, and with all that follows. A set wins over a delete."""
    time = cimi_time(now)
    after = dict(job)
    for name in delete:
        if name not in KEPT:
            after.pop(name, None)
    for name, value in change.items():
        if name not in SET_BY_SERVER and name not in AT_ADD:
            after[name] = value
    after["updated"] = time
    if "properties" in change or "properties" in delete:
        set_entry(after, entry_of(job))
    if "statusMessage" in change:
        _set_message(after, time)
    state = after["state"]
    if "priority" in change and "place" in after.get("held", ()):
        after["held"] = {**after["held"], "place": place_of(after)}
    if state != "QUEUED":
        for name in HELD:
            after.pop(name, None)
    if state == "RUNNING":
        after.setdefault("started", time)
    elif state in FINAL and job["state"] not in FINAL:
        _end(after, now)
    return after


def place_of(job: Document) -> str:
    """Return the place of a job among all that wait for the same thing: by priority, then in the order of the adds."""
    return f"{job.get('priority', LOWEST_PRIORITY):03} {job['created']} {job.get(TURN, 0):012} {job['id']}"


def entry_of(job: Document) -> str | None:
    """Return the path of the entry that counts for the job; None if the job has no entry."""
    entry: str | None = job.get("properties", {}).get(ENTRY)
    return entry


def set_entry(job: Document, entry: str | None) -> None:
    """Set the entry of the job, in place, whatever its properties hold. Empty properties are left out."""
    properties = {name: value for name, value in job.pop("properties", {}).items() if name != ENTRY}
    if entry is not None:
        properties[ENTRY] = entry
    if properties:
        job["properties"] = properties


def cut(message: str) -> str:
    """Return the message, cut between two characters at MESSAGE_BYTES of UTF-8."""
    if len(message) * 4 <= MESSAGE_BYTES:
        return message
    return message.encode()[:MESSAGE_BYTES].decode(errors="ignore")


def _set_message(job: Document, time: str) -> None:
    """Cut the new message of the job, and set its time, in place."""
    job["statusMessage"] = cut(job["statusMessage"])
    job["timeOfStatusChange"] = time


def _end(job: Document, now: datetime) -> None:
    """Set, in place, what a job has in a final state."""
    job.pop("_owned", None)
    interruptions.end(job)
    job["progress"] = 100
    if "started" in job:
        started = moment_of(job["started"])
        job["duration"] = max(0, int((now - started).total_seconds()))
