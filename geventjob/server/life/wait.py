"""A wait before the queue: a job that must wait is held in the store, QUEUED and without an entry."""

from __future__ import annotations

from typing import NamedTuple

from geventjob.cimi.document import Document
from geventjob.server.life.changes import LAST_ENTRY, PLACE, entry_of, place_of, set_entry


class Hold(NamedTuple):
    """The reason for which a job must wait."""

    why: str
    detail: str
    """The reason in words, for people."""
    until: str | None = None
    """The end of the wait, a date; None: the end is not known."""
    on: str | None = None
    """The one thing that the job waits for, as `limit/<key>` or `job/<uuid>`; None for a time."""
    limits: tuple[str, ...] = ()
    """The keys of the limits under which the job comes."""


def hold(job: Document, wait: Hold, *, waited: bool = False) -> None:
    """Let the job wait before the queue, in place. No claim of its entry begins the job any more.

    `waited`: whether the job has waited under its entry, and may come back to this place.
    """
    entry = entry_of(job)
    if entry is not None:
        job[PLACE if waited else LAST_ENTRY] = entry
    set_entry(job, None)
    held = {"why": wait.why, "detail": wait.detail}
    if wait.until is not None:
        held["until"] = wait.until
    if wait.on is not None:
        held["on"] = wait.on
        held["place"] = place_of(job)
    job["held"] = held
    if wait.limits:
        job["limits"] = [*wait.limits]
