"""Decide which edits of a job are allowed, and return the job after them (docs/architecture.md, "Delivery contract").

The functions are pure: none of them changes its argument.

An owner's writes are fenced: they carry the entry of the queue under which the job was taken, the fencing token of
that claim, and the executor's name. All other writes are unfenced: those of an old engine, an administrator, a client.

`_owned` is in the document while fenced writes of its owner are accepted. An unfenced write of `state`, a release and
an outcome remove it. Beyond the delivery contract, two rules lose no job and land no late write: a claim newer than the
job's may end a job that it cannot run, and a release after a stop is refused with `stopping`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from geventjob.cimi.document import Document
from geventjob.job.attributes import AFTER_END, AT_ADD, KEPT, OWNED, SET_BY_SERVER
from geventjob.job.bounds import MOST_RETRIES
from geventjob.job.states import FINAL, TAKER, TRANSITIONS
from geventjob.server.gate import gate
from geventjob.server.life import failures, interruptions
from geventjob.server.life.changes import changed, cut, entry_of, set_entry
from geventjob.server.life.conflicts import EntryDiffers, OwnerHolds, Refusal, stopping
from geventjob.server.life.failures import FailureReport, RetryWish
from geventjob.server.life.logs import LogReport
from geventjob.server.life.records import RecordReport
from geventjob.server.life.requeue import interrupted, requeued, under_way


class Owner(Struct, frozen=True):
    """The claim in whose name a write is made."""

    entry: str
    fence: int
    executor: str


class Edit(Struct, frozen=True):  # a frozen dataclass of so many fields would take 2 us more, for each edit
    """The change of a job: `set` wins over `delete`."""

    set: Mapping[str, Any]
    delete: Sequence[str] = ()
    owner: Owner | None = None
    actions: frozenset[str] | None = None
    """Actions that the sender can run; None: the sender does not say."""
    max_interruptions: int | None = None
    """Begin the job only if it was interrupted at most so often; otherwise it waits, QUEUED."""
    failure: FailureReport | None = None
    """The failure of the attempt that an edit to FAILED ends; kept in `errors`."""
    retry: RetryWish | None = None
    """With an edit to FAILED of the owner: try the job again while retries are left."""
    log: LogReport | None = None
    """Lines that the action has logged; kept beside the job (attached.py)."""
    record: RecordReport | None = None
    """The record of the run; kept beside the job too."""
    force: bool = False
    """Whether an unfenced edit may write over an owner that runs the job."""


class JobEdit(Struct, frozen=True):
    """An edit with the id of its job."""

    id: str
    edit: Edit


def edited(
    job: Document,
    edit: Edit,
    *,
    now: datetime,
    other_entry_gone: bool = False,
    owner_gone: bool = False,
    max_retries: int = MOST_RETRIES,
) -> Document:
    """Return the job after this edit; the very same document if the edit changes nothing. Raises Refusal.

    `other_entry_gone`: the entry that the job names is not in the queue any more. `owner_gone`: the owner of
    the job's fence does not hold its entry any more. `max_retries`: the most retries of any job.
    """
    after = _edited(job, edit, now, other_entry_gone, owner_gone, max_retries)
    if edit.failure and edit.owner and after is not job and edit.set.get("state") == "FAILED":
        after = dict(after)
        failures.note(after, edit.failure, edit.owner.executor, now)
        return failures.grouped(after)
    return failures.grouped(after) if after["state"] == "FAILED" != job["state"] else after


def _edited(
    job: Document, edit: Edit, now: datetime, other_entry_gone: bool, owner_gone: bool, max_retries: int
) -> Document:
    if job["state"] in FINAL:
        return _after_edit_of_final_job(job, edit, now)
    owner, target = edit.owner, edit.set.get("state")
    if owner is None:
        if job.get("_owned") and not (owner_gone or edit.force) and _changes_owned(job, edit):
            raise OwnerHolds(job)
        return _after_unfenced_edit(job, edit, target, now)
    if target == "QUEUED" and interruptions.known(job, _attempt(owner)):
        return _after_report(job, owner, now)
    if is_latest_claim(job, owner):
        if job.get("_owned"):
            return _after_owner_edit(job, edit, target, now, max_retries)
        if target == "QUEUED" == job["state"]:
            return job  # it was released, and the answer was lost
    return _after_taker_edit(job, edit, owner, target, now, other_entry_gone)


# --- each kind of edit


def _after_unfenced_edit(job: Document, edit: Edit, target: str | None, now: datetime) -> Document:
    """Return the job after an edit without an owner. A write of the state leaves the job without an owner."""
    if target is None:
        return changed(job, edit.set, edit.delete, now)
    change = dict(edit.set)
    if target == "RUNNING":
        if job["state"] == "STOPPING":
            change["state"] = "STOPPED"
        elif gate.is_expired(job, now):
            return gate.expired(job, now)
        else:
            gate.check(job, None, now)
            _check_action(job, edit)
    elif target != job["state"]:
        _check_transition(job, target)
    elif target == "QUEUED":
        return changed(job, edit.set, edit.delete, now)
    after = changed(job, change, edit.delete, now)
    after.pop("_owned", None)
    interruptions.leave(after, None)
    if after["state"] == "QUEUED":
        after["interrupted"] = True
    elif after["state"] != "STOPPING":
        after.pop("executor", None)  # the writer ran or ended the job, and did not say its name
    return after


def _changes_owned(job: Document, edit: Edit) -> bool:
    """Return whether this edit changes an attribute of the owner. A write of any state ends the ownership."""
    if "state" in edit.set or any(name in job and name not in KEPT for name in OWNED if name in edit.delete):
        return True
    return any(not _is_unchanged(job, edit, name) for name in OWNED if name in edit.set)


def _after_owner_edit(job: Document, edit: Edit, target: str | None, now: datetime, max_retries: int) -> Document:
    """Return the job after an edit of the owner that began it. Raises Refusal."""
    if not edit.set and not edit.delete:
        return job
    if target == "RUNNING" or target == job["state"]:  # a repeat whose answer was lost; a stop may be between
        rest = {name: value for name, value in edit.set.items() if name != "state"}
        return changed(job, rest, edit.delete, now) if rest or edit.delete else job
    if target is not None:
        if target == "QUEUED" and job["state"] == "STOPPING":
            raise stopping(job)
        _check_transition(job, target)
    if target == "FAILED" and edit.retry:
        waits = failures.tried_again(job, dict(edit.set), edit.retry, max_retries, now)
        if waits is not None:
            return waits
    after = changed(job, edit.set, edit.delete, now)
    if target == "QUEUED":
        del after["_owned"]
        after["interrupted"] = True
    return after


def _after_taker_edit(
    job: Document, edit: Edit, owner: Owner, target: str | None, now: datetime, other_entry_gone: bool
) -> Document:
    """Return the job after an edit of a claim that is not its owner. Raises Refusal.

    A claim newer than the owner's may begin the job, or end a job that it will not run.
    """
    begins = target == "RUNNING"
    gate.check(job, owner.entry, now, begins=begins)
    may = begins or (target is not None and TRANSITIONS[job["state"]].get(target) == TAKER)
    if not may or not _is_newer(job, owner, other_entry_gone):
        raise Refusal("fence", f"{job['id']} is not, or no longer, owned by {owner.executor}", job)
    if begins:
        if job["state"] == "STOPPING":
            raise stopping(job)
        _check_action(job, edit)
        if edit.max_interruptions is not None and _interruptions(job) > edit.max_interruptions:
            return _left_queued(job, owner, now)
    after = changed(job, edit.set, edit.delete, now)
    after["fence"], after["executor"] = owner.fence, owner.executor
    if entry_of(job) != owner.entry:
        set_entry(after, owner.entry)
    without_outcome = job["state"] != "QUEUED" or job.get("attempts", 0) > job.get("retried", 0)
    after["interrupted"] = job.get("interrupted", False) or without_outcome
    if begins:
        if "statusMessage" not in edit.set:
            failures.forget_message(after)
        after["_owned"] = True
        after["attempts"] = job.get("attempts", 0) + 1
        if job["state"] == "RUNNING":
            interruptions.count(after, under_way(job))
    return after


def _left_queued(job: Document, owner: Owner, now: datetime) -> Document:
    """Return the job, left QUEUED for an executor that may run it; the very same document if it is QUEUED already.

    The attempt that was RUNNING is counted as interrupted. The claim of `owner` may still begin the job.
    """
    if entry_of(job) != owner.entry:
        job = requeued(job, owner.entry, now=now)
    return job if job["state"] == "QUEUED" else interrupted(job, now)


def _after_report(job: Document, owner: Owner, now: datetime) -> Document:
    """Return the job after a late report of its executor that an attempt, whose claim was lost, ended in good order."""
    if interruptions.left_by(job) != _attempt(owner):
        return interruptions.forgive(job, _attempt(owner))
    if job["state"] == "STOPPING":
        raise stopping(job)
    after = changed(job, {"state": "QUEUED"}, (), now)
    interruptions.leave(after, None)
    after["interrupted"] = True
    return after


def _after_edit_of_final_job(job: Document, edit: Edit, now: datetime) -> Document:
    """Return the job after an edit in a final state. Raises Refusal.

    No edit changes the state. Allowed are the outcome of the owner once more, and edits of AFTER_END.
    """
    deleted = [name for name in edit.delete if name in job and name not in KEPT and name not in edit.set]
    protected = {name for name in (*edit.set, *deleted) if name not in AFTER_END and not _is_unchanged(job, edit, name)}
    if edit.owner is None and not protected:
        change = {name: value for name, value in edit.set.items() if name in AFTER_END}
        return changed(job, change, deleted, now) if change or deleted else job
    if edit.owner and is_latest_claim(job, edit.owner) and edit.set.get("state") == job["state"] and not protected:
        return job
    raise Refusal("final", f"{job['id']} is {job['state']} already", job)


def _is_unchanged(job: Document, edit: Edit, name: str) -> bool:
    """Return whether this edit leaves the attribute of the job as it is."""
    if name in SET_BY_SERVER or name in AT_ADD:
        return True
    if name not in edit.set:
        return False
    value = edit.set[name]
    if name == "progress" and edit.owner:
        return True  # the outcome has set it to 100, whatever the owner sent
    return bool(job.get(name) == (cut(value) if name == "statusMessage" else value))


# --- claims


def is_latest_claim(job: Document, owner: Owner) -> bool:
    """Return whether this claim was the last to begin or end the job."""
    return bool(
        job.get("fence") == owner.fence and job.get("executor") == owner.executor and entry_of(job) == owner.entry
    )


def _is_newer(job: Document, owner: Owner, other_entry_gone: bool) -> bool:
    """Return whether this claim is newer than the job's. Fences are compared within one entry. Raises EntryDiffers."""
    entry = entry_of(job)
    if entry is not None and entry != owner.entry:
        if not other_entry_gone:
            raise EntryDiffers(job, entry, owner.entry)
        return True
    fence = job.get("fence")
    return fence is None or owner.fence > fence


def _attempt(owner: Owner) -> interruptions.Attempt:
    """Return the attempt of this claim."""
    return [owner.entry, owner.fence, owner.executor]


def _interruptions(job: Document) -> int:
    """Return how often the job will have been interrupted if it is begun now."""
    counted: int = job.get("interruptions", 0)
    return counted + int(job["state"] == "RUNNING")


def _check_transition(job: Document, target: str) -> None:
    """Raise Refusal for a transition that the table lacks."""
    if target not in TRANSITIONS[job["state"]]:
        raise Refusal("transition", f"{job['id']} cannot go from {job['state']} to {target}", job)


def _check_action(job: Document, edit: Edit) -> None:
    """Raise Refusal if the sender cannot run the action of the job."""
    if edit.actions is not None and job["action"] not in edit.actions:
        raise Refusal("action", f"{job['id']} wants the action {job['action']}, which was not offered", job)
