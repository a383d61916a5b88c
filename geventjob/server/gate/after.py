"""A job that comes after others: its predecessors, and which of them it waits on now.

`_after` is in the document while the job waits: `{"at": the number of predecessors that are over, "failed": words}`.
`failed` tells the first of these that did not succeed. The functions are pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from geventjob.cimi.document import Document
from geventjob.job.states import FINAL
from geventjob.server.life.wait import Hold

AFTER = "_after"
WHY = "after"
"""The reason for which such a job is held."""
WAITERS = "_awaited"
"""Attribute of a predecessor: the ids of jobs that wait on it."""
MOST_WAITERS = 100
"""Most ids in `_awaited`; one more stands for any number."""

States = Mapping[str, "str | None"]
"""Id of a predecessor → its state; None for a job that does not exist."""


class Place(NamedTuple):
    """How far a job has come with its predecessors."""

    at: int
    """The number of predecessors, from the first on, that are over."""
    failed: str | None
    """The first of these that did not succeed, in words."""

    def stored(self) -> dict[str, Any]:
        """Return the value of `_after`."""
        return {"at": self.at} | ({"failed": self.failed} if self.failed else {})


def waits(job: Document) -> bool:
    """Return whether the job waits on a predecessor; a job whose add is not complete does not yet."""
    return AFTER in job and job.get("held", {}).get("why") == WHY


def predecessors(job: Document) -> list[str]:
    """Return the ids of the jobs that this one comes after."""
    jobs: list[str] = job["after"]["jobs"]
    return jobs


def when_failed(job: Document) -> str:
    """Return what a job does when a predecessor did not succeed: fail, run or stop."""
    return str(job["after"].get("whenFailed", "fail"))


def place(job: Document, states: States) -> Place:
    """Return how far the job has come, as far as `states` tell. A job that was deleted has not succeeded."""
    kept = job.get(AFTER, {})
    at, failed = kept.get("at", 0), kept.get("failed")
    named = predecessors(job)
    while at < len(named) and named[at] in states:
        state = states[named[at]]
        if state is not None and state not in FINAL:
            break
        if state != "SUCCESS":
            failed = failed or f"{named[at]} {'was deleted' if state is None else f'is {state}'}"
        at += 1
    return Place(at, failed)


def wait_after(job: Document) -> Hold:
    """Return how the job waits on its next predecessor."""
    at, named = job[AFTER]["at"], predecessors(job)
    rest = len(named) - at - 1
    return Hold(WHY, f"comes after {named[at]}" + (f" and {rest} more" if rest else ""), on=named[at])


def awaited(job: Document, waiter: str) -> Document:
    """Return the predecessor with a job that waits on it; the very same document if final, or known already."""
    known = job.get(WAITERS, [])
    if job["state"] in FINAL or waiter in known or len(known) > MOST_WAITERS:
        return job
    return {**job, WAITERS: [*known, waiter]}


def known_waiters(job: Document) -> list[str] | None:
    """Return the ids of jobs that may wait on this one; None: more than the job names."""
    known: list[str] = job.get(WAITERS, [])
    return None if len(known) > MOST_WAITERS else known
