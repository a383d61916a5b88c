"""Failures in groups: by action, type of the error, and place in the code, with counts over time.

A group is a document of kind `failure`, to which every server adds what it has seen since its last write. A job names
the group of its last failure in the attribute `failure`, by which a search finds all jobs of a group.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import gevent

from geventjob.backoff import Trouble
from geventjob.cimi.document import Document
from geventjob.clock import boottime, cimi_time, now
from geventjob.server.accounts.acl import acl
from geventjob.server.document import new_document
from geventjob.server.filter import Compare
from geventjob.server.life.failures import kind_of_failure
from geventjob.server.store.base import Insert, Query, Store, StoreError, Update
from geventjob.server.store.watched import Written

log = logging.getLogger(__name__)

EACH = 10.0
"""Seconds between two writes of the counts: what a server that is killed forgets."""
KEPT = timedelta(days=7)
"""Time after its last failure for which a group is kept."""
HOURS = 24
"""Hours for which a group has counts."""
MOST = 200
"""Most groups that a server counts between two writes; failures of further groups are not counted."""
MESSAGE_LENGTH = 300


@dataclass
class _Seen:
    """Failures of one group since the last write."""

    action: str
    type: str
    place: str
    message: str = ""
    job: str = ""
    first: str = ""
    last: str = ""
    hours: dict[str, int] = field(default_factory=dict)

    def add(self, job: Document) -> None:
        """Count a failure of this job."""
        errors = job.get("errors")
        self.message = str(errors[-1]["message"] if errors else job.get("statusMessage", ""))[:MESSAGE_LENGTH]
        self.job, self.last = job["id"], job["updated"]
        self.first = self.first or self.last
        hour = self.last[:13] + ":00:00.000Z"
        self.hours[hour] = self.hours.get(hour, 0) + 1

    def added_to(self, group: Document) -> Document:
        """Return the group with these failures too."""
        hours = dict(group["_hours"])
        for hour, count in self.hours.items():
            hours[hour] = hours.get(hour, 0) + count
        is_last = self.last >= group["updated"]
        newest = {"updated": self.last, "message": self.message, "job": self.job} if is_last else {}
        kept = dict(sorted(hours.items())[-HOURS:])
        return {**group, **newest, "count": group["count"] + sum(self.hours.values()), "_hours": kept}

    def group(self, id: str) -> Document:
        """Return the new, empty group."""
        made = new_document(id, "Failure", acl("ROLE", "ADMIN"))
        named = {"action": self.action, "type": self.type, "place": self.place}
        return {**made, **named, "created": self.first, "updated": self.first, "count": 0, "_hours": {}}


class FailureGroups:
    """The groups of a fleet, to which each server adds its own failures."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[str, _Seen] = {}

    def note(self, written: Sequence[Written]) -> None:
        """Count the failures among what was written."""
        for before, after in written:
            if after is None or "failure" not in after or not _has_failed(before, after):
                continue
            name = after["failure"]
            if name not in self._seen:
                if len(self._seen) >= MOST:
                    continue
                self._seen[name] = _Seen(*kind_of_failure(after))
            self._seen[name].add(after)

    def keep(self) -> None:
        """Write the counts for ever, and delete old groups. Does not return."""
        trouble, sweep = Trouble(log, "the groups of failures are not kept"), 0.0
        while True:
            pause = EACH
            try:
                self.write()
                if boottime() >= sweep:
                    self.forget()
                    sweep = boottime() + 3600
                trouble.end()
            except StoreError as error:
                pause = EACH + trouble.pause(str(error))
            gevent.sleep(pause)

    def write(self) -> None:
        """Add to the groups what was seen since the last write.

        Raises StoreError: failures were added, or are counted no more; a count twice would be worse.
        """
        seen, self._seen = self._seen, {}
        items: list[Insert | Update] = []
        for name, each in seen.items():
            id = f"failure/{name}"
            items += [Insert(each.group(id)), Update(id, each.added_to)]
        for result in self._store.write(items) if items else []:
            if isinstance(result, StoreError):
                raise result

    def forget(self) -> None:
        """Delete the groups whose last failure is too old. Raises StoreError."""
        old = cimi_time(now() - KEPT)
        while len(self._store.delete("failure", Query(Compare(("updated",), "<", old)), 1_000)) == 1_000:
            pass

    def newest(self, last: int) -> tuple[int, list[Document]]:
        """Return the number of groups, and those that failed last, the newest first. Raises StoreError."""
        self.write()
        page = self._store.search("failure", Query(last=last, orderby=[("updated", True)]))
        return page.count, page.documents


def _has_failed(before: Document | None, after: Document) -> bool:
    """Return whether this write has ended an attempt as a failure, or the job."""
    if before is None:
        return bool(after["state"] == "FAILED")
    if after["state"] == "FAILED" != before["state"]:
        return True
    return bool(after.get("errors", [])[-1:] != before.get("errors", [])[-1:])
