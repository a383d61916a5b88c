"""The life of a job, as pure functions of its document (DESIGN §3 and §5). None of them changes what it is given.

An owner's writes are fenced: they carry the entry of the queue under which the job was taken, the fencing token of
that claim, and the executor's name. Anything else is unfenced: an old engine, an administrator, a client.

`_owned` is in the document while fenced writes of the owner it names are accepted; an unfenced write of `state`, a
release and an outcome end that. Where DESIGN is silent, what happens is what loses no job and lands no late write:
a claim newer than the job's may end a job that it cannot run, and a release that meets a stop is told of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from geventjob.cimi.document import RESOURCE_URI, Document
from geventjob.clock import cimi_time
from geventjob.coordination.base import LOWEST_PRIORITY
from geventjob.server.jobs import interruptions

ENTRY = "zookeeper-path"
MESSAGE_BYTES = 32_000
RETELL = 60.0
"""Seconds after which a further stop tells the executor once more: the server that was to tell it may have died."""

OWNER, TAKER = "owner", "taker"

TRANSITIONS: Mapping[str, Mapping[str, str]] = {
    "QUEUED": {"RUNNING": TAKER, "STOPPED": TAKER, "SUCCESS": TAKER, "FAILED": TAKER},
    "RUNNING": {
        "RUNNING": TAKER,
        "QUEUED": OWNER,
        "STOPPING": OWNER,
        "SUCCESS": OWNER,
        "FAILED": TAKER,
        "STOPPED": OWNER,
    },
    "STOPPING": {"STOPPED": TAKER, "SUCCESS": TAKER, "FAILED": TAKER},
    "SUCCESS": {},
    "FAILED": {},
    "STOPPED": {},
}
"""From → to → which claim may write it: only the one that began the job, or also one that is newer than that.

Unfenced writes are held to the table alone. To stay in a state is no transition.
"""

FINAL = frozenset(state for state, following in TRANSITIONS.items() if not following)

_MADE = {"id", "resourceURI", "created", "updated", "operations", "started", "duration", "timeOfStatusChange"}
_DELIVERY = {"executor", "fence", "attempts", "interruptions", "interrupted"}

SERVERS = frozenset(_MADE | _DELIVERY)
"""Attributes that the server alone sets: what is sent of them is ignored."""

AT_ADD = frozenset({"idempotencyKey"})
"""Attributes that are set when a job is added, and ignored later."""

KEPT = SERVERS | AT_ADD | {"acl", "state", "action", "progress", "priority"}
"""Attributes that no edit deletes."""

OWNERS = ("state", "returnCode", "progress", "statusMessage")
"""What no unfenced edit changes while the entry of the job is held by its fenced owner."""

EVER_EDITABLE = frozenset({"name", "description", "properties", "tags", "acl"})
"""What may be edited of a job in a final state, without a fence."""


@dataclass(frozen=True)
class Owner:
    """In whose name a write is made."""

    entry: str
    fence: int
    executor: str


@dataclass(frozen=True)
class Edit:
    """What to change: `set` wins over `delete`. `actions`: those that the sender can run, if it says.

    `max_interruptions`: begin the job only if it was interrupted at most so often; else it waits, QUEUED.
    """

    set: Mapping[str, Any]
    delete: Sequence[str] = ()
    owner: Owner | None = None
    actions: frozenset[str] | None = None
    max_interruptions: int | None = None
    force: bool = False
    """Whether an unfenced edit may write over an owner that runs the job."""


class Refusal(Exception):
    """A write that the job's life does not allow: HTTP 409 with this `reason` (DESIGN §3) and the job as it is."""

    def __init__(self, reason: str, message: str, job: Document) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.job = job


class EntryDiffers(Refusal):
    """The write comes from `sent`, but the job names `entry`; if that one is gone, `sent` may count from now on."""

    def __init__(self, job: Document, entry: str, sent: str) -> None:
        super().__init__("entry", f"{job['id']} is queued as {entry}, not as {sent}", job)
        self.entry = entry
        self.sent = sent


class OwnerHolds(Refusal):
    """An unfenced edit of what the owner of this `fence` writes; it may land once `executor` does not hold `entry`."""

    def __init__(self, job: Document) -> None:
        self.entry: str = entry_of(job) or ""
        self.fence: int = job["fence"]
        self.executor: str = job["executor"]
        said = f"{job['id']} is run by {self.executor}, who writes its {', '.join(OWNERS[:-1])} and {OWNERS[-1]}"
        super().__init__("fence", f"{said}: stop or delete the job instead, or edit it with ?force=true", job)


def added(body: Mapping[str, Any], *, id: str, now: datetime, acl: Mapping[str, Any]) -> Document:
    """A validated body as the job that is stored. Its entry is put into `properties` once there is one."""
    time = cimi_time(now)
    job: Document = {"priority": LOWEST_PRIORITY, "progress": 0}
    job.update((name, value) for name, value in body.items() if name not in SERVERS)
    job.update(id=id, resourceURI=RESOURCE_URI + "Job", created=time, updated=time, acl=acl, state="QUEUED")
    job.update(attempts=0, interruptions=0, interrupted=False)
    _keep_entry(job, None)
    target = job.get("targetResource")
    affected = job.get("affectedResources", [])
    if target and target not in affected:
        job["affectedResources"] = [*affected, target]
    if "statusMessage" in job:
        _say(job, time)
    return job


def edited(
    job: Document, edit: Edit, *, now: datetime, other_entry_gone: bool = False, owner_gone: bool = False
) -> Document:
    """Return the job after this edit; the very same document if there is nothing to change. Raises Refusal.

    `other_entry_gone`: the entry that the job names does not stand in the queue any more. `owner_gone`: the owner of
    the job's fence does not hold its entry any more.
    """
    if job["state"] in FINAL:
        return _after_the_end(job, edit, now)
    owner, target = edit.owner, edit.set.get("state")
    if owner is None:
        if job.get("_owned") and not (owner_gone or edit.force) and _is_owners(job, edit):
            raise OwnerHolds(job)
        return _unfenced(job, edit, target, now)
    if target == "QUEUED" and interruptions.known(job, _attempt(owner)):
        return _told(job, owner, now)
    if _is_of(job, owner):
        if job.get("_owned"):
            return _owners(job, edit, target, now)
        if target == "QUEUED" == job["state"]:
            return job  # it was released, and the answer was lost
    return _takers(job, edit, owner, target, now, other_entry_gone)


def stopped(job: Document, *, now: datetime, teller: str = "") -> Document:
    """Return the job after a stop; the very same document where that changes nothing.

    `teller` names this stop. `tells(job, teller)` says of the result whether this stop is to tell the executor.
    """
    state = job["state"]
    if state == "QUEUED":
        return _changed(job, {"state": "STOPPED"}, (), now)
    if state == "RUNNING":
        return _changed(job, {"state": "STOPPING"}, (), now) | {"_stop": [teller, now.timestamp()]}
    if state == "STOPPING" and ("_stop" not in job or now.timestamp() - job["_stop"][1] > RETELL):
        return job | {"_stop": [teller, now.timestamp()]}
    return job


def tells(job: Document, teller: str) -> bool:
    """Return whether this stop is the one of many that tells the executor of a job that is STOPPING."""
    return bool(job["state"] == "STOPPING" and job.get("_owned") and job["_stop"][0] == teller)


def untold(job: Document, teller: str) -> Document:
    """Return the job after its executor could not be told by this stop: the next one may."""
    if job.get("_stop", [""])[0] != teller:
        return job
    return {name: value for name, value in job.items() if name != "_stop"}


def requeued(job: Document, entry: str, *, now: datetime) -> Document:
    """The job with another entry in place of one that is gone. It is nobody's until somebody takes it anew; claims of
    the old entry reach nothing, and fences begin anew with the entry."""
    after = _changed(job, {}, (), now)
    interruptions.leave(after, _under_way(job))
    _keep_entry(after, entry)
    for name in ("fence", "_owned"):
        after.pop(name, None)
    return after


def orphaned(job: Document, executor: str, fence: int, *, now: datetime) -> Document:
    """Return the job as it waits after the executor of this attempt has gone; the very same document if the attempt
    is not RUNNING any more."""
    if job["state"] != "RUNNING" or not job.get("_owned") or (job["executor"], job["fence"]) != (executor, fence):
        return job
    return _interrupted(job, now)


# --- who writes


def _unfenced(job: Document, edit: Edit, target: str | None, now: datetime) -> Document:
    """An old engine, an administrator, a client. A write of the state makes the job nobody's."""
    if target is None:
        return _changed(job, edit.set, edit.delete, now)
    change = dict(edit.set)
    if target == "RUNNING":
        if job["state"] == "STOPPING":
            change["state"] = "STOPPED"
        else:
            _check_action(job, edit)
    elif target != job["state"]:
        _check_transition(job, target)
    elif target == "QUEUED":
        return _changed(job, edit.set, edit.delete, now)
    after = _changed(job, change, edit.delete, now)
    after.pop("_owned", None)
    interruptions.leave(after, None)
    if after["state"] == "QUEUED":
        after["interrupted"] = True
    elif after["state"] != "STOPPING":
        after.pop("executor", None)  # whoever runs or ended it did not say its name
    return after


def _is_owners(job: Document, edit: Edit) -> bool:
    """Return whether this edit changes what is the owner's to write. To write the state again is to take the job."""
    if "state" in edit.set or any(name in job and name not in KEPT for name in OWNERS if name in edit.delete):
        return True
    return any(not _stands(job, edit, name) for name in OWNERS if name in edit.set)


def _owners(job: Document, edit: Edit, target: str | None, now: datetime) -> Document:
    """The owner that began this job."""
    if target == "RUNNING" or target == job["state"]:  # said before, and the answer was lost; a stop may be between
        rest = {name: value for name, value in edit.set.items() if name != "state"}
        return _changed(job, rest, edit.delete, now) if rest or edit.delete else job
    if target is not None:
        if target == "QUEUED" and job["state"] == "STOPPING":
            raise _stopping(job)
        _check_transition(job, target)
    after = _changed(job, edit.set, edit.delete, now)
    if target == "QUEUED":
        del after["_owned"]
        after["interrupted"] = True
    return after


def _takers(
    job: Document, edit: Edit, owner: Owner, target: str | None, now: datetime, other_entry_gone: bool
) -> Document:
    """A claim that is not the owner's: it may begin the job, or end one that it will not run, if it is newer."""
    begins = target == "RUNNING"
    may = begins or (target is not None and TRANSITIONS[job["state"]].get(target) == TAKER)
    if not may or not _is_newer(job, owner, other_entry_gone):
        raise Refusal("fence", f"{job['id']} is not, or no longer, owned by {owner.executor}", job)
    if begins:
        if job["state"] == "STOPPING":
            raise _stopping(job)
        _check_action(job, edit)
        if edit.max_interruptions is not None and _interruptions(job) > edit.max_interruptions:
            return _waiting(job, owner, now)
    after = _changed(job, edit.set, edit.delete, now)
    after["fence"], after["executor"] = owner.fence, owner.executor
    if entry_of(job) != owner.entry:
        _keep_entry(after, owner.entry)
    after["interrupted"] = job.get("interrupted", False) or job["state"] != "QUEUED" or bool(job.get("attempts"))
    if begins:
        after["_owned"] = True
        after["attempts"] = job.get("attempts", 0) + 1
        if job["state"] == "RUNNING":
            interruptions.count(after, _under_way(job))
    return after


def _waiting(job: Document, owner: Owner, now: datetime) -> Document:
    """Return the job as it waits for an executor that may run it; the very same document if it does so already.

    The attempt that was RUNNING is counted as interrupted. The claim that asked may still begin the job.
    """
    if entry_of(job) != owner.entry:
        job = requeued(job, owner.entry, now=now)
    return job if job["state"] == "QUEUED" else _interrupted(job, now)


def _interrupted(job: Document, now: datetime) -> Document:
    """Return the job, QUEUED, with the attempt that was RUNNING counted as an interruption."""
    after = _changed(job, {"state": "QUEUED"}, (), now)
    interruptions.count(after, _under_way(job))
    after.pop("_owned", None)
    after["interrupted"] = True
    return after


def _told(job: Document, owner: Owner, now: datetime) -> Document:
    """Return the job after its executor told that an attempt, whose claim was lost, has ended in good order."""
    if interruptions.left_by(job) != _attempt(owner):
        return interruptions.forgive(job, _attempt(owner))
    if job["state"] == "STOPPING":
        raise _stopping(job)
    after = _changed(job, {"state": "QUEUED"}, (), now)
    interruptions.leave(after, None)
    after["interrupted"] = True
    return after


def _after_the_end(job: Document, edit: Edit, now: datetime) -> Document:
    """Nothing changes a final state. Its owner's outcome again is well; so is an edit of what is ever editable."""
    deleted = [name for name in edit.delete if name in job and name not in KEPT and name not in edit.set]
    protected = {name for name in (*edit.set, *deleted) if name not in EVER_EDITABLE and not _stands(job, edit, name)}
    if edit.owner is None and not protected:
        change = {name: value for name, value in edit.set.items() if name in EVER_EDITABLE}
        return _changed(job, change, deleted, now) if change or deleted else job
    if edit.owner and _is_of(job, edit.owner) and edit.set.get("state") == job["state"] and not protected:
        return job
    raise Refusal("final", f"{job['id']} is {job['state']} already", job)


def _stands(job: Document, edit: Edit, name: str) -> bool:
    """Whether this is what a job in a final state has of this attribute anyway."""
    if name in SERVERS or name in AT_ADD:
        return True
    if name not in edit.set:
        return False
    value = edit.set[name]
    if name == "progress" and edit.owner:
        return True  # whatever it was said to be, the outcome made it 100
    return bool(job.get(name) == (_cut(value) if name == "statusMessage" else value))


def _is_of(job: Document, owner: Owner) -> bool:
    """Whether this is the claim that last began or ended the job."""
    return bool(
        job.get("fence") == owner.fence and job.get("executor") == owner.executor and entry_of(job) == owner.entry
    )


def _attempt(owner: Owner) -> interruptions.Attempt:
    return [owner.entry, owner.fence, owner.executor]


def _under_way(job: Document) -> interruptions.Attempt | None:
    """Return the attempt that is RUNNING; None if no fenced owner made it."""
    if job.get("_owned"):
        return [entry_of(job), job["fence"], job["executor"]]
    return interruptions.left_by(job)


def _interruptions(job: Document) -> int:
    """Return how often the job will have been interrupted when it is begun now."""
    counted: int = job.get("interruptions", 0)
    return counted + int(job["state"] == "RUNNING")


def _is_newer(job: Document, owner: Owner, other_entry_gone: bool) -> bool:
    """Whether this claim comes after the job's; fences are compared within one entry, a new entry starts anew."""
    entry = entry_of(job)
    if entry is not None and entry != owner.entry:
        if not other_entry_gone:
            raise EntryDiffers(job, entry, owner.entry)
        return True
    fence = job.get("fence")
    return fence is None or owner.fence > fence


def _check_transition(job: Document, target: str) -> None:
    if target not in TRANSITIONS[job["state"]]:
        raise Refusal("transition", f"{job['id']} cannot go from {job['state']} to {target}", job)


def _check_action(job: Document, edit: Edit) -> None:
    if edit.actions is not None and job["action"] not in edit.actions:
        raise Refusal("action", f"{job['id']} wants the action {job['action']}, which was not offered", job)


def _stopping(job: Document) -> Refusal:
    return Refusal("stopping", f"{job['id']} is being stopped", job)


# --- what is written


def entry_of(job: Document) -> str | None:
    """The place in the queue that counts for this job."""
    entry: str | None = job.get("properties", {}).get(ENTRY)
    return entry


def _changed(job: Document, change: Mapping[str, Any], delete: Sequence[str], now: datetime) -> Document:
    """The document with this change and all that follows from it."""
    time = cimi_time(now)
    after = dict(job)
    for name in delete:
        if name not in KEPT:
            after.pop(name, None)
    for name, value in change.items():
        if name not in SERVERS and name not in AT_ADD:
            after[name] = value
    after["updated"] = time
    if "properties" in change or "properties" in delete:
        _keep_entry(after, entry_of(job))
    if "statusMessage" in change:
        _say(after, time)
    state = after["state"]
    if state == "RUNNING":
        after.setdefault("started", time)
    elif state in FINAL and job["state"] not in FINAL:
        _end(after, now)
    return after


def _say(job: Document, time: str) -> None:
    job["statusMessage"] = _cut(job["statusMessage"])
    job["timeOfStatusChange"] = time


def _cut(message: str) -> str:
    if len(message) * 4 <= MESSAGE_BYTES:
        return message
    return message.encode()[:MESSAGE_BYTES].decode(errors="ignore")


def _end(job: Document, now: datetime) -> None:
    job.pop("_owned", None)
    interruptions.end(job)
    job["progress"] = 100
    if "started" in job:
        started = datetime.fromisoformat(job["started"].replace("Z", "+00:00"))
        job["duration"] = max(0, int((now - started).total_seconds()))


def _keep_entry(job: Document, entry: str | None) -> None:
    """The entry is the server's, whatever else the properties hold; they are absent rather than empty."""
    properties = {name: value for name, value in job.pop("properties", {}).items() if name != ENTRY}
    if entry is not None:
        properties[ENTRY] = entry
    if properties:
        job["properties"] = properties
