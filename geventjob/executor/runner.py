"""The life of one job in an executor: from the claim to the outcome in the job and the end of its entry."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import gevent
from gevent.event import Event
from gevent.lock import Semaphore

from geventjob.cimi.errors import CimiError, Conflict, Forbidden, NotFound, Refused
from geventjob.clock import boottime
from geventjob.coordination.base import Claim
from geventjob.ends import JobLost
from geventjob.executor.claims import Claims
from geventjob.executor.context import Context
from geventjob.executor.ending import Ending, Lost, Raised, Stopped
from geventjob.executor.job import Job
from geventjob.executor.limits import Limits
from geventjob.executor.outcome import failed, outcome
from geventjob.executor.unknown import UnknownActions, describe
from geventjob.executor.watch import Watch
from geventjob.executor.writes import ClaimLost, Document, OutOfPatience, Writes
from geventjob.plugins import Actions

log = logging.getLogger(__name__)

JOB_ID = re.compile(r"job/[A-Za-z0-9_-]{1,100}")
LAST_WRITE = 10.0
"""Seconds that each write may take while the executor shuts down (DESIGN §5.10)."""
SUSPICIOUS = 2
"""Interruptions from which on a job is kept apart from others like it (DESIGN §5.7)."""


@dataclass(eq=False)
class Work:
    """One claim in hand."""

    claim: Claim
    job: Job | None = None
    """From the moment that it is RUNNING here."""
    interruptions: int = 0
    decided: bool = False
    """It may run, though it was interrupted before."""
    absent: bool = False
    """The server does not know it yet: it is asked again."""
    stop: bool = False
    """It was asked to stop."""
    giving_up: bool = False
    """The executor shuts down and waits no longer."""
    refusal: Refused | None = None
    """The server's word that it is not ours any more."""

    @property
    def beginning(self) -> bool:
        """It may be RUNNING for the server, and its action has not begun."""
        return not (self.job or self.decided or self.absent)

    @property
    def patience(self) -> float | None:
        return LAST_WRITE if self.giving_up else None


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
        self._unknown = unknown
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
        job = self._begin(work)
        if job and self._may_run(work, job):
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

    def give_up(self) -> None:
        """End everything that runs; each job is given back in good order."""
        for work in self.works:
            work.giving_up = True
        self._watch.lose({work.claim for work in self.works})

    def _close(self, work: Work) -> None:
        if work not in self.works:
            return  # it was abandoned, and its code has come to an end at last
        self.works.remove(work)
        self._slots.release()
        if work.decided:
            self._claims.room_for_a_suspect()
        if not self.works:
            self.idle.set()

    # --- the beginning

    def _begin(self, work: Work) -> Document | None:
        """Write RUNNING; the job, or None where the claim has met its end."""
        claim = work.claim
        if not JOB_ID.fullmatch(claim.job):
            log.error("%s holds no job id but %.100r: removed", claim.entry, claim.job)
            self._claims.consume(claim)
            return None
        if self._beside_a_suspect(work):
            self._claims.leave_alone(claim, suspect=True)
            return None
        try:
            return self._running(work)
        except OutOfPatience:
            self._claims.release(claim, work.patience)
        except Refused as refusal:
            self._settle(work, refusal)
        return None

    def _running(self, work: Work) -> Document:
        """A 404 is asked again until the grace is over: the add may not be stored yet (DESIGN §5.6)."""
        claim = work.claim
        while True:
            try:
                return self._writes.write(claim, {"state": "RUNNING"}, work.patience or self._limits.cimi_patience)
            except NotFound:
                if time.time() > claim.put_at + self._limits.not_found_grace or work.giving_up:
                    raise
            work.absent = True
            self._slots.release()  # what waits holds no slot
            gevent.sleep(0.2)
            self._slots.acquire()
            work.absent = False

    def _may_run(self, work: Work, job: Document) -> bool:
        """Whether the job is not suspected of killing executors, or may run here all the same (DESIGN §5.7)."""
        work.interruptions = interruptions = job.get("interruptions", 0)
        if interruptions >= self._limits.max_interruptions:
            self._write_end(work, failed(f"gave up: interrupted {interruptions} times"))
            return False
        if interruptions < SUSPICIOUS:
            return True
        if self._room_for(work):
            work.decided = True
            self._wait_for_others(work)
            return True
        self._give_back(work)
        self._claims.leave_alone(work.claim, suspect=True)
        return False

    def _beside_a_suspect(self, work: Work) -> bool:
        """Whether this is one suspect too many: found out before RUNNING is written, since one may die in between."""
        if not any(other.decided for other in self.works):
            return False
        try:
            job = self._context.client.get(work.claim.job)
        except CimiError:
            return False
        work.interruptions = job.get("interruptions", 0) + (job["state"] == "RUNNING")
        return not self._room_for(work)

    def _room_for(self, work: Work) -> bool:
        """Whether not too many run already that were interrupted twice or more often, and thrice, and so on."""
        suspects = [other.interruptions for other in self.works if other.decided]
        return all(
            sum(interruptions >= level for interruptions in suspects) < self._limits.suspects(level)
            for level in range(SUSPICIOUS, work.interruptions + 1)
        )

    def _wait_for_others(self, work: Work) -> None:
        """Until those that were taken with it run, or are given back: it may kill them with its first instruction."""
        others = [other for other in self.works if other is not work]
        until = boottime() + LAST_WRITE
        while boottime() < until and any(other.beginning and other in self.works for other in others):
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
                log.error("the action of %s failed", work.claim.job, exc_info=ending.error)
        end = outcome(ending, work.job.get("returnCode", 0), work.job.said)
        if end:
            self._write_end(work, end)
        elif work.refusal:
            self._settle(work, work.refusal)
        elif work.giving_up:
            self._give_back(work)
            self._claims.release(work.claim, work.patience)
        elif not work.claim.lost:
            self._write_end(work, failed("JobLost: raised by the action itself"))

    def _write_end(self, work: Work, end: Document) -> None:
        """A final state, then the entry is consumed: in this order, so that nothing is lost in between."""
        try:
            self._writes.write(work.claim, end, work.patience)
        except Refused as refusal:
            self._settle(work, refusal)
        else:
            self._claims.consume(work.claim, work.patience)

    def _give_back(self, work: Work) -> None:
        """Write QUEUED: the job was not interrupted, it is only run elsewhere."""
        try:
            self._writes.write(work.claim, {"state": "QUEUED"}, work.patience)
        except Refused as refusal:
            self._settle(work, refusal)

    # --- the server says no

    def _settle(self, work: Work, refusal: Refused) -> None:
        """What each refusal asks of the one who holds the claim (DESIGN §3, the table of reasons, and §5.6)."""
        claim = work.claim
        stopping = isinstance(refusal, Conflict) and (refusal.job or {}).get("state") == "STOPPING"
        if stopping or (isinstance(refusal, Conflict) and refusal.reason == "stopping"):
            self._finish(work, {"state": "STOPPED"})
        elif isinstance(refusal, Forbidden):
            log.error("%s: the server forbids us to work on it: %s", claim.job, refusal)
            self._claims.leave_alone(claim)
        elif isinstance(refusal, NotFound):
            log.warning("%s does not exist (any more): its entry is removed", claim.job)
            self._claims.consume(claim, work.patience)
        elif isinstance(refusal, Conflict):
            self._settle_conflict(work, refusal)
        else:
            log.error("%s: the server refused it: %s", claim.job, refusal)
            self._finish(work, failed(refusal.message))

    def _settle_conflict(self, work: Work, conflict: Conflict) -> None:
        claim = work.claim
        if conflict.reason == "action":
            self._unknown_action(work, str((conflict.job or {}).get("action")))
        elif conflict.reason == "fence":
            log.warning("%s belongs to somebody else: %s", claim.job, conflict)
            self._claims.release(claim, work.patience)
        else:
            if conflict.reason not in ("final", "entry"):
                log.error("%s: %s", claim.job, conflict)
            self._claims.consume(claim, work.patience)

    def _unknown_action(self, work: Work, action: str) -> None:
        if not self._unknown.hopeless(action):
            self._claims.leave_alone(work.claim)
            return
        log.error("%s: no executor knows the action %r", work.claim.job, action)
        self._finish(work, failed(describe(action, self._actions)))

    def _finish(self, work: Work, end: Document) -> None:
        """The last thing to say of a job that does not run here; whatever the answer, the entry has served."""
        try:
            self._writes.write(work.claim, end, work.patience)
        except Refused as refusal:
            log.error("%s: its end cannot be written: %s", work.claim.job, refusal)
        self._claims.consume(work.claim, work.patience)
