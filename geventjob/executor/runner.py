"""The life of one job in an executor: from the claim to the outcome in the job and the end of its entry."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from inspect import iscoroutine
from typing import Any

from gevent.event import Event
from gevent.lock import Semaphore
from greenlet import getcurrent

from geventjob.cimi.document import Document
from geventjob.cimi.errors import Conflict, NotFound, Refused
from geventjob.coordination.base import Claim
from geventjob.ends import JobLost
from geventjob.executor.claims import HeldClaims
from geventjob.executor.context import ExecutorContext
from geventjob.executor.decide import Decider
from geventjob.executor.ending import Ending, Lost, Stopped
from geventjob.executor.finish import Finisher
from geventjob.executor.hooks import Hooks
from geventjob.executor.job import Job, checked_report
from geventjob.executor.limits import JobLimits
from geventjob.executor.quarantine import Quarantine
from geventjob.executor.running import running_in
from geventjob.executor.start import Starter
from geventjob.executor.unknown import UnknownActions
from geventjob.executor.watch import Watch
from geventjob.executor.work import LAST_WRITE, Work
from geventjob.executor.workers.pool import Workers
from geventjob.executor.workers.run import ApartRun
from geventjob.executor.writes import ClaimLost, OutOfPatience, Writes
from geventjob.plugins import Actions

log = logging.getLogger(__name__)

ENDS = 4
"""One outcome for so many slots may be on its way without a slot. With as many outcomes as slots, an executor of 1,000
slots keeps them as busy and takes 8 MiB more (docs/performance.md). An executor of fewer slots has no claim beyond
them, which an idle executor could take."""


class Runner:
    """Runs claims, each in a greenlet of its own, for which a slot of the pool was acquired."""

    def __init__(
        self,
        context: ExecutorContext,
        actions: Actions,
        limits: JobLimits,
        *,
        writes: Writes,
        claims: HeldClaims,
        watch: Watch,
        slots: Semaphore,
        unknown: UnknownActions,
        hooks: Hooks,
        workers: Workers | None = None,
    ) -> None:
        """`workers`: the processes of actions that ask for one; None: these run in greenlets too."""
        self._context = context
        self._actions = actions
        self._limits = limits
        self._writes = writes
        self._claims = claims
        self._watch = watch
        self._slots = slots
        self._ends = Semaphore(slots.counter // ENDS)
        self._hooks = hooks
        self._workers = workers
        self._quarantine = Quarantine(slots, limits.suspects)
        self._decider = Decider(actions, unknown)
        self._finisher = Finisher(writes, claims, self._decider, self._quarantine)
        self._starter = Starter(
            limits,
            writes=writes,
            finisher=self._finisher,
            quarantine=self._quarantine,
            culprits=watch.culprits,
            slots=slots,
            works=lambda: self.works,
        )
        self.works: set[Work] = set()
        """Every claim in hand."""
        self.idle = Event()
        """Set while no claim is in hand."""
        self.idle.set()

    def run(self, claim: Claim) -> None:
        """Run the claim's job. Return when the claim is consumed, released or lost, or its action abandoned."""
        work = Work(claim)
        self.works.add(work)
        self.idle.clear()
        self._guarded(work, self._live)

    def _live(self, work: Work) -> None:
        with suppress(ClaimLost):
            self._run(work)
        if work.attempt and work.claim.lost:
            self._writes.report_end(work.claim, work.patience, {"record": work.record} if work.record else {})

    def _run(self, work: Work) -> None:
        document = self._starter.start(work)
        if document:
            work.job = Job(document, lambda attributes: self._edit(work, attributes), self._context.client)
            self._hooks.start(work)
            ending = self._act(work, work.job)
            if ending is not None:
                self._end(work, ending)

    def _guarded(self, work: Work, step: Callable[[Work], None]) -> None:
        """Take the last step of a claim, which may be lost at any moment, and close its work."""
        try:
            step(work)
        except ClaimLost:
            pass
        except OutOfPatience:
            log.warning("%s: its end could not be written in time", work.claim.job)
        except Exception:  # a fault of the engine must not leave the job without an end
            log.exception("%s: a fault of the executor", work.claim.job)
            self._claims.release(work.claim)
        finally:
            self._close(work)

    def _close(self, work: Work) -> None:
        if work not in self.works:
            return  # abandoned earlier; only now its code has come to an end
        self.works.remove(work)
        work.job = work.running = None  # they refer to the work: a cycle would be left to the garbage collector
        if work.slot:
            self._slots.release()
        if work.ends:
            self._ends.release()
        self._finisher.leave_quarantine(work)
        if not self.works:
            self.idle.set()

    # --- from other greenlets

    def stop(self, job_id: str) -> None:
        """Stop a job on request; does nothing for a job that is not in hand."""
        for work in self.works:
            if work.claim.job == job_id:
                work.stop = True
        self._watch.stop(job_id)

    def answer(self, job_id: str, make: Callable[[Work], dict[str, Any]]) -> None:
        """Write the record that `make` returns of a running job; does nothing for a job whose action does not run."""
        for work in list(self.works):
            if work.claim.job == job_id and work.running:
                with suppress(ClaimLost, OutOfPatience, Refused):
                    self._writes.write(work.claim, {}, LAST_WRITE, {"record": make(work)})

    def drain(self) -> None:
        """Begin no more suspects, and give back the suspects that wait."""
        self._quarantine.close()

    def give_up(self) -> None:
        """End everything that runs, and release each job."""
        for work in self.works:
            work.giving_up = True
        self._watch.lose({work.claim for work in self.works})

    # --- the action

    def _act(self, work: Work, job: Job) -> Ending | None:
        """Run the action and return how its code ended; None if the code was abandoned."""
        spec = self._actions.get(job["action"])
        assert spec  # the server refuses RUNNING for an action that the executor did not name
        if work.stop or work.giving_up:
            return Stopped() if work.stop else Lost()

        def abandoned(ending: Ending) -> None:
            self._guarded(work, lambda work: self._end(work, ending))

        def code() -> Any:
            work.running = running_in(getcurrent())
            if spec.isolation and self._workers:
                assert work.running
                return ApartRun(self._workers, spec, job, work.running, self._watch.register.limit).value()
            value = spec.instance(self._context, job)()  # its constructor is the action's code too
            if iscoroutine(value):
                value = self._watch.complete(value)
            return checked_report("output", value) if type(value) in (dict, list) else value

        return self._watch.run(
            code,
            claim=work.claim,
            job_id=job.id,
            action=spec.name,
            timeout=self._limits.timeout(job, spec),
            preempt=spec.preempt,
            abandoned=abandoned,
        )

    def _edit(self, work: Work, attributes: Document) -> Document:
        """Write an edit that the action makes; end the action if the answer says that the job is lost or stopping."""
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

    def _end(self, work: Work, ending: Ending) -> None:
        """Decide about the run, tell the hooks, and carry the decision out.

        The slot is free for another job meanwhile, unless the executor has few slots or many outcomes on their way.
        """
        assert work.job
        work.job.revoke()
        decision = self._decider.after_run(work, ending)
        self._hooks.end(work, decision)
        if work.slot and self._ends.acquire(blocking=False):
            work.ends, work.slot = True, False
            self._slots.release()
        self._finisher.finish(work, decision)
