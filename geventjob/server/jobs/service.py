"""What is done to jobs: the store and the queue in the order that loses nothing (DESIGN §5), in batches (§6)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Union
from uuid import uuid4

import msgspec
from gevent.event import Event

from geventjob.batch import Batcher
from geventjob.cimi.document import Document
from geventjob.clock import boottime, now
from geventjob.coordination.base import Coordination, CoordinationError
from geventjob.job.attributes import ENTRY, OWNED
from geventjob.job.states import FINAL
from geventjob.server.accounts.acl import MODIFY, VIEW
from geventjob.server.accounts.caller import Caller
from geventjob.server.filter import Filter
from geventjob.server.jobs.changes import added, entry_of
from geventjob.server.jobs.conflicts import EntryDiffers, OwnerHolds, Refusal
from geventjob.server.jobs.lifecycle import Edit, edited
from geventjob.server.jobs.recent_writers import RecentWriters
from geventjob.server.jobs.rights import Rights, permitted
from geventjob.server.jobs.stops import stopped, tells, untold
from geventjob.server.problem import Problem, unavailable
from geventjob.server.store.base import DuplicateKey, Insert, NoSuchDocument, Page, Query, Store, Update

log = logging.getLogger(__name__)

SLICE = 1_000
"""Jobs that one commit adds, changes or deletes."""
APART = "\x1f"
"""Stands in no key, and parts it from the name of the user to whom it belongs."""
REFUSING, RECENT = 5.0, 10.0
"""Seconds for which adds to the queue have failed when it is told of, and since the last that is looked at."""
LOOKS = 3
"""How often one edit looks whether the entry that a job names still stands."""

CONSUMED = FINAL - {"STOPPED"}
"""States whose writer consumes the entry itself."""

OTHER_ENGINES = frozenset({*OWNED, "affectedResources"})
"""What SlipStream's executors write."""

Outcome = Union[Document, Exception]
Gone = Union[str, "tuple[str | None, int | None]"]
"""An entry that does not stand any more, or an entry and the fence of an owner that let it go."""


@dataclass(frozen=True)
class JobEdit:
    """An edit of one job."""

    id: str
    edit: Edit


@dataclass(frozen=True)
class _New:
    job: Document
    key: str | None


class Jobs:
    """Adds, shows, changes and deletes jobs in the name of a caller."""

    def __init__(self, store: Store, coordination: Coordination, rights: Rights | None = None) -> None:
        """`rights`: the actions of submitters; None: they add nothing."""
        self._rights = rights or Rights()
        self._store = store
        self._coordination = coordination
        self._commit: Batcher[list[_New], list[str | Exception]] = Batcher(self._commit_all, size=len, limit=SLICE)
        self._adding: dict[str, Event] = {}
        self._writers = RecentWriters()
        self._failed: tuple[float, float] | None = None
        """When the first and the last add to the queue failed since one went well."""

    # --- add

    def queue_refuses(self) -> bool:
        """Whether adds have failed for some time, the last of them a moment ago: a session alone does not tell.

        It is False again RECENT seconds after the last add, so that a balancer sends another one to find out.
        """
        if self._failed is None:
            return False
        first, last = self._failed
        return last - first > REFUSING and boottime() - last < RECENT

    def _put(self, news: Sequence[_New]) -> list[str]:
        """Queue these jobs, and return their entries."""
        try:
            entries = self._coordination.put([(new.job["id"], new.job["priority"]) for new in news])
        except CoordinationError:
            moment, session = boottime(), self._coordination.session
            alive = session is not None and not session.over  # else that is what is told
            self._failed = (self._failed[0] if self._failed else moment, moment) if alive else None
            raise
        self._failed = None
        return entries

    def add(self, bodies: Sequence[Mapping[str, Any]], caller: Caller) -> list[str | Exception]:
        """Queue and store these jobs (validated bodies); the id of each, or why it is not there (DESIGN §5.2).

        Raises CoordinationAway: nothing was stored; StoreAway: any of them may be.
        """
        self._writers.note(caller)
        refusals = [self._rights.refusal(caller, body["action"]) for body in bodies]
        news = [_new(body, caller) for body, no in zip(bodies, refusals, strict=True) if no is None]
        firsts = self._firsts(news)
        added = iter(self._queue_and_store([new for new in news if new.key not in firsts]))
        results = iter([_as_first(firsts[new.key], new) if new.key in firsts else next(added) for new in news])
        return [next(results) if no is None else no for no in refusals]

    def _firsts(self, news: Sequence[_New]) -> dict[str | None, Document]:
        """The jobs that exist with a key of these, by key."""
        keys = [new.key for new in news if new.key is not None]
        found = self._store.find("job", keys) if keys else []
        return {key: first for key, first in zip(keys, found, strict=True) if first is not None}

    def _queue_and_store(self, news: list[_New]) -> list[str | Exception]:
        if not news:
            return []
        self._adding.update(dict.fromkeys([new.job["id"] for new in news], Event()))
        return self._commit(news)

    def _commit_all(self, lists: list[list[_New]]) -> list[list[str | Exception]]:
        """In a greenlet of its own: a client that goes away takes no half-made add with it."""
        news = [new for some in lists for new in some]
        try:
            entries = self._put(news)
            for new, entry in zip(news, entries, strict=True):
                new.job["properties"] = {**new.job.get("properties", {}), ENTRY: entry}
            results = self._store.write([Insert(new.job, new.key) for new in news])
        finally:
            for new in news:
                self._adding.pop(new.job["id"]).set()
        self._remove([entry for entry, result in zip(entries, results, strict=True) if isinstance(result, Exception)])
        answers = map(_answer, news, results)
        return [[next(answers) for _ in some] for some in lists]

    def _settled(self, ids: Sequence[str]) -> None:
        """Wait until no add of these jobs is under way: an executor may be quicker than the store."""
        if self._adding:
            for id in ids:
                if id in self._adding:
                    self._adding[id].wait()

    # --- look

    def get(self, id: str, caller: Caller) -> Document:
        """The job, which the caller may see. Raises Problem 403, 404, StoreAway."""
        return self._seen(id, caller, VIEW)

    def _seen(self, id: str, caller: Caller, rights: frozenset[str]) -> Document:
        self._settled([id])
        (job,) = self._store.get([id])
        return caller.require_visible(id, job, rights)

    def search(self, query: Query, caller: Caller) -> Page:
        """What the caller has written himself is seen. Raises StoreAway, FilterError."""
        return self._store.search("job", replace(query, fresh=self._writers.wrote(caller)))

    # --- change

    def edit(self, changes: Sequence[JobEdit], caller: Caller) -> list[Outcome]:
        """Each job as it is then, or why its edit was refused: one commit for all (DESIGN §5.3, §5.4)."""
        self._writers.note(caller)
        self._settled([change.id for change in changes])
        gone: set[Gone] = set()
        outcomes = self._edit(changes, caller, gone)
        for _ in range(LOOKS):
            again = self._superseded(outcomes, gone)
            if not again:
                break
            for index, outcome in zip(again, self._edit([changes[i] for i in again], caller, gone), strict=True):
                outcomes[index] = outcome
        self._clear_queue([outcome for change, outcome in zip(changes, outcomes, strict=True) if _unfenced(change)])
        return outcomes

    def _edit(self, changes: Sequence[JobEdit], caller: Caller, gone: Collection[Gone]) -> list[Outcome]:
        moment, gone = now(), frozenset(gone)

        def change(edit: Edit) -> Callable[[Document], Document]:
            def apply(job: Document) -> Document:
                caller.require_right(MODIFY, job)
                allowed = permitted(caller, job, edit)
                entry = entry_of(job)
                let_go = (entry, job.get("fence")) in gone
                return edited(job, allowed, now=moment, other_entry_gone=entry in gone, owner_gone=let_go)

            return apply

        results = self._store.write([Update(c.id, change(c.edit)) for c in changes])
        return [_outcome(result, caller) for result in results]

    def _superseded(self, outcomes: list[Outcome], gone: set[Gone]) -> list[int]:
        """Return which edits were refused for what the queue does not bear out; `gone` has that then."""
        differing = {index: outcome for index, outcome in enumerate(outcomes) if isinstance(outcome, EntryDiffers)}
        held = {index: outcome for index, outcome in enumerate(outcomes) if isinstance(outcome, OwnerHolds)}
        found: list[Gone | None] = []
        try:
            if differing:
                found += self._entries_gone(list(differing.values()))
            if held:
                found += self._owners_gone(list(held.values()))
        except CoordinationError as error:
            for index in (*differing, *held):
                outcomes[index] = unavailable(f"the queue is out of reach: {error}")
            return []
        gone.update(what for what in found if what is not None)
        return [index for index, what in zip((*differing, *held), found, strict=True) if what is not None]

    def _entries_gone(self, refused: Sequence[EntryDiffers]) -> list[Gone | None]:
        """Return the entries that jobs name and that do not stand any more, while those sent do."""
        named = self._coordination.jobs([outcome.entry for outcome in refused])
        sent = self._coordination.jobs([outcome.sent for outcome in refused])
        return [
            outcome.entry if new == outcome.job["id"] != old else None
            for outcome, old, new in zip(refused, named, sent, strict=True)
        ]

    def _owners_gone(self, refused: Sequence[OwnerHolds]) -> list[Gone | None]:
        """Return the entry and the fence of owners that do not hold their entries any more."""
        holders = self._coordination.holders([outcome.entry for outcome in refused])
        return [
            (outcome.entry, outcome.fence) if holder != outcome.executor else None
            for outcome, holder in zip(refused, holders, strict=True)
        ]

    def _clear_queue(self, outcomes: Sequence[Outcome]) -> None:
        """Take entries of jobs that unfenced edits made final, or met final, out of the queue.

        The latter even if they are held: an executor of another engine that is refused gives the entry back, and
        takes it again, for ever.
        """
        made = [job for job in outcomes if isinstance(job, dict) and job["state"] in FINAL]
        met = [refusal.job for refusal in outcomes if isinstance(refusal, Refusal) and refusal.reason == "final"]
        self._remove(_entries(made))
        if not met:
            return
        try:
            said = self._coordination.jobs([entry_of(job) or "" for job in met])
            self._coordination.discard(_entries([job for job, id in zip(met, said, strict=True) if id == job["id"]]))
        except CoordinationError as error:
            log.warning("entries of jobs that are over stay in the queue: %s", error)

    def stop(self, id: str, caller: Caller) -> Document:
        """Stop a job, and return it; of many stops one tells the executor, if it holds the job's entry.

        Raises Problem 403, 404; CoordinationAway: the job is STOPPING, but its executor was not told.
        """
        self._writers.note(caller)
        moment, teller = now(), uuid4().hex

        def change(job: Document) -> Document:
            caller.require_right(MODIFY, job)
            return stopped(job, now=moment, teller=teller)

        job = self._one(id, change, caller)
        assert job is not None
        if job["state"] == "STOPPED":
            self._remove(_entries([job]))
        elif tells(job, teller):
            self._tell(job, teller)
        return job

    def _tell(self, job: Document, teller: str) -> None:
        try:
            (holder,) = self._coordination.holders(_entries([job]))
            if holder == job["executor"]:
                self._coordination.send(job["executor"], {"stop": job["id"], "fence": job["fence"]})
        except CoordinationError:
            self._store.write([Update(job["id"], lambda job: untold(job, teller))])
            raise

    def delete(self, id: str, caller: Caller) -> None:
        """Delete a job, and its entry if nobody holds it. Raises Problem 403, 404."""
        self._writers.note(caller)
        job = self._seen(id, caller, MODIFY)
        self._one(id, lambda job: caller.require_right(MODIFY, job), caller)
        self._remove_of([job])

    def delete_all(self, filter: Filter, limit: int, caller: Caller) -> int:
        """Delete up to `limit` of the jobs that match, and their entries; how many there were."""
        self._writers.note(caller)
        deleted = self._store.delete("job", Query(filter=filter), limit)
        self._remove_of(deleted)
        return len(deleted)

    def _one(self, id: str, change: Callable[[Document], Document | None], caller: Caller) -> Document | None:
        self._settled([id])
        (result,) = self._store.write([Update(id, change)])
        if isinstance(result, NoSuchDocument):
            raise caller.missing(id)
        if isinstance(result, Exception):
            raise result
        return result

    def _remove_of(self, jobs: Sequence[Document]) -> None:
        """Take the entries of these jobs, as far as they may still stand, out of the queue."""
        self._remove(_entries([job for job in jobs if job["state"] not in CONSUMED]))

    def _remove(self, entries: list[str]) -> None:
        """What cannot be removed is met by an executor, which consumes it after a 404 or a 409."""
        if not entries:
            return
        try:
            self._coordination.remove(entries)
        except CoordinationError as error:
            log.warning("%d entries stay in the queue, for nothing: %s", len(entries), error)


def _new(body: Mapping[str, Any], caller: Caller) -> _New:
    job = added(body, id=f"job/{uuid4()}", now=now(), acl=body.get("acl") or caller.acl())
    key = body.get("idempotencyKey")
    if key is not None:
        job["_body"] = _digest(body)
        if not caller.is_admin:  # else a key would tell of jobs that the caller may not see
            key = f"{caller.username}{APART}{key}"
    return _New(job, key)


def _digest(body: Mapping[str, Any]) -> str:
    return blake2b(msgspec.json.encode(body, order="deterministic"), digest_size=16).hexdigest()


def _as_first(first: Document, new: _New) -> str | Exception:
    """The answer to a second add with a key: as the first, if it says the same."""
    if first.get("_body") == new.job["_body"]:
        return str(first["id"])
    return Problem(409, f"another job has this idempotencyKey: {first['id']}", resource_id=first["id"], job=first)


def _answer(new: _New, result: Document | Exception | None) -> str | Exception:
    if isinstance(result, DuplicateKey):
        return _as_first(result.document, new)
    return result if isinstance(result, Exception) else str(new.job["id"])


def _unfenced(change: JobEdit) -> bool:
    """Whether this edit is no executor's of ours, and may be that of another engine: those write nothing else."""
    return change.edit.owner is None and not OTHER_ENGINES.isdisjoint(change.edit.set)


def _entries(jobs: Sequence[Document]) -> list[str]:
    return [entry for entry in map(entry_of, jobs) if entry is not None]


def _outcome(result: Document | Exception | None, caller: Caller) -> Outcome:
    assert result is not None
    return caller.missing(str(result)) if isinstance(result, NoSuchDocument) else result
