"""Translate edits of a job for a SlipStream server, which has no owners, fences or final states.

docs/reference/cimi.md, "Jobs", describes SlipStream's jobs. All functions are pure. Attributes that SlipStream's closed
schema lacks stand in the job's `properties`, a map of strings. Geventjob's server checks each write against the current
job; here the check uses a copy that was read just before, so a write of another client may come between.
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
"""State → final states that may be written by a newer claim, without running the job.

SlipStream allows every state after a final one, and SlipStream's own `stop` makes a running job STOPPED.
"""

NOTES = named(lambda attribute: attribute.slipstream == "noted")
"""Attributes that are kept in `properties`."""
KEPT = (ENTRY, *NOTES)
"""Properties that no edit of a client changes."""

EDITED = frozenset(named(lambda attribute: attribute.slipstream == "set"))
ADDED = EDITED | frozenset(named(lambda attribute: attribute.slipstream == "added"))
DROPPED = frozenset(named(lambda attribute: attribute.slipstream == "dropped"))
"""Attributes that an add leaves out."""


def addable(job: Mapping[str, Any]) -> Document:
    """Return the body of an add, without DROPPED. Raises Invalid.

    SlipStream queues a job before validating the body, so a body that the server would refuse must not be sent.
    """
    return _acceptable({name: value for name, value in job.items() if name not in DROPPED}, ADDED)


def change(job: Document, edit: Mapping[str, Any], actions: Collection[str] | None) -> Document | None:
    """Return the body to PUT for an edit; None if the job already is so. Raises Conflict, Invalid."""
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
    """Return the job as geventjob's server would answer this edit.

    A job that was stopped while the sender of the edit runs it is STOPPING.
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
    """Return whether the job was stopped, and the sender of this edit has yet to end its action."""
    return job.get("state") == "STOPPED" and _owned(job, edit) and edit.get("set", {}).get("state") not in FINAL


def _said_before(job: Document, edit: Mapping[str, Any], target: str | None) -> bool:
    """Return whether this owner has written this state already, and the answer was lost."""
    return target is not None and job.get("state") == target and _owned(job, edit)


def _begun(
    job: Document, edit: Mapping[str, Any], actions: Collection[str] | None, wanted: Document
) -> Document | None:
    """Return the body that begins a job, or makes it QUEUED after too many interruptions; None if it is QUEUED.

    The sender holds the entry, so the last owner is gone. Raises Conflict.
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
    """Return the body for a write of the claim that began the job last. Raises Conflict."""
    state = job.get("state")
    if state == "STOPPED" and target is None:
        return wanted  # a message of an action that is being stopped
    if state in FINAL:
        raise conflict(job, "final", f"is {state} already")
    if state == "QUEUED":
        raise conflict(job, "fence", "has no owner")
    if state == "STOPPING" and target == "QUEUED":
        raise conflict(job, "stopping", "is being stopped")
    return wanted


def _newcomers(job: Document, edit: Mapping[str, Any], wanted: Document, target: str | None) -> Document:
    """Return the body for a write of another claim, which may end a job without running it. Raises Conflict."""
    state = str(job.get("state"))
    if state in FINAL:
        raise conflict(job, "final", f"is {state} already")
    if target not in NEWER_ENDS.get(state, ()) or edit.get("fence", 0) <= _number(_properties(job).get("fence")):
        raise conflict(job, "fence", f"is not, or no longer, owned by {edit.get('executor')}")
    return wanted | {"properties": {**wanted.get("properties", _properties(job)), **_owner(edit)}}


def _owned(job: Document, edit: Mapping[str, Any]) -> bool:
    """Return whether this claim was the last to begin or end the job. An old engine leaves no note."""
    notes = _properties(job)
    return all(notes.get(name) == value for name, value in _owner(edit).items())


def _owner(edit: Mapping[str, Any]) -> dict[str, str]:
    """Return the notes that name the owner."""
    return {"executor": str(edit.get("executor")), "fence": str(edit.get("fence"))}


def conflict(job: Document, reason: str, what: str) -> Conflict:
    """Return the error that geventjob's server would answer, with the job."""
    return Conflict(409, f"{job.get('id')} {what}", reason=reason, job=ours(job))


# --- what is written


def _acceptable(changes: Mapping[str, Any], known: Collection[str]) -> Document:
    """Return the changes without empty lists and objects. Raises Invalid for values outside SlipStream's schema."""
    for name, value in changes.items():
        if name not in known:
            raise Invalid(400, f"{name}: a job of a SlipStream server has no such attribute, or clients cannot set it")
        if value is None or isinstance(value, float):
            raise Invalid(400, f"{name}: a SlipStream server takes no {'null' if value is None else 'fraction'}")
    properties = changes.get("properties", {})
    if not isinstance(properties, Mapping) or not all(isinstance(value, str) for value in properties.values()):
        raise Invalid(400, "properties: a SlipStream server takes an object of texts")
    empty = [name for name in ("affectedResources", "nestedJobs", "properties") if not changes.get(name, True)]
    return {name: value for name, value in changes.items() if name not in empty}


def _properties(job: Document) -> dict[str, str]:
    """Return a copy of the job's properties."""
    return dict(job.get("properties") or {})


def _attempts(job: Document) -> int:
    """Return the attempts of the job. An old engine counts none, but a job begun by one has a time of its start."""
    return _number(_properties(job).get("attempts")) or int("started" in job)


def _number(text: str | None) -> int:
    """Return the number in a note; 0 if there is none."""
    return int(text) if text is not None and text.isdecimal() and len(text) < 20 else 0
