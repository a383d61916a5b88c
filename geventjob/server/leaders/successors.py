"""Jobs that come after others wait on one predecessor at a time, until all are over (docs/architecture.md, "The gate").

The end of an add may meet the end of a predecessor. So the job is stored first, then the predecessor is marked with the
job in a write whose result tells whether the predecessor is over: either the mark comes before the end, whose writer
then tells the promoter, or the look comes after the end. Whatever dies in between leaves a job that waits on a job that
is over, and the reconciler finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial

from geventjob.cimi.document import Document
from geventjob.clock import now
from geventjob.job.states import FINAL
from geventjob.server.accounts.acl import VIEW
from geventjob.server.accounts.caller import Caller
from geventjob.server.filter import Compare, Filter, Or
from geventjob.server.gate import after
from geventjob.server.gate.after import AFTER, Place
from geventjob.server.gate.gate import asked
from geventjob.server.gate.rules import Rules
from geventjob.server.gate.waiting import waiting_on
from geventjob.server.leaders.pages import pages
from geventjob.server.life.changes import changed
from geventjob.server.life.wait import hold
from geventjob.server.problem import Problem, invalid
from geventjob.server.store.base import NoSuchDocument, Store, Update

PAGE = 100
"""Most jobs that are read at once: each may have 256 KB of payload."""
FIRST_LOOK, GROWTH = 1, 4
"""Predecessors of a job that the first look reads, and the factor from one look to the next."""


class Successors:
    """The jobs of a store that come after others. Methods raise StoreError."""

    def __init__(self, store: Store, rules: Callable[[], Rules]) -> None:
        """`rules()`: the rules by which a job may have to wait once its predecessors are over."""
        self._store = store
        self._rules = rules
        self._over: dict[str, str] = {}
        """States of jobs that are over, from `waiting_for`: the next `release` does not read these jobs again."""

    # --- the add

    def begin(self, jobs: Sequence[Document], caller: Caller) -> list[Problem | None]:
        """Let new jobs wait, in place, if a predecessor is not over. Return the refusal of each job, or None.

        A predecessor that the caller may not see is refused like one that does not exist.
        """
        states: dict[str, str | None] = {}
        for job in self._read(id for new in jobs for id in after.predecessors(new)):
            if caller.may(VIEW, job):
                states[job["id"]] = job["state"]
        return [_begun(job, states) for job in jobs]

    def watch(self, jobs: Sequence[Document]) -> list[Document]:
        """Mark the predecessors on which these jobs wait, so that their ends release the jobs.

        Return the jobs whose predecessor is over already, or gone.
        """
        if not jobs:
            return []
        marks = [(job["held"]["on"], partial(after.awaited, waiter=job["id"])) for job in jobs]
        # A power loss that undoes a mark costs delay only: the reconciler looks.
        marked = written(self._store, [Update(on, mark, durable=False) for on, mark in marks])
        return [job for job, on in zip(jobs, marked, strict=True) if on is None or on["state"] in FINAL]

    # --- the end of a predecessor

    def waiting_for(self, ids: Iterable[str]) -> set[str]:
        """Return the ids of jobs that may wait on these jobs, of which those count that are over or gone."""
        ids = list(ids)
        found = {job["id"]: job for job in self._read(ids)}
        waiters: set[str] = set()
        for id in ids:
            job = found.get(id)
            if job is not None:
                if job["state"] not in FINAL:
                    continue
                self._over[id] = job["state"]
            known = None if job is None else after.known_waiters(job)
            if known is None:
                known = [waiter["id"] for page in waiting_on(self._store, id) for waiter in page]
            waiters.update(known)
        return waiters

    def waiting(self) -> Iterator[list[str]]:
        """Yield the ids of all jobs that wait on a job, or on a batch, page by page, with rests in between."""
        on_others: Filter = Or((Compare(("held", "why"), "=", after.WHY), Compare(("held", "why"), "=", "batch")))
        for page in pages(self._store, on_others, ("state",)):
            yield [job["id"] for job in page]

    def release(self, ids: Iterable[str]) -> list[Document]:
        """Look at the predecessors of these jobs again, and let the jobs go on. Return those that wait on none now.

        Such a job is due, waits by a rule, or is final, since a predecessor did not succeed.
        """
        moved: list[Document] = []
        jobs = [job for job in self._read(ids) if after.waits(job)]
        while jobs:
            step = partial(_stepped, rules=self._rules(), now=now())
            steps = [  # without a failure a step is found again, so that it need not wait for the disk
                Update(job["id"], partial(step, seen=job[AFTER], to=to), durable=to.failed is not None)
                for job, to in zip(jobs, self._places(jobs), strict=True)
            ]
            results = [job for job in written(self._store, steps) if job is not None]
            moved += [job for job in results if not after.waits(job)]
            jobs = self.watch([job for job in results if after.waits(job)])
        return moved

    def _places(self, jobs: Sequence[Document]) -> list[Place]:
        """Return how far each job has come. Reads no more predecessors than needed, by looks that grow."""
        states: dict[str, str | None] = dict(self._over)
        self._over.clear()
        look = FIRST_LOOK
        while True:
            places = [after.place(job, states) for job in jobs]
            unread = [after.predecessors(job)[place.at :] for job, place in zip(jobs, places, strict=True)]
            unknown = [id for ids in unread if ids and ids[0] not in states for id in ids[:look]]
            if not unknown:
                return places
            states.update(dict.fromkeys(unknown))
            states.update((job["id"], job["state"]) for job in self._read(unknown))
            look *= GROWTH

    # --- the store

    def _read(self, ids: Iterable[str]) -> Iterator[Document]:
        """Yield the jobs of these ids that exist, each once, in pages."""
        named = list(dict.fromkeys(ids))
        for first in range(0, len(named), PAGE):
            yield from (job for job in self._store.get(named[first : first + PAGE]) if job is not None)


def written(store: Store, updates: Sequence[Update]) -> list[Document | None]:
    """Change jobs, and return them; None for a job that was deleted. Raises StoreError."""
    found: list[Document | None] = []
    for result in store.write(updates):
        if isinstance(result, Exception) and not isinstance(result, NoSuchDocument):
            raise result
        found.append(result if isinstance(result, dict) else None)
    return found


def _begun(job: Document, states: after.States) -> Problem | None:
    """Let a new job wait, in place, on the first predecessor that is not over, or that decides about the job."""
    for id in after.predecessors(job):
        if id not in states:
            return invalid(f"after.jobs: {id} does not exist, or you may not see it")
    passing = FINAL if after.when_failed(job) == "run" else {"SUCCESS"}
    for at, id in enumerate(after.predecessors(job)):
        if states[id] not in passing:
            job[AFTER] = Place(at, None).stored()
            hold(job, after.wait_after(job))
            break
    return None


def _stepped(job: Document, seen: Document, to: Place, rules: Rules, now: datetime) -> Document:
    """Return the job that has come to this place; the very same document if the job has come further meanwhile."""
    if not after.waits(job) or job[AFTER] != seen or to.stored() == seen:
        return job
    if to.at < len(after.predecessors(job)):
        stepped = changed(job, {}, (), now) | {AFTER: to.stored()}
        hold(stepped, after.wait_after(stepped))
        return stepped
    rest = {name: value for name, value in job.items() if name != AFTER}
    if to.failed is None or after.when_failed(job) == "run":
        return asked(rest, rules, now)
    state = "STOPPED" if after.when_failed(job) == "stop" else "FAILED"
    return changed(rest, {"state": state, "statusMessage": f"{to.failed}, and this job comes after it"}, (), now)
