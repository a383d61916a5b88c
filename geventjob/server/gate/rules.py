"""The rules by which jobs wait before the queue, compiled from the documents of the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from geventjob.cimi.document import ALL_ACTIONS, Document
from geventjob.server.gate.limit import ON, Limit, compiled, is_let_through
from geventjob.server.life.wait import Hold

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

    @cached_property
    def limits(self) -> Mapping[str, Limit]:
        """The limits, by the prefix of their keys and in the order of their names."""
        found = [compiled(document) for document in self.documents if document["id"].startswith(ON)]
        return {limit.prefix: limit for limit in sorted(found, key=lambda limit: limit.name)}

    @cached_property
    def _limits_of(self) -> Mapping[str, tuple[Limit, ...]]:
        """The limits of each action."""
        actions = {limit.action for limit in self.limits.values()}
        return {name: tuple(one for one in self.limits.values() if one.action == name) for name in actions}

    def limit_of(self, key: str) -> Limit | None:
        """Return the limit to which a key belongs; None for a limit that was deleted or has other keys now."""
        return self.limits.get(key[: key.find("|") + 1])

    def keys_of(self, job: Document) -> tuple[str, ...]:
        """Return the keys of all limits under which the job comes."""
        return tuple(limit.key_of(job) for limit in self._limits_of.get(job["action"], ()))

    def concern(self, job: Document) -> bool:
        """Return whether a rule may hold this job, of which `action` is known."""
        return bool(self.pauses) or job["action"] in self._limits_of

    def wait_of(self, job: Document) -> Hold | None:
        """Return how the job, which is QUEUED, must wait by the limits; None: the limits let the job pass."""
        keys = self.keys_of(job)
        if not keys or is_let_through(job):
            return None
        on = job.get("held", {}).get("on", "").removeprefix(ON)
        key = on if on in keys else keys[0]
        return self.limits[key[: key.find("|") + 1]].hold(key, keys)

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
