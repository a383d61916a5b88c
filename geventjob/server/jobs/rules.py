"""The rules by which jobs wait before the queue, compiled from the documents of the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from geventjob.cimi.document import ALL_ACTIONS, Document
from geventjob.server.jobs.wait import Hold

KINDS = ("pause", "limit")
"""The kinds of documents that are rules, in the order in which they are asked."""
PAUSED = "paused"
"""Why a job of a paused action waits."""
PAUSES = "pause/"


def pause_id(action: str) -> str:
    """Return the id of the pause of an action, which is the thing that the jobs of the action wait on."""
    return f"{PAUSES}{action}"


def is_over(pause: Document, time: str) -> bool:
    """Return whether a pause has ended by itself."""
    return bool(pause.get("until", "~") <= time)


@dataclass(frozen=True)
class Rules:
    """All rules at one moment."""

    documents: tuple[Document, ...] = ()

    @cached_property
    def pauses(self) -> Mapping[str, Document]:
        """The pauses by their ids, those that have ended by themselves included."""
        return {document["id"]: document for document in self.documents if document["id"].startswith(PAUSES)}

    def concern(self, job: Document) -> bool:
        """Return whether a rule may hold this job, of which `action` is known."""
        return bool(self.pauses)

    def wait_of(self, job: Document) -> Hold | None:
        """Return how the job, which is QUEUED, must wait by the limits; None: the limits let the job pass."""
        return None

    def pause_of(self, job: Document, time: str) -> Hold | None:
        """Return how the job must wait by the pauses at a time, a date; None: no pause holds the job."""
        for action in (job["action"], ALL_ACTIONS) if self.pauses else ():
            pause = self.pauses.get(pause_id(action))
            if pause is not None and not is_over(pause, time):
                return Hold(PAUSED, _words(pause), on=pause["id"])
        return None


def _words(pause: Document) -> str:
    """Return in words who has paused what since when, and why."""
    what = "all actions are" if pause["action"] == ALL_ACTIONS else f"the action {pause['action']} is"
    until = f" until {pause['until']}" if "until" in pause else ""
    why = f": {pause['why']}" if "why" in pause else ""
    return f"{what} paused by {pause['by']} since {pause['since']}{until}{why}"
