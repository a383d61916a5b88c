"""Add, return, edit, stop and delete jobs: store and queue in an order that loses no job (docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Union
from uuid import uuid4

from geventjob.cimi.document import Document
from geventjob.clock import now
from geventjob.coordination.base import Coordination, CoordinationError
from geventjob.job.attributes import OWNED
from geventjob.job.bounds import MOST_RETRIES
from geventjob.job.copies import like
from geventjob.job.states import FINAL
from geventjob.server.accounts.acl import MODIFY, VIEW
from geventjob.server.accounts.caller import Caller
from geventjob.server.filter import Filter
from geventjob.server.gate.after import WAITERS
from geventjob.server.gate.children import BATCH, OPTIONS
from geventjob.server.gate.entries import discard, entries_of, remove
from geventjob.server.gate.gate import has_left, released, unless_paused
from geventjob.server.jobs.adding import JobAdder
from geventjob.server.jobs.attached import Attachments, is_marked, marked
from geventjob.server.jobs.lifecycle import Edit, JobEdit, edited
from geventjob.server.jobs.limits import turn_of
from geventjob.server.jobs.recent_writers import RecentWriters
from geventjob.server.jobs.rights import Rights, permitted
from geventjob.server.jobs.stacks import ask_for_stack
from geventjob.server.jobs.stops import stopped, tells, untold
from geventjob.server.jobs.turn_log import log_turn
from geventjob.server.jobs.why import Facts, details, explained, gathered
from geventjob.server.leaders.batches import closed
from geventjob.server.leaders.promoter import Promoter
from geventjob.server.life.changes import entry_of
from geventjob.server.life.conflicts import EntryDiffers, OwnerHolds, Refusal
from geventjob.server.life.logs import shown
from geventjob.server.life.records import shown_records
from geventjob.server.problem import Problem, unavailable
from geventjob.server.store.base import NoSuchDocument, Page, Query, Store, Update
from geventjob.traceparent import HEADER, INCOMING

CHECKS = 3
"""Most checks of one edit whether the queue still has the entries and claims that the jobs name."""

CONSUMED = FINAL - {"STOPPED"}
"""States whose writer consumes the entry."""

ENGINE_SETS = frozenset({*OWNED, "affectedResources"})
"""Attributes that SlipStream's executors write."""

VOLATILE = frozenset({"state", "progress", "statusMessage"})
"""Attributes that an owner may set without a wait for the disk, as long as the job is RUNNING."""

Outcome = Union[Document, Exception]
Add = Callable[[Sequence[Mapping[str, Any]], Caller], list[Union[str, Exception]]]
Gone = Union[str, "tuple[str | None, int | None]"]
"""An entry that is not in the queue any more, or an entry and the fence of an owner that does not hold it any more."""


class Jobs:
    """The jobs of a server. Each method acts in the name of a caller."""

    def __init__(
        self,
        store: Store,
        coordination: Coordination,
        rights: Rights | None = None,
        promoter: Promoter | None = None,
        max_retries: int = MOST_RETRIES,
        around: Callable[[Add], Add] | None = None,
    ) -> None:
        """Serve jobs of this store and queue.

        `rights`: the actions of submitters; None: submitters add no jobs. `promoter`: the promoter of this server, for
        held jobs; None: the promoter of another server. `max_retries`: the most retries of any job. `around`:
        makes the function of adds into one that traces them too; None: adds are not traced.
        """
        self._max_retries = max_retries
        self._store = store
        self._coordination = coordination
        self._promoter = promoter or Promoter(store, coordination)
        self._adder = JobAdder(store, coordination, rights or Rights(), self._promoter)
        self._add: Add = around(self._adder.add) if around else self._adder.add
        self._unique = self._adder.unique
        self._attachments = Attachments(store)
        self._writers = RecentWriters()
        self.queue_refuses = self._adder.queue_refuses

    def add(self, bodies: Sequence[Mapping[str, Any]], caller: Caller) -> list[str | Exception]:
        """Add jobs from validated bodies, as `JobAdder.add` does. A job without a trace gets that of the request."""
        self._writers.note(caller)
        trace = INCOMING.get()
        results = self._add([{HEADER: trace, **body} for body in bodies] if trace else bodies, caller)
        log_turn("added", [result for result in results if isinstance(result, str)], caller)
        return results

    def open_batch(self, callback: Mapping[str, Any], when_failed: str, caller: Caller) -> str:
        """Add the callback of a new batch, from a validated body, and return its id. Raises the errors of an add."""
        (added,) = self.add([{**callback, OPTIONS: {"whenFailed": when_failed}}], caller)
        if isinstance(added, Exception):
            raise added
        return added

    def close_batch(self, id: str, caller: Caller) -> Document:
        """Close a batch: its callback, which is returned, runs when all its jobs have ended.

        Raises Problem 403, 404, 409 for a job that is no callback; StoreAway.
        """
        self._writers.note(caller)
        moment = now()

        def change(job: Document) -> Document:
            caller.require_right(MODIFY, job)
            if BATCH not in job:
                raise Problem(409, f"{id} is no callback of a batch", resource_id=id)
            return closed(job, moment)

        job = self._write(id, change, caller)
        assert job is not None
        self._promoter.expect([job])
        return job

    def get(self, id: str, caller: Caller) -> Document:
        """Return the job. Raises Problem 403, 404, StoreAway."""
        return self._visible(id, caller, VIEW)

    def log(self, id: str, caller: Caller) -> Document:
        """Return the state of the job and the attempts of its log. Raises Problem 403, 404, StoreAway."""
        job = self._visible(id, caller, VIEW)
        return {"id": id, "state": job["state"], "attempts": shown(self._attachments.log(job))}

    def record(self, id: str, caller: Caller) -> Document:
        """Return the state of the job and the records of its runs. Raises Problem 403, 404, StoreAway."""
        job = self._visible(id, caller, VIEW)
        return {"id": id, "state": job["state"], "records": shown_records(self._attachments.log(job))}

    def stack(self, id: str, caller: Caller) -> Document:
        """Ask for the stack of a running job, which becomes a record. Raises Problem 403, 404, 409; StoreAway."""
        return ask_for_stack(self._coordination, self._visible(id, caller, MODIFY))

    def search(self, query: Query, caller: Caller, *, fresh: bool = False) -> Page:
        """Return a page of jobs, in which the caller's own writes are seen; with `fresh` those of all callers.

        Raises StoreAway, FilterError.
        """
        return self._store.search("job", replace(query, fresh=fresh or self._writers.wrote(caller)))

    def _visible(self, id: str, caller: Caller, rights: frozenset[str]) -> Document:
        """Return the job, on which the caller needs one of these rights. Raises Problem 403, 404, StoreAway."""
        self._adder.settle([id])
        (job,) = self._store.get([id])
        return caller.require_visible(id, job, rights)

    # --- edit

    def edit(self, changes: Sequence[JobEdit], caller: Caller) -> list[Outcome]:
        """Edit jobs in one commit. Return each job after its edit, or the error."""
        self._writers.note(caller)
        self._adder.settle([change.id for change in changes])
        gone: set[Gone] = set()
        outcomes = self._edit(changes, caller, gone)
        for _ in range(CHECKS):
            again = self._superseded(outcomes, gone)
            if not again:
                break
            for index, outcome in zip(again, self._edit([changes[i] for i in again], caller, gone), strict=True):
                outcomes[index] = outcome
        made = [job for job in outcomes if isinstance(job, dict)]
        self._promoter.expect([job for job in made if "held" in job])
        refused = [outcome.job for outcome in outcomes if isinstance(outcome, Refusal)]  # perhaps held for a pause
        self._promoter.ended([job for job in (*made, *refused) if has_left(job) and WAITERS not in job])
        self._unique.free(made)
        outcomes = self._attachments.keep(changes, outcomes)
        self._clear_queue([outcome for change, outcome in zip(changes, outcomes, strict=True) if _is_foreign(change)])
        return outcomes

    def _edit(self, changes: Sequence[JobEdit], caller: Caller, gone: Collection[Gone]) -> list[Outcome]:
        """Edit jobs in one commit, with the entries and owners that are known to be gone.

        Jobs that wait on one of these go on once others see the end, before the disk has the end: a power loss that
        undoes the end undoes all later writes too.
        """
        moment, gone, rules = now(), frozenset(gone), self._promoter.rules()
        awaited: list[Document] = []

        def change(edit: Edit) -> Callable[[Document], Document]:
            def apply(job: Document) -> Document:
                caller.require_right(MODIFY, job)
                allowed = permitted(caller, job, edit)
                entry = entry_of(job)
                owner_gone = (entry, job.get("fence")) in gone
                after = edited(
                    job,
                    allowed,
                    now=moment,
                    other_entry_gone=entry in gone,
                    owner_gone=owner_gone,
                    max_retries=self._max_retries,
                )
                after = marked(unless_paused(job, after, rules, moment), allowed)
                if WAITERS in after and has_left(after):
                    awaited.append(after)
                return after

            return apply

        updates = [Update(c.id, change(c.edit), _is_durable(c.edit)) for c in changes]
        results = self._store.write(updates, seen=lambda: self._promoter.ended(awaited))
        return [_outcome(result, change.edit, caller) for result, change in zip(results, changes, strict=True)]

    def _superseded(self, outcomes: list[Outcome], gone: set[Gone]) -> list[int]:
        """Return the indexes of edits that were refused for an entry or owner that is gone; add these to `gone`."""
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
        gone.update(each for each in found if each is not None)
        return [index for index, each in zip((*differing, *held), found, strict=True) if each is not None]

    def _entries_gone(self, refused: Sequence[EntryDiffers]) -> list[Gone | None]:
        """Return the entries that jobs name and the queue lacks, where the queue has the entry that was sent."""
        named = self._coordination.jobs([outcome.entry for outcome in refused])
        sent = self._coordination.jobs([outcome.sent for outcome in refused])
        return [
            outcome.entry if new == outcome.job["id"] != old else None
            for outcome, old, new in zip(refused, named, sent, strict=True)
        ]

    def _owners_gone(self, refused: Sequence[OwnerHolds]) -> list[Gone | None]:
        """Return the entry and the fence of each owner that does not hold the entry any more."""
        holders = self._coordination.holders([outcome.entry for outcome in refused])
        return [
            (outcome.entry, outcome.fence) if holder != outcome.executor else None
            for outcome, holder in zip(refused, holders, strict=True)
        ]

    def _clear_queue(self, outcomes: Sequence[Outcome]) -> None:
        """Remove the entries of jobs that edits of other engines made final, or met in a final state or held."""
        made = [job for job in outcomes if isinstance(job, dict) and job["state"] in FINAL]
        met = [refusal.job for refusal in outcomes if isinstance(refusal, Refusal) and _may_not_run(refusal)]
        remove(self._coordination, entries_of(made))
        discard(self._coordination, met)

    # --- stop

    def stop(self, id: str, caller: Caller) -> Document:
        """Stop a job, and return it. Of many stops one sends a message to the executor, if it holds the entry.

        Raises Problem 403, 404; CoordinationAway: the job is STOPPING, but its executor was not told.
        """
        self._writers.note(caller)
        moment, teller = now(), uuid4().hex

        def change(job: Document) -> Document:
            caller.require_right(MODIFY, job)
            return stopped(job, now=moment, teller=teller)

        job = self._write(id, change, caller)
        assert job is not None
        if job["state"] in ("STOPPED", "STOPPING"):
            log_turn("stopped", [id], caller)
        if job["state"] == "STOPPED":
            remove(self._coordination, entries_of([job]))
            self._promoter.ended([job])
            self._unique.free([job])
        elif tells(job, teller):
            self._tell(job, teller)
        return job

    def _tell(self, job: Document, teller: str) -> None:
        """Send the stop to the executor of the job. Raises CoordinationError, after which another stop may tell."""
        try:
            (holder,) = self._coordination.holders(entries_of([job]))
            if holder == job["executor"]:
                self._coordination.send(job["executor"], {"stop": job["id"], "fence": job["fence"]})
        except CoordinationError:
            self._store.write([Update(job["id"], lambda job: untold(job, teller))])
            raise

    def release(self, id: str, caller: Caller) -> Document:
        """Put a held job into the queue now, and return it. A job that is not held stays as it is.

        Raises Problem 403, 404, StoreAway.
        """
        self._writers.note(caller)
        moment = now()

        def change(job: Document) -> Document:
            caller.require_right(MODIFY, job)
            return released(job, moment)

        job = self._write(id, change, caller)
        assert job is not None
        self._promoter.expect([job])
        log_turn("released", [id], caller)
        return job

    def rerun(self, id: str, caller: Caller) -> str:
        """Add a copy of a job that has ended, and return its id.

        Raises Problem 403, 404, 409 for a job that has not ended; StoreAway, CoordinationAway.
        """
        old = self._visible(id, caller, VIEW)
        if old["state"] not in FINAL:
            message = f"{id} is {old['state']}: only a job that has ended can be run again"
            raise Problem(409, message, resource_id=id, reason="transition")
        (added,) = self.add([like(old)], caller)
        if isinstance(added, Exception):
            raise added
        return added

    def why(self, id: str, caller: Caller) -> Document:
        """Return a sentence about the state of the job, and the facts behind it. Raises Problem 403, 404, StoreAway."""
        job = self.get(id, caller)
        facts = Facts() if job["state"] in FINAL else gathered(self._coordination, job)
        turn = turn_of(self._store, self._promoter.rules(), job) if caller.sees_all else None
        facts = replace(facts, others=caller.sees_all, turn=turn)
        found = {"id": id, "state": job["state"], "why": explained(job, facts, now())}
        return {**found, **details(job, facts, whole=caller.sees_all)}

    # --- delete

    def delete(self, id: str, caller: Caller) -> None:
        """Delete a job, and its entry if no executor has taken it. Raises Problem 403, 404."""
        self._writers.note(caller)
        job = self._visible(id, caller, MODIFY)
        deleted = job

        def change(job: Document) -> None:
            nonlocal deleted
            caller.require_right(MODIFY, job)
            deleted = job

        self._write(id, change, caller)
        self._remove_entries([job])
        self._promoter.ended([deleted])
        log_turn("deleted", [id], caller)
        self._unique.free([deleted], deleted=True)
        if is_marked(deleted):
            self._attachments.delete([id])

    def delete_all(self, filter: Filter, limit: int, caller: Caller) -> list[str]:
        """Delete up to `limit` of the jobs that match, and their entries. Return the ids of the jobs."""
        self._writers.note(caller)
        deleted = self._store.delete("job", Query(filter=filter), limit)
        self._remove_entries(deleted)
        self._promoter.ended(deleted)
        log_turn("deleted", [job["id"] for job in deleted], caller)
        self._unique.free(deleted, deleted=True)
        self._attachments.delete([job["id"] for job in deleted if is_marked(job)])
        return [job["id"] for job in deleted]

    def _remove_entries(self, jobs: Sequence[Document]) -> None:
        """Remove the entries of these jobs, except where the writer of the state consumes the entry."""
        remove(self._coordination, entries_of([job for job in jobs if job["state"] not in CONSUMED]))

    def _write(self, id: str, change: Callable[[Document], Document | None], caller: Caller) -> Document | None:
        """Change one job in the store, and return it; None: deleted. Raises Problem 403, 404."""
        self._adder.settle([id])
        (result,) = self._store.write([Update(id, change)])
        if isinstance(result, NoSuchDocument):
            raise caller.missing(id)
        if isinstance(result, Exception):
            raise result
        return result


def _is_durable(edit: Edit) -> bool:
    """Return whether the edit must survive a power loss, which no claim survives: not a start, not a progress."""
    return edit.owner is None or edit.set.get("state", "RUNNING") != "RUNNING" or not VOLATILE.issuperset(edit.set)


def _is_foreign(change: JobEdit) -> bool:
    """Return whether another engine may have sent this edit: such edits have no owner, and set some of ENGINE_SETS."""
    return change.edit.owner is None and not ENGINE_SETS.isdisjoint(change.edit.set)


def _may_not_run(refusal: Refusal) -> bool:
    return refusal.reason == "final" or "held" in refusal.job


def _outcome(result: Document | Exception | None, edit: Edit, caller: Caller) -> Outcome:
    """Return the result of an edit as the caller may see it. A claim that began no attempt for a pause is refused."""
    assert result is not None
    if edit.set.get("state") == "RUNNING" and isinstance(result, dict) and "held" in result:
        return Refusal("entry", f"{result['id']} waits: {result['held']['detail']}", result)
    return caller.missing(str(result)) if isinstance(result, NoSuchDocument) else result
