"""Add jobs: put entries into the queue, then store the jobs (docs/architecture.md, "Delivery contract", rule 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import chain, count
from typing import Any

import msgspec
from gevent.event import Event

from geventjob.batch import Batcher
from geventjob.cimi.document import Document
from geventjob.clock import boottime, now
from geventjob.coordination.base import Coordination, CoordinationError
from geventjob.near_uuid import is_fresh, near_uuid
from geventjob.server.accounts.acl import MODIFY, VIEW
from geventjob.server.accounts.caller import Caller
from geventjob.server.gate.after import predecessors
from geventjob.server.gate.children import BATCH, OPTIONS, is_open, opened
from geventjob.server.gate.entries import entries_of, remove
from geventjob.server.gate.gate import is_pending, wait_of
from geventjob.server.gate.rules import Rules
from geventjob.server.gate.unique import UniqueJobs
from geventjob.server.gate.unique_keys import CLAIM, NewJob, claim_id
from geventjob.server.jobs.rights import Rights
from geventjob.server.leaders.promoter import Promoter
from geventjob.server.life.changes import TURN, added, set_entry
from geventjob.server.life.wait import hold
from geventjob.server.problem import Problem, forbidden
from geventjob.server.store.base import DuplicateKey, Insert, Store

SLICE = 1_000
"""Most jobs that one commit adds."""
SEPARATOR = "\x1f"
"""The character between the name of a user and an idempotency key, which cannot contain the character."""
REFUSING = 5.0
"""Seconds of failing adds after which the queue counts as refusing."""
RECENT = 10.0
"""Seconds after the last failed add in which the queue still counts as refusing."""


class JobAdder:
    """Adds jobs in batches. Adds of several callers share one commit."""

    def __init__(
        self,
        store: Store,
        coordination: Coordination,
        rights: Rights,
        promoter: Promoter,
    ) -> None:
        """Add nothing yet. `promoter`: the promoter of this server, which knows the rules by which new jobs wait."""
        self._store = store
        self._coordination = coordination
        self._rights = rights
        self._promoter = promoter
        self.unique = UniqueJobs(store, coordination, promoter.rules, self._entries, promoter.stored)
        self._commit: Batcher[list[NewJob], list[str | Exception]] = Batcher(
            self._commit_all, name="adds", size=len, limit=SLICE
        )
        self._commit_unique: Batcher[list[NewJob], list[str | Exception]] = Batcher(
            self._commit_all_unique, size=len, limit=SLICE
        )
        self._turns = count()
        self._in_flight: dict[str, Event] = {}
        """Id of a job whose add is in flight → event that is set at the end of the add."""
        self._failing: tuple[float, float] | None = None
        """Times of the first and the last put that failed since a put succeeded."""

    def add(self, bodies: Sequence[Mapping[str, Any]], caller: Caller) -> list[str | Exception]:
        """Queue and store jobs from validated bodies. Return the id of each job, or the error.

        Raises CoordinationAway: no job was stored; StoreAway: some jobs may have been stored.
        """
        refusals = [self._rights.refusal(caller, body["action"]) for body in bodies]
        rules = self._promoter.rules()
        new_jobs = [
            _new(body, caller, rules, next(self._turns))
            for body, refusal in zip(bodies, refusals, strict=True)
            if refusal is None
        ]
        existing = self._find_existing(new_jobs)
        rest = [new for new in new_jobs if new.key not in existing]
        outcomes = self._refused_by_batches(rest)
        rest = [new for new in rest if new.job["id"] not in outcomes]
        outcomes |= zip([new.job["id"] for new in rest], self._after_others(rest, caller), strict=True)
        outcomes |= {new.job["id"]: _answer_again(existing[new.key], new) for new in new_jobs if new.key in existing}
        results = iter([outcomes[new.job["id"]] for new in new_jobs])
        return [refusal or next(results) for refusal in refusals]

    def settle(self, ids: Sequence[str]) -> None:
        """Hold until no add of these jobs is in flight: an executor may be quicker than the store."""
        if self._in_flight:
            for id in ids:
                if id in self._in_flight:
                    self._in_flight[id].wait()

    def queue_refuses(self) -> bool:
        """Return whether puts have failed for REFUSING seconds, the last of them less than RECENT seconds ago.

        A live session does not imply a queue that takes jobs. After RECENT seconds without an add the answer is False,
        so that a load balancer sends another add.
        """
        if self._failing is None:
            return False
        first, last = self._failing
        return last - first > REFUSING and boottime() - last < RECENT

    def _find_existing(self, new_jobs: Sequence[NewJob]) -> dict[str | None, Document]:
        """Return the existing jobs with idempotency keys of new jobs, by key.

        A key that was just made is not looked up (docs/decisions/0052-fresh-keys-are-not-looked-up.md).
        """
        keys = [new.key for new in new_jobs if new.key is not None and _is_looked_up(new, new.key)]
        found = self._store.find("job", keys) if keys else []
        return {key: job for key, job in zip(keys, found, strict=True) if job is not None and not is_pending(job)}

    def _refused_by_batches(self, new_jobs: Sequence[NewJob]) -> dict[str, str | Exception]:
        """Return the refusals of new jobs whose parent is the callback of a closed or of another user's batch.

        A parent that the caller may not see is refused like one that does not exist.
        """
        parents = list(dict.fromkeys(new.job["parentJob"] for new in new_jobs if "parentJob" in new.job))
        if not parents:
            return {}
        self.settle(parents)
        found = self._store.get(parents)
        known = dict(zip(parents, found, strict=True))
        callbacks = {parent: job for parent, job in known.items() if job and BATCH in job}
        refused: dict[str, str | Exception] = {}
        for new in new_jobs:
            parent = new.job.get("parentJob", "")
            callback = callbacks.get(parent)
            is_hidden = bool(parent) and not new.caller.sees_all and not _is_visible(known[parent], new.caller)
            if is_hidden or (callback is not None and not new.caller.may(MODIFY, callback)):
                refused[new.job["id"]] = forbidden()
            elif callback is not None and not is_open(callback):
                message = f"the batch of {callback['id']} is closed"
                refused[new.job["id"]] = Problem(409, message, resource_id=callback["id"], reason="closed")
        return refused

    def _after_others(self, new_jobs: list[NewJob], caller: Caller) -> list[str | Exception]:
        """Let the new jobs wait that come after others, and commit all; return the id or the error of each."""
        waiting = [new.job for new in new_jobs if "after" in new.job]
        if not waiting:
            return self._queue_and_store(new_jobs)
        self.settle([id for job in waiting for id in predecessors(job)])
        refused = self._promoter.successors.begin(waiting, caller)
        refusals = {job["id"]: refusal for job, refusal in zip(waiting, refused, strict=True) if refusal is not None}
        ids = iter(self._queue_and_store([new for new in new_jobs if new.job["id"] not in refusals]))
        return [refusals.get(new.job["id"]) or next(ids) for new in new_jobs]

    def _queue_and_store(self, new_jobs: list[NewJob]) -> list[str | Exception]:
        """Commit new jobs; return the id or the error of each."""
        if not new_jobs:
            return []
        self._in_flight.update(dict.fromkeys([new.job["id"] for new in new_jobs], Event()))
        others = [new for new in new_jobs if CLAIM not in new.job]
        results = iter(self._commit(others) if others else [])
        if len(others) == len(new_jobs):
            return list(results)
        added_unique = iter(self._commit_unique([new for new in new_jobs if CLAIM in new.job]))
        return [next(added_unique if CLAIM in new.job else results) for new in new_jobs]

    def _commit_all(self, lists: list[list[NewJob]]) -> list[list[str | Exception]]:
        """Commit the new jobs of several callers, in a greenlet of the batcher: no disconnect halves an add."""
        new_jobs = [new for some in lists for new in some]
        try:
            self._put([new.job for new in new_jobs if "held" not in new.job])
            inserts = [Insert(new.job, new.key) for new in new_jobs]
            results = self._store.write(inserts, seen=lambda: self._land(new_jobs))
        finally:
            self._land(new_jobs)
        pairs = zip(new_jobs, results, strict=True)
        remove(self._coordination, entries_of([new.job for new, result in pairs if isinstance(result, Exception)]))
        self._promoter.stored([job for job in results if isinstance(job, dict)])
        return _answers(lists, results)

    def _commit_all_unique(self, lists: list[list[NewJob]]) -> list[list[str | Exception]]:
        """Commit unique jobs of several callers; other adds do not wait for their steps."""
        new_jobs = [new for some in lists for new in some]
        try:
            results = self.unique.add(new_jobs)
        finally:
            self._land(new_jobs)
        self._promoter.expect([job for job in results if isinstance(job, dict)])
        return _answers(lists, results)

    def _land(self, new_jobs: Sequence[NewJob]) -> None:
        """Let those go on who wait for the adds of these jobs: an executor may begin a job before the disk has it."""
        for new in new_jobs:
            if added := self._in_flight.pop(new.job["id"], None):
                added.set()

    def _put(self, jobs: Sequence[Document]) -> None:
        """Put jobs into the queue, and set their entries in place. Raises CoordinationError."""
        for job, entry in zip(jobs, self._entries(jobs), strict=True):
            set_entry(job, entry)

    def _entries(self, jobs: Sequence[Document]) -> list[str]:
        """Put jobs into the queue, and return their entries. Raises CoordinationError."""
        if not jobs:
            return []
        try:
            entries = self._coordination.put([(job["id"], job["priority"]) for job in jobs])
        except CoordinationError:
            moment, session = boottime(), self._coordination.session
            alive = session is not None and not session.over  # without a session /healthz fails anyway
            self._failing = (self._failing[0] if self._failing else moment, moment) if alive else None
            raise
        self._failing = None
        return entries


def _new(body: Mapping[str, Any], caller: Caller, rules: Rules, turn: int) -> NewJob:
    """Return the new job for a validated body, with an idempotency key that no other submitter shares."""
    moment = now()
    job = added(body, id=f"job/{near_uuid()}", now=moment, acl=body.get("acl") or caller.acl())
    if options := job.pop(OPTIONS, None):
        job[BATCH] = opened(options)
    if wait := wait_of(job, rules, moment):
        job[TURN] = turn
        hold(job, wait)
    user = None if caller.is_admin else caller.username  # a shared key would disclose jobs that the caller may not see
    if "unique" in job:
        job[CLAIM], job[TURN] = claim_id(job, user), turn
    key = body.get("idempotencyKey")
    if key is not None:
        job["_body"] = _digest(body)
        if user is not None:
            key = f"{user}{SEPARATOR}{key}"
    return NewJob(job, caller, key)


def _is_looked_up(new: NewJob, key: str) -> bool:
    """Return whether a key is old, or a repeated add would have effects before the insert finds the key."""
    has_effects = not new.job.keys().isdisjoint((CLAIM, "after", "parentJob", BATCH))
    return has_effects or not is_fresh(key.rpartition(SEPARATOR)[2])


def _digest(body: Mapping[str, Any]) -> str:
    """Return a digest of a body, by which a repeated add is known, in whatever trace it is repeated."""
    told = {name: value for name, value in body.items() if name != "traceparent"}
    return blake2b(msgspec.json.encode(told, order="deterministic"), digest_size=16).hexdigest()


def _answer_again(first: Document, new: NewJob) -> str | Exception:
    """Return the answer to another add with the key of an existing job: the same id for the same body."""
    if first.get("_body") == new.job["_body"]:
        return str(first["id"])
    seen = first if _is_visible(first, new.caller) else None
    return Problem(409, f"another job has this idempotencyKey: {first['id']}", resource_id=first["id"], job=seen)


def _is_visible(job: Document | None, caller: Caller) -> bool:
    return job is not None and caller.may(VIEW, job)


def _answers(
    lists: Sequence[Sequence[NewJob]], results: Sequence[Document | Exception | None]
) -> list[list[str | Exception]]:
    """Return the answers to the adds of several callers."""
    answers = iter([_answer(new, result) for new, result in zip(chain(*lists), results, strict=True)])
    return [[next(answers) for _ in some] for some in lists]


def _answer(new: NewJob, result: Document | Exception | None) -> str | Exception:
    """Return the id of a new job, or of a job whose payload it has replaced; or the error."""
    if isinstance(result, DuplicateKey):
        return _answer_again(result.document, new)
    return result if isinstance(result, Exception) else str((result or new.job)["id"])
