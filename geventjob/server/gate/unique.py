"""Unique jobs: of the jobs with one key, one at a time waits or runs (docs/reference/api.md, "Unique jobs").

A claim, `claim/<digest of the key>`, names the job that has the key. An add takes these steps, each of which any
server may repeat in place of a server that died:

1. Store the job, pending: held, without an entry.
2. Claim the key for the job: insert the claim, or take over the claim of a job that has given the key up.
3. Put the entry, and let the job through if it is still pending.

A job gives its key up for ever, so a late write never takes a key from a job that keeps it. A pending job that is named
by a claim keeps the key too: another add completes that job before it refuses its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Union

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time, now
from geventjob.coordination.base import Coordination, CoordinationError
from geventjob.near_uuid import near_uuid
from geventjob.server.accounts.acl import VIEW
from geventjob.server.filter import Compare
from geventjob.server.gate.entries import entries_of, remove
from geventjob.server.gate.gate import is_pending
from geventjob.server.gate.rules import Rules
from geventjob.server.gate.unique_keys import (
    CLAIM,
    LOOK,
    NewJob,
    claim_of,
    freeing,
    has_ended,
    is_kept,
    keeps,
    let_through,
    looking_again,
    pending,
    repeats,
    replacing,
    taking_over,
)
from geventjob.server.life.changes import entry_of
from geventjob.server.problem import Problem
from geventjob.server.store.base import (
    DuplicateKey,
    Insert,
    NoSuchDocument,
    Query,
    Store,
    StoreError,
    StoreRefused,
    Update,
)

log = logging.getLogger(__name__)

ATTEMPTS = 10
"""Attempts of an add against other adds of the key."""
PAGE = 1_000
"""Most claims that the sweep reads at once."""
_BUSY = "other adds claim the same unique key: try again"

Result = Union[Document, Exception]


class UniqueJobs:
    """The unique jobs of a store and a queue."""

    def __init__(
        self,
        store: Store,
        coordination: Coordination,
        rules: Callable[[], Rules],
        put: Callable[[Sequence[Document]], Sequence[str]],
        stored: Callable[[Sequence[Document]], None],
    ) -> None:
        """Do nothing yet.

        `rules()`: the rules of the gate. `put(jobs)` puts jobs and returns their entries. `stored(jobs)` is called with
        jobs that have been let through, and may wait for something.
        """
        self._store = store
        self._coordination = coordination
        self._rules = rules
        self._put = put
        self._on_stored = stored

    def add(self, new_jobs: Sequence[NewJob]) -> list[Result]:
        """Add unique jobs. Return for each its document, that of the job whose payload it has replaced, or the error.

        Errors: Problem 409, `unique`; the errors of an insert. Raises StoreAway; CoordinationError: no job was added.
        """
        results: dict[int, Result] = {}
        due = dict(enumerate(new_jobs))
        for _ in range(ATTEMPTS):
            results |= self._add(due)
            due = {at: _renewed(new) for at, new in due.items() if at not in results}
            if not due:
                break
        return [results.get(at, StoreRefused(_BUSY)) for at in range(len(new_jobs))]

    def complete(self, jobs: Sequence[Document]) -> list[Result]:
        """Complete the adds of pending jobs. Return each job, or the job that keeps its key, or the error.

        A job whose key another job keeps is removed. Raises StoreAway, CoordinationError: jobs may be left pending.
        """
        if not jobs:
            return []
        keepers = self._claim(jobs)
        lost = [at for at, keeper in enumerate(keepers) if isinstance(keeper, dict) and keeper["id"] != jobs[at]["id"]]
        for at, left in zip(lost, self._removed([jobs[at] for at in lost]), strict=True):
            if left is not None:
                keepers[at] = left  # another server has completed it
        incomplete = {keeper["id"]: keeper for keeper in keepers if isinstance(keeper, dict) and is_pending(keeper)}
        passed = dict(zip(incomplete, self._let_through(list(incomplete.values())), strict=True))
        return [keeper if isinstance(keeper, Exception) else passed.get(keeper["id"], keeper) for keeper in keepers]

    def free(self, jobs: Sequence[Document], *, deleted: bool = False) -> None:
        """Remove the claims of jobs that have ended, or of deleted jobs. What fails is left to the sweep."""
        moment = now()
        over = [job for job in jobs if CLAIM in job and (deleted or has_ended(job, moment))]
        if not over:
            return
        try:
            self._store.write([Update(job[CLAIM], freeing(job["id"])) for job in over])
        except StoreError as error:
            log.info("claims of %d unique jobs are left to the sweep: %s", len(over), error)

    def sweep(self) -> None:
        """Remove claims that a server has left behind. Raises StoreError."""
        while True:
            moment = now()
            is_over = Compare(("held", "until"), "<=", cimi_time(moment))
            query = Query(is_over, last=PAGE, orderby=[("held/until", False)], counted=False)
            claims = self._store.search("claim", query).documents
            jobs = self._store.get([claim["job"] for claim in claims])
            later = cimi_time(moment + LOOK)
            updates = [
                Update(claim["id"], freeing(claim["job"]) if not is_kept(job, moment) else looking_again(claim, later))
                for claim, job in zip(claims, jobs, strict=True)
            ]
            self._store.write(updates)
            if len(claims) < PAGE:
                return

    # --- an add

    def _add(self, due: Mapping[int, NewJob]) -> dict[int, Result]:
        """Try to add jobs; return the results of those that are decided."""
        results: dict[int, Result] = {}
        met = self._keepers(due)
        jobs = self._stored({at: new for at, new in due.items() if at not in met}, results)
        try:
            outcomes = self.complete(list(jobs.values()))
        except CoordinationError:
            left = self._removed(list(jobs.values()))
            self.free([job for job, rest in zip(jobs.values(), left, strict=True) if rest is None], deleted=True)
            raise
        for at, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, dict) and outcome["id"] != jobs[at]["id"]:
                met[at] = outcome
            else:
                results[at] = outcome
        return results | self._met(due, met)

    def _keepers(self, due: Mapping[int, NewJob]) -> dict[int, Document]:
        """Return the jobs that keep the keys of new jobs; those that are pending are left out."""
        claims = self._store.get([new.job[CLAIM] for new in due.values()])
        named = {at: claim["job"] for at, claim in zip(due, claims, strict=True) if claim}
        found = dict(zip(named, self._store.get(list(named.values())), strict=True)) if named else {}
        moment = now()
        return {
            at: job
            for at, job in found.items()
            if job and not is_pending(job) and (keeps(job, moment) or repeats(due[at], job))
        }

    def _stored(self, due: Mapping[int, NewJob], results: dict[int, Result]) -> dict[int, Document]:
        """Store jobs, pending, and return them; an earlier add that is pending takes the place of a repeated add."""
        inserts = [Insert(pending(new.job), new.key) for new in due.values()]
        jobs: dict[int, Document] = {}
        for (at, new), result in zip(due.items(), self._store.write(inserts) if inserts else [], strict=True):
            if isinstance(result, dict):
                jobs[at] = result
            elif isinstance(result, DuplicateKey) and _is_earlier(new, result.document):
                jobs[at] = result.document
            else:
                results[at] = result or StoreRefused(_BUSY)
        return jobs

    def _met(self, due: Mapping[int, NewJob], met: Mapping[int, Document]) -> dict[int, Result]:
        """Return the results of adds that have met the job that keeps their key; an add that may try again has none."""
        results: dict[int, Result] = {}
        for at, keeper in met.items():
            results[at] = keeper if repeats(due[at], keeper) else _refusal(due[at], keeper)
        asked = [at for at, keeper in met.items() if due[at].job["unique"].get("replace") and results[at] is not keeper]
        moment = now()
        updates = [Update(met[at]["id"], replacing(due[at], self._rules(), moment)) for at in asked]
        replaced = self._store.write(updates) if updates else []
        for at, result in zip(asked, replaced, strict=True):
            if isinstance(result, dict) and repeats(due[at], result):
                results[at] = result
            elif not isinstance(result, dict) or not keeps(result, moment):
                del results[at]
        held = [at for at, job in zip(asked, replaced, strict=True) if isinstance(job, dict) and "held" in job]
        remove(self._coordination, entries_of([met[at] for at in held]))
        return results

    # --- a claim

    def _claim(self, jobs: Sequence[Document]) -> list[Result]:
        """Claim the keys of stored jobs. Return for each the job that has the key, or the error."""
        keepers: dict[int, Result] = {}
        for _ in range(ATTEMPTS):
            due = [at for at in range(len(jobs)) if at not in keepers]
            if not due:
                break
            inserted = self._store.write([Insert(claim_of(jobs[at])) for at in due])
            others: dict[int, Document] = {}
            for at, result in zip(due, inserted, strict=True):
                claim = result.document if isinstance(result, DuplicateKey) else result
                if not isinstance(claim, dict):
                    keepers[at] = claim or StoreRefused(_BUSY)
                elif claim["job"] == jobs[at]["id"]:
                    keepers[at] = jobs[at]
                else:
                    others[at] = claim
            keepers |= self._take_over(jobs, others)
        return [keepers.get(at, StoreRefused(_BUSY)) for at in range(len(jobs))]

    def _take_over(self, jobs: Sequence[Document], claims: Mapping[int, Document]) -> dict[int, Result]:
        """Take over claims of jobs that have given their keys up; return the jobs that keep the others."""
        holders = self._store.get([claim["job"] for claim in claims.values()]) if claims else []
        moment = now()
        kept: dict[int, Result] = {
            at: job for at, job in zip(claims, holders, strict=True) if job and is_kept(job, moment)
        }
        free = [at for at in claims if at not in kept]
        updates = [Update(claims[at]["id"], taking_over(claims[at], jobs[at])) for at in free]
        for at, result in zip(free, self._store.write(updates) if updates else [], strict=True):
            if isinstance(result, dict) and result["job"] == jobs[at]["id"]:
                kept[at] = jobs[at]
        return kept

    def _removed(self, jobs: Sequence[Document]) -> list[Result | None]:
        """Remove pending jobs. Return None for a job that is gone, the job if it is not pending, or an error."""
        if not jobs:
            return []
        results = self._store.write([Update(job["id"], lambda job: None if is_pending(job) else job) for job in jobs])
        return [None if isinstance(result, NoSuchDocument) else result for result in results]

    def _let_through(self, jobs: Sequence[Document]) -> list[Result]:
        """Put pending jobs into the queue, or hold them for another reason. Return the jobs, or the errors."""
        if not jobs:
            return []
        rules, moment = self._rules(), now()
        ready = [job for job in jobs if "held" not in let_through(job, "", rules, moment)]
        entries = dict(zip([job["id"] for job in ready], self._put(ready) if ready else [], strict=True))
        passing = partial(let_through, rules=rules, now=moment)
        updates = [Update(job["id"], partial(passing, entry=entries.get(job["id"]))) for job in jobs]
        results = self._store.write(updates)
        self._on_stored([result for result in results if isinstance(result, dict)])
        found = {result["id"]: entry_of(result) for result in results if isinstance(result, dict)}
        remove(self._coordination, [entry for id, entry in entries.items() if found.get(id) != entry])
        return [result if isinstance(result, dict) else StoreRefused(_BUSY) for result in results]


def _is_earlier(new: NewJob, job: Document) -> bool:
    """Return whether the job is an earlier add of the same, which is pending."""
    return is_pending(job) and job.get("_body") == new.job.get("_body")


def _renewed(new: NewJob) -> NewJob:
    """Return the same job with another id: the former one has been removed for ever."""
    return replace(new, job={**new.job, "id": f"job/{near_uuid()}"})


def _refusal(new: NewJob, keeper: Document) -> Problem:
    """Return the 409 of an add that has met the job that keeps its key."""
    seen = keeper if new.caller.may(VIEW, keeper) else None
    state = f" is {keeper['state']}" if seen else ""
    message = f"another job has the same unique values: {keeper['id']}{state}"
    return Problem(409, message, resource_id=keeper["id"], reason="unique", job=seen)
