"""The life of one job in an executor: from the claim to the outcome in the job and the end of its entry."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import gevent
from gevent.event import Event
from gevent.lock import Semaphore

from geventjob.cimi.document import Document
from geventjob.cimi.errors import Conflict, NotFound, Refused
from geventjob.clock import boottime
from geventjob.coordination.base import Claim
from geventjob.ends import JobLost
from geventjob.executor.claims import Claims
from geventjob.executor.context import Context
from geventjob.executor.ending import Ending, Lost, Raised, Stopped
from geventjob.executor.job import Job
from geventjob.executor.limits import Limits
from geventjob.executor.outcome import failed, outcome
from geventjob.executor.quarantine import SUSPICIOUS, Quarantine
from geventjob.executor.refusals import Refusals
from geventjob.executor.unknown import UnknownActions
from geventjob.executor.watch import Watch
from geventjob.executor.work import LAST_WRITE, Work
from geventjob.executor.writes import ClaimLost, OutOfPatience, Writes
from geventjob.plugins import Actions

log = logging.getLogger(__name__)

JOB_ID = re.compile(r"job/[A-Za-z0-9_-]{1,100}")


class Runner:
    """Runs claims, each in a greenlet of its own, for which a slot of the pool was acquired."""

    def __init__(
        self,
        context: Context,
        actions: Actions,
        limits: Limits,
        *,
        writes: Writes,
        claims: Claims,
        watch: Watch,
        slots: Semaphore,
        unknown: UnknownActions,
    ) -> None:
        self._context = context
        self._actions = actions
        self._limits = limits
        self._writes = writes
        self._claims = claims
        self._watch = watch
        self._slots = slots
        self._culprits = watch.culprits
        self._quarantine = Quarantine(slots, limits.suspects)
        self._refusals = Refusals(writes, claims, actions, unknown)
        self.works: set[Work] = set()
        """Every claim in hand."""
        self.idle = Event()
        """Set while there is none."""
        self.idle.set()

    def run(self, claim: Claim) -> None:
        """The whole way. Returns when the claim is consumed, released or lost, or its action abandoned."""
        work = Work(claim)
        self.works.add(work)
        self.idle.clear()
        self._guarded(work, self._live)

    def _live(self, work: Work) -> None:
        with suppress(ClaimLost):
            self._run(work)
        if work.attempt and work.claim.lost:
            self._writes.tell(work.claim, work.patience)

    def _run(self, work: Work) -> None:
        job = self._begin(work)
        if job:
            ending = self._act(work, job)
            if ending is not None:
                self._end(work, ending)

    def _guarded(self, work: Work, step: Callable[[Work], None]) -> None:
        """The last step of a work, whose claim may be lost at any moment."""
        try:
            step(work)
        except ClaimLost:
            pass
        except OutOfPatience:
            log.warning("%s: could not be given back in good order", work.claim.job)
        except Exception:  # a fault of ours: the job must not hang on it
            log.exception("%s: a fault of the executor", work.claim.job)
            self._claims.release(work.claim)
        finally:
            self._close(work)

    def stop(self, job_id: str) -> None:
        """Somebody asked that this job be stopped."""
        for work in self.works:
            if work.claim.job == job_id:
                work.stop = True
        self._watch.stop(job_id)

    def drain(self) -> None:
        """Begin no suspect any more; those that wait are given back."""
        self._quarantine.close()

    def give_up(self) -> None:
        """End everything that runs; each job is given back in good order."""
        for work in self.works:
            work.giving_up = True
        self._watch.lose({work.claim for work in self.works})

    def _close(self, work: Work) -> None:
        if work not in self.works:
            return  # it was abandoned, and its code has come to an end at last
        self.works.remove(work)
        if work.slot:
            self._slots.release()
        self._leave_quarantine(work)
        if not self.works:
            self.idle.set()

    def _leave_quarantine(self, work: Work) -> None:
        """Let the next suspect begin: whatever it does, this one is not interrupted by it any more."""
        if self._quarantine.leave(work.claim):
            self._claims.recall()

    # --- the beginning

    def _begin(self, work: Work) -> Document | None:
        """Have the job RUNNING; return it, or None where the claim has met its end."""
        claim = work.claim
        if not JOB_ID.fullmatch(claim.job):
            log.error("%s holds no job id but %.100r: removed", claim.entry, claim.job)
            self._claims.consume(claim)
            return None
        try:
            call = self._culprits.of(claim.job)
            most = 0 if call else min(SUSPICIOUS, self._limits.max_interruptions) - 1
            job = self._write_running(work, most)
            return job if job["state"] == "RUNNING" else self._begin_suspect(work, job, call)
        except OutOfPatience:
            self._claims.release(claim, work.patience)
        except Refused as refusal:
            self._refusals.settle(work, refusal)
        return None

    def _write_running(self, work: Work, max_interruptions: int | None = None, message: str = "") -> Document:
        """Write RUNNING; return the job, which still waits if it was interrupted more often than that.

        A 404 is asked again until the grace is over: the add may not be stored yet (DESIGN §5.6).
        """
        claim, patience = work.claim, work.patience or self._limits.cimi_patience
        change = {"state": "RUNNING", **({"statusMessage": message} if message else {})}
        work.attempt = True
        while True:
            try:
                job = self._writes.write(claim, change, patience, max_interruptions)
            except NotFound:
                if time.time() > claim.put_at + self._limits.not_found_grace or work.giving_up:
                    raise
            else:
                work.attempt = job["state"] == "RUNNING"
                return job
            with self._waiting(work):
                gevent.sleep(0.2)
                self._take_slot(work)

    def _begin_suspect(self, work: Work, job: Document, call: str) -> Document | None:
        """Begin a job that may be what kills executors, when there is a place for it (DESIGN §5.7).

        `call`: what is known to have held up its last executor; then nothing is to run beside it.
        """
        claim, interruptions = work.claim, job.get("interruptions", 0)
        message = f"held up its executor in {call}" if call else ""
        if interruptions >= self._limits.max_interruptions:
            last = message or job.get("statusMessage")
            self._write_end(work, failed(f"gave up: interrupted {interruptions} times" + (f"; {last}" if last else "")))
            self._culprits.forget(claim.job)
            return None
        if call:
            interruptions = max(interruptions, SUSPICIOUS)
        with self._waiting(work, keeps_slot=self._quarantine.enter(claim, interruptions)):
            if not work.slot:
                work.slot = self._quarantine.wait(claim, interruptions)
            if not work.slot or work.giving_up:
                self._claims.pass_on(claim, work.patience)
                return None
            self._wait_for_others(work, until_ended=bool(call))
        return self._write_running(work, message=message)

    @contextmanager
    def _waiting(self, work: Work, keeps_slot: bool = False) -> Iterator[None]:
        """Wait for something: a claim that waits holds no slot of the pool."""
        work.waiting = True
        if not keeps_slot:
            work.slot = False
            self._slots.release()
        yield
        work.waiting = False

    def _take_slot(self, work: Work) -> None:
        self._slots.acquire()
        work.slot = True

    def _wait_for_others(self, work: Work, until_ended: bool = False) -> None:
        """Wait for those that were taken with it, until they run or have ended: it may kill them at once."""
        others = [other for other in self.works if other is not work]
        until = boottime() + LAST_WRITE

        def there(other: Work) -> bool:
            return other in self.works and (other.beginning or (until_ended and not other.waiting))

        while boottime() < until and any(map(there, others)):
            gevent.sleep(0.01)

    # --- the action

    def _act(self, work: Work, document: Document) -> Ending | None:
        """Run the action; None if it was abandoned."""
        claim = work.claim
        spec = self._actions.get(document["action"])
        assert spec  # the server refuses RUNNING of an action that we did not name
        work.job = job = Job(document, lambda attributes: self._edit(work, attributes), self._context.client)
        if work.stop or work.giving_up:
            return Stopped() if work.stop else Lost()

        def abandoned(ending: Ending) -> None:
            self._guarded(work, lambda work: self._end(work, ending))

        return self._watch.run(
            lambda: spec.instance(self._context, job)(),  # noqa: PLW0108  (its constructor is the action's code too)
            claim=claim,
            job_id=job.id,
            action=spec.name,
            timeout=self._limits.timeout(document, spec),
            preempt=spec.preempt,
            abandoned=abandoned,
        )

    def _edit(self, work: Work, attributes: Document) -> Document:
        """An edit that the action makes. The answer may say that the job shall stop, or is not ours any more."""
        try:
            document = self._writes.write(work.claim, attributes)
        except ClaimLost:
            raise JobLost from None
        except (Conflict, NotFound) as refusal:
            work.refusal = refusal
            self._watch.lose([work.claim])
            raise
        if document.get("state") == "STOPPING":
            self.stop(work.claim.job)
        return document

    # --- the end

    def _end(self, work: Work, ending: Ending) -> None:
        """Write the outcome, then end the entry."""
        assert work.job
        work.job.revoke()
        if isinstance(ending, Raised):
            if isinstance(ending.error, JobLost):
                ending = Lost()
            else:
                log.error("the action of %s failed\n%s", work.claim.job, ending.trace)
        end = outcome(ending, work.job.get("returnCode", 0), work.job.said, work.job.end)
        if end:
            self._write_end(work, end)
        elif work.refusal:
            self._refusals.settle(work, work.refusal)
        elif work.giving_up:
            self._give_back(work)
        elif not work.claim.lost:
            self._write_end(work, failed("JobLost: raised by the action itself"))

    def _write_end(self, work: Work, end: Document) -> None:
        """Write a final state, then consume the entry: in this order, so that nothing is lost in between."""
        try:
            self._writes.write(work.claim, end, work.patience)
        except Refused as refusal:
            self._refusals.settle(work, refusal)
        else:
            work.attempt = False
            self._leave_quarantine(work)
            self._claims.consume(work.claim, work.patience)

    def _give_back(self, work: Work) -> None:
        """Write QUEUED, then release the claim: the job was not interrupted, it is only run elsewhere."""
        try:
            self._writes.write(work.claim, {"state": "QUEUED"}, work.patience)
        except Refused as refusal:
            self._refusals.settle(work, refusal)
        else:
            work.attempt = False
            self._leave_quarantine(work)
            self._claims.release(work.claim, work.patience)
