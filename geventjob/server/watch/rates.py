"""Jobs that come in and go out: counts of each minute, which each server keeps in the store for its own writes.

A document of kind `rate` has the counts of one minute of one run of a server. The sum over the documents of a minute is
what the fleet has done. Attributes with an underscore are not searched.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from math import ceil, log2
from typing import Any

import gevent

from geventjob.backoff import Trouble
from geventjob.cimi.document import Document
from geventjob.clock import boottime, cimi_time, moment_of, now
from geventjob.coordination.base import Coordination, CoordinationError
from geventjob.job.states import FINAL
from geventjob.server.accounts.acl import acl
from geventjob.server.document import new_document
from geventjob.server.filter import Compare
from geventjob.server.leaders.promoter import Promoter
from geventjob.server.store.base import Insert, NoSuchDocument, Query, Store, StoreError, Update
from geventjob.server.store.watched import Written

log = logging.getLogger(__name__)

EACH = 10.0
"""Seconds between two writes of the counts: what a server that is killed forgets."""
SHARE = 50.0
"""A look at a deep queue costs the coordination CPU: the next look is at least so many times as late as it took."""
SHOWN_MINUTES = 60
KEPT_MINUTES = 24 * 60
MOST_ACTIONS = 100
"""Actions that a minute counts one by one; all others together are OTHERS."""
OTHERS = "…"
MOST_INTERRUPTED = 100
STEPS = 2
"""Steps of the scale of durations in each doubling: percentiles are within 20 %."""
MINUTE = timedelta(minutes=1)

Counts = dict[str, Any]


def new_counts() -> Counts:
    """Return the counts of no job: `in`, `out` and `failed`, and `ms`, the ended ones by step of their duration."""
    return {"in": 0, "out": 0, "failed": 0, "ms": {}}


class Minute:
    """The counts of one minute of this server."""

    def __init__(self, start: datetime) -> None:
        self.start = cimi_time(start)
        self.actions: dict[str, Counts] = {}
        self.interrupted: list[str] = []
        """Ids of jobs that were interrupted twice or more often."""
        self.depth: int | None = None
        self.oldest: float | None = None
        self.is_stored = False
        self.has_changed = True

    def of(self, action: str) -> Counts:
        """Return the counts of this action, to be changed."""
        self.has_changed = True
        counts = self.actions.get(action)
        if counts is None:
            name = action if len(self.actions) < MOST_ACTIONS else OTHERS
            counts = self.actions.setdefault(name, new_counts())
        return counts

    def document(self, id: str) -> Document:
        """Return the minute as a document of the store."""
        made = new_document(id, "Rate", acl("ROLE", "ADMIN"))
        return made | {
            "created": self.start,
            "_counts": summed(self.actions.values()),
            "_actions": self.actions,
            "_interrupted": self.interrupted,
            "_depth": self.depth,
            "_oldest": self.oldest,
        }


class Rates:
    """The counts of a fleet, to which each server adds its own."""

    def __init__(self, store: Store, coordination: Coordination, promoter: Promoter | None = None) -> None:
        """Count nothing yet. `promoter`: the server that leads it looks at the queue; None: no server does."""
        self._store = store
        self._coordination = coordination
        self._promoter = promoter
        self._run = secrets.token_hex(6)
        self._minutes: dict[datetime, Minute] = {}
        self._present: Minute | None = None
        self._until = 0.0
        """Boottime until which the present minute lasts for certain."""

    # --- count

    def note(self, written: Sequence[Written]) -> None:
        """Count what was written."""
        minute: Minute | None = None
        for before, after in written:
            if after is None:
                continue
            state = after["state"]
            if before is None:
                minute = minute or self._minute()
                minute.of(after["action"])["in"] += 1
            if state in FINAL and (before is None or before["state"] not in FINAL):
                minute = minute or self._minute()
                _count_end(minute.of(after["action"]), after)
            if before is not None and after.get("interruptions", 0) > max(1, before.get("interruptions", 0)):
                minute = minute or self._minute()
                minute.interrupted = [*minute.interrupted, after["id"]][-MOST_INTERRUPTED:]
                minute.has_changed = True

    def _minute(self) -> Minute:
        if boottime() < self._until and self._present is not None:
            return self._present
        moment = now()
        self._until = boottime() + 59.9 - moment.second
        self._present = self._minute_of(moment)
        return self._present

    def _minute_of(self, moment: datetime) -> Minute:
        start = moment.replace(second=0, microsecond=0)
        if start not in self._minutes:
            self._minutes[start] = Minute(start)
            for old in sorted(self._minutes)[: -SHOWN_MINUTES - 1]:
                del self._minutes[old]
        return self._minutes[start]

    # --- keep

    def keep(self) -> None:
        """Write the counts, and look at the queue, for ever. Does not return."""
        trouble, look, sweep = Trouble(log, "the rates are not kept"), 0.0, 0.0
        while True:
            pause = EACH
            try:
                if boottime() >= look:
                    look = boottime() + self.look()
                self.write()
                if boottime() >= sweep:
                    self._forget()
                    sweep = boottime() + 3600
                trouble.end()
            except (StoreError, CoordinationError) as error:
                pause = EACH + trouble.pause(str(error))
            gevent.sleep(pause)

    def look(self) -> float:
        """Note depth and age of the queue, if this server leads. Return the seconds until the next look.

        Raises CoordinationError.
        """
        if self._promoter is None or not self._promoter.leads:
            return EACH
        since = boottime()
        stats = self._coordination.stats(1)
        minute = self._minute()
        minute.depth, minute.oldest, minute.has_changed = stats.entries, stats.oldest, True
        return max(EACH, SHARE * (boottime() - since))

    def write(self) -> None:
        """Write the minutes that have changed. Raises StoreError."""
        changed = [minute for minute in self._minutes.values() if minute.has_changed]
        for minute in changed:
            minute.has_changed = False
        try:
            self._write([(minute, minute.document(self._id(minute))) for minute in changed])
        except StoreError:
            for minute in changed:
                minute.has_changed = True
            raise

    def _write(self, minutes: Sequence[tuple[Minute, Document]]) -> None:
        items: list[Insert | Update] = [
            Update(document["id"], partial(_replaced, document)) if minute.is_stored else Insert(document)
            for minute, document in minutes
        ]
        for (minute, _), result in zip(minutes, self._store.write(items) if items else [], strict=True):
            if isinstance(result, StoreError):
                raise result
            minute.is_stored = not isinstance(result, NoSuchDocument)

    def _id(self, minute: Minute) -> str:
        return f"rate/{minute.start[:16].replace(':', '-')}-{self._run}"

    def _forget(self) -> None:
        """Delete the minutes that are too old. Raises StoreError."""
        old = cimi_time(now() - KEPT_MINUTES * MINUTE)
        while len(self._store.delete("rate", Query(Compare(("created",), "<", old)), 1_000)) == 1_000:
            pass

    # --- read

    def minutes(self, count: int = SHOWN_MINUTES) -> list[Document]:
        """Return the last minutes, the present one last, with all that was counted. Raises StoreError."""
        last = now().replace(second=0, microsecond=0)
        starts = [cimi_time(last - MINUTE * ago) for ago in range(count - 1, -1, -1)]
        found: dict[str, list[Document]] = {start: [] for start in starts}
        query = Query(Compare(("created",), ">=", starts[0]), orderby=[("created", False)], counted=False)
        for document in self._store.search("rate", query).documents:
            if not document["id"].endswith(self._run):
                found.get(document["created"], []).append(document)
        for minute in self._minutes.values():
            found.get(minute.start, []).append(minute.document(self._id(minute)))
        return [_summed(start, documents) for start, documents in found.items()]


def _replaced(document: Document, _: Document) -> Document:
    return document


def _summed(start: str, documents: Sequence[Document]) -> Document:
    """Return the sum of the counts of one minute over all servers."""
    total: Document = {"at": start, "counts": summed(each["_counts"] for each in documents), "actions": {}}
    for name in {name for each in documents for name in each["_actions"]}:
        total["actions"][name] = summed(each["_actions"][name] for each in documents if name in each["_actions"])
    total["interrupted"] = [id for each in documents for id in each["_interrupted"]]
    sampled = [each for each in documents if each["_depth"] is not None]
    if sampled:
        newest = max(sampled, key=lambda each: str(each["updated"]))
        total["depth"], total["oldest"] = newest["_depth"], newest["_oldest"]
    return total


def summed(several: Iterable[Mapping[str, Any]]) -> Counts:
    """Return the sum of counts."""
    total = new_counts()
    for counts in several:
        for name in ("in", "out", "failed"):
            total[name] += counts[name]
        for step, number in counts["ms"].items():
            total["ms"][step] = total["ms"].get(step, 0) + number
    return total


def by_action(minutes: Sequence[Document]) -> dict[str, Counts]:
    """Return the sum of the counts of each action over these minutes, the most used action first."""
    names = {name for minute in minutes for name in minute["actions"]}
    found = {name: summed(each["actions"][name] for each in minutes if name in each["actions"]) for name in names}
    return dict(sorted(found.items(), key=lambda pair: (-pair[1]["in"] - pair[1]["out"], pair[0])))


def _count_end(counts: Counts, job: Mapping[str, Any]) -> None:
    """Count the end of a job, in place."""
    counts["out"] += 1
    if job["state"] == "FAILED":
        counts["failed"] += 1
    elif job["state"] == "SUCCESS" and "started" in job:
        step = str(step_of(job))
        counts["ms"][step] = counts["ms"].get(step, 0) + 1


# --- durations


def step_of(job: Mapping[str, Any]) -> int:
    """Return the step of the duration of an ended job: each is longer than the one before by the same factor."""
    milliseconds = (moment_of(job["updated"]) - moment_of(job["started"])).total_seconds() * 1000
    return ceil(STEPS * log2(max(1.0, milliseconds)))


def percentile(counts: Mapping[str, Any], share: float) -> float | None:
    """Return the seconds within which this share of the jobs has ended; None without a job."""
    steps = sorted((int(step), number) for step, number in counts["ms"].items())
    wanted = share * sum(number for _, number in steps)
    for step, number in steps:
        wanted -= number
        if wanted <= 0:
            middle = 2 ** ((step - 0.5) / STEPS) / 1000
            return float(f"{middle:.2g}")
    return None
