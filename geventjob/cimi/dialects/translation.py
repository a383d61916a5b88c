"""What our edits of a job mean for one of SlipStream's, which knows no owner, no fence and no final state (CIMI.md §3).

Pure functions of documents. What SlipStream's closed schema has no place for stands in the job's `properties`, a map
of strings, under our own names. Our server checks each write against the job as it is at that moment; here the check
is made on a copy that was got just before, so a write of somebody else may come between.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from geventjob.cimi.document import Document
from geventjob.cimi.errors import Conflict, Invalid
from geventjob.job.attributes import ENTRY, named
from geventjob.job.states import FINAL, TAKER, TRANSITIONS

NEWER_ENDS = {
    state: frozenset(end for end in FINAL if following.get(end) == TAKER) for state, following in TRANSITIONS.items()
}
"""State → final states that a newer claim may write, which holds the job and does not run it.

SlipStream allows every state after a final one, and its own `stop` makes a running job STOPPED.
"""

NOTES = named(lambda attribute: attribute.slipstream == "noted")
"""Attributes that stand in `properties`."""
KEPT = (ENTRY, *NOTES)
"""Properties that no edit of a client changes."""

EDITED = frozenset(named(lambda attribute: attribute.slipstream == "set"))
ADDED = EDITED | frozenset(named(lambda attribute: attribute.slipstream == "added"))
DROPPED = frozenset(named(lambda attribute: attribute.slipstream == "dropped"))
"""Attributes that serve the add alone, and are left out."""


def addable(job: Mapping[str, Any]) -> Document:
    """The body of an add, without what is ours alone and only serves the add. Raises Invalid.

    SlipStream queues a job before it validates it, so what it would refuse must not be sent.
    """
    return _acceptable({name: value for name, value in job.items() if name not in DROPPED}, ADDED)


def change(job: Document, edit: Mapping[str, Any], actions: Collection[str] | None) -> Document | None:
    """What to PUT for an edit of ours (DESIGN §6); None if the job is that way already. Raises Conflict, Invalid."""
    wanted = _acceptable(edit.get("set", {}), EDITED)
    if "properties" in wanted:
        kept = {name: value for name, value in _properties(job).items() if name in KEPT}
        wanted["properties"] = {**wanted["properties"], **kept}
    if "executor" not in edit:
        return wanted
    target = wanted.get("state")
    if _said_before(job, edit, target):
        return None
    if target == "RUNNING":
        return _begun(job, edit, actions, wanted)
    if _owned(job, edit):
        return _owners(job, wanted, target)
    return _newcomers(job, edit, wanted, target)


def ours(job: Document, edit: Mapping[str, Any] | None = None) -> Document:
    """The job with the attributes that ours have (DESIGN §3), as the answer to this edit.

    A job that was stopped while this owner runs it is STOPPING to him.
    """
    notes = _properties(job)
    attempts = _attempts(job)
    document = {name: value for name, value in job.items() if name != "operations"}
    document.update(attempts=attempts, interruptions=_number(notes.get("interruptions")), interrupted=attempts > 1)
    if "executor" in notes:
        document["executor"] = notes["executor"]
    if edit is not None and _still_runs(job, edit):
        document["state"] = "STOPPING"
    return document


# --- who writes


def _still_runs(job: Document, edit: Mapping[str, Any]) -> bool:
    """Whether it was stopped, and the one who makes this edit has yet to end it."""
    return job.get("state") == "STOPPED" and _owned(job, edit) and edit.get("set", {}).get("state") not in FINAL


def _said_before(job: Document, edit: Mapping[str, Any], target: str | None) -> bool:
    """Whether this owner has written this state already, and the answer was lost."""
    return target is not None and job.get("state") == target and _owned(job, edit)


def _begun(
    job: Document, edit: Mapping[str, Any], actions: Collection[str] | None, wanted: Document
) -> Document | None:
    """Return what begins a job, or has it wait QUEUED if it was interrupted too often; None if it waits already.

    Who holds its entry may always begin it: the last owner is gone.
    """
    state = job.get("state")
    if state in FINAL:
        raise conflict(job, "final", f"is {state} already")
    if state == "STOPPING":
        raise conflict(job, "stopping", "is being stopped")
    if actions is not None and job.get("action") not in actions:
        raise conflict(job, "action", f"wants the action {job.get('action')}, which was not offered")
    properties = wanted.get("properties", _properties(job))
    interruptions = _number(properties.get("interruptions")) + (state == "RUNNING")
    counted = {**properties, "interruptions": str(interruptions)}
    if interruptions > edit.get("maxInterruptions", interruptions):
        return None if state == "QUEUED" else {"state": "QUEUED", "properties": counted}
    return wanted | {"properties": {**counted, **_owner(edit), "attempts": str(_attempts(job) + 1)}}


def _owners(job: Document, wanted: Document, target: str | None) -> Document:
    """A write of the one who began the job last."""
    state = job.get("state")
    if state == "STOPPED" and target is None:
        return wanted  # what an action says while it is being stopped
    if state in FINAL:
        raise conflict(job, "final", f"is {state} already")
    if state == "QUEUED":
        raise conflict(job, "fence", "is nobody's")
    if state == "STOPPING" and target == "QUEUED":
        raise conflict(job, "stopping", "is being stopped")
    return wanted


def _newcomers(job: Document, edit: Mapping[str, Any], wanted: Document, target: str | None) -> Document:
    """A write of somebody else, who may end a job that he holds and does not run."""
    state = str(job.get("state"))
    if state in FINAL:
        raise conflict(job, "final", f"is {state} already")
    if target not in NEWER_ENDS.get(state, ()) or edit.get("fence", 0) <= _number(_properties(job).get("fence")):
        raise conflict(job, "fence", f"is not, or no longer, owned by {edit.get('executor')}")
    return wanted | {"properties": {**wanted.get("properties", _properties(job)), **_owner(edit)}}


def _owned(job: Document, edit: Mapping[str, Any]) -> bool:
    """Whether this claim began the job, or ended it, last. An old engine leaves no note of itself."""
    notes = _properties(job)
    return all(notes.get(name) == value for name, value in _owner(edit).items())


def _owner(edit: Mapping[str, Any]) -> dict[str, str]:
    return {"executor": str(edit.get("executor")), "fence": str(edit.get("fence"))}


def conflict(job: Document, reason: str, what: str) -> Conflict:
    return Conflict(409, f"{job.get('id')} {what}", reason=reason, job=ours(job))


# --- what is written


def _acceptable(changes: Mapping[str, Any], known: Collection[str]) -> Document:
    """What SlipStream's schema takes: no other attributes, no null, no fraction, nothing that is empty."""
    for name, value in changes.items():
        if name not in known:
            raise Invalid(400, f"{name}: a job of a SlipStream server has no such attribute, or it is not to be set")
        if value is None or isinstance(value, float):
            raise Invalid(400, f"{name}: a SlipStream server takes no {'null' if value is None else 'fraction'}")
    properties = changes.get("properties", {})
    if not isinstance(properties, Mapping) or not all(isinstance(value, str) for value in properties.values()):
        raise Invalid(400, "properties: a SlipStream server takes an object of texts")
    empty = [name for name in ("affectedResources", "nestedJobs", "properties") if not changes.get(name, True)]
    return {name: value for name, value in changes.items() if name not in empty}


def _properties(job: Document) -> dict[str, str]:
    return dict(job.get("properties") or {})


def _attempts(job: Document) -> int:
    """An old engine counts none, but a job that it began has a time of its start."""
    return _number(_properties(job).get("attempts")) or int("started" in job)


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) < 20 else 0
