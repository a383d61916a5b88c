"""The beginning of a claim: its job becomes RUNNING, at once or, for a suspect, when there is a place for it."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import gevent
from gevent.lock import Semaphore

from geventjob.cimi.document import Document
from geventjob.cimi.errors import NotFound, Refused
from geventjob.clock import boottime
from geventjob.executor.culprits import Culprits
from geventjob.executor.decide import after_interruptions
from geventjob.executor.decision import Discard, GiveBack, To
from geventjob.executor.finish import Finisher
from geventjob.executor.limits import JobLimits
from geventjob.executor.quarantine import SUSPICIOUS, Quarantine
from geventjob.executor.work import LAST_WRITE, Work
from geventjob.executor.writes import OutOfPatience, Writes

log = logging.getLogger(__name__)

JOB_ID = re.compile(r"job/[A-Za-z0-9_-]{1,100}")
ADD_RETRY = 0.2
"""Seconds between two writes to a job that does not exist (yet)."""


class Starter:
    """Starts the jobs of claims, and ends the claims whose jobs may not run."""

    def __init__(
        self,
        limits: JobLimits,
        *,
        writes: Writes,
        finisher: Finisher,
        quarantine: Quarantine,
        culprits: Culprits,
        slots: Semaphore,
        works: Callable[[], Collection[Work]],
    ) -> None:
        """Start nothing yet. `works()` returns every claim in hand."""
        self._limits = limits
        self._writes = writes
        self._finisher = finisher
        self._quarantine = quarantine
        self._culprits = culprits
        self._slots = slots
        self._works = works

    def start(self, work: Work) -> Document | None:
        """Write RUNNING and return the job; return None if the job may not run here, after its claim was ended.

        Raises ClaimLost, OutOfPatience.
        """
        claim = work.claim
        if not JOB_ID.fullmatch(claim.job):
            log.error("%s is removed: it holds %.100r, which is no job id", claim.entry, claim.job)
            self._finisher.finish(work, Discard())
            return None
        try:
            call = self._culprits.of(claim.job)
            most = 0 if call else min(SUSPICIOUS, self._limits.max_interruptions) - 1
            job = self._write_running(work, most)
            return job if job["state"] == "RUNNING" else self._start_suspect(work, job, call)
        except OutOfPatience:
            self._finisher.finish(work, GiveBack())
        except Refused as refusal:
            self._finisher.settle(work, refusal)
        return None

    def _write_running(self, work: Work, max_interruptions: int | None = None, message: str = "") -> Document:
        """Write RUNNING and return the job, which is still QUEUED if it had more than `max_interruptions`.

        A job that is not found is written again until the grace is over: the add may not be stored yet.
        """
        claim, patience = work.claim, work.patience or self._limits.cimi_patience
        change = {"state": "RUNNING", **({"statusMessage": message} if message else {})}
        beside = {} if max_interruptions is None else {"maxInterruptions": max_interruptions}
        work.attempt = True
        while True:
            try:
                job = self._writes.write(claim, change, patience, beside)
            except NotFound:
                if time.time() > claim.put_at + self._limits.not_found_grace or work.giving_up:
                    raise
            else:
                work.attempt = job["state"] == "RUNNING"
                return job
            with self._waiting(work):
                gevent.sleep(ADD_RETRY)
                self._take_slot(work)

    def _start_suspect(self, work: Work, job: Document, call: str) -> Document | None:
        """Start a job that may kill its executor, once there is a place for the job.

        `call` is the noted call in which the job held up its last executor, or empty. Such a job starts when the jobs
        in hand have ended, or after LAST_WRITE seconds.
        """
        claim, interruptions = work.claim, job.get("interruptions", 0)
        message = f"held up its executor in {call}" if call else ""
        if interruptions >= self._limits.max_interruptions:
            self._finisher.finish(work, after_interruptions(interruptions, message or job.get("statusMessage")))
            self._culprits.forget(claim.job)
            return None
        if call:
            interruptions = max(interruptions, SUSPICIOUS)
        with self._waiting(work, keeps_slot=self._quarantine.enter(claim, interruptions)):
            if not work.slot:
                work.slot = self._quarantine.wait(claim, interruptions)
            if not work.slot or work.giving_up:
                self._finisher.finish(work, GiveBack(To.OTHERS_FIRST))
                return None
            self._wait_for_others(work, until_ended=bool(call))
        return self._write_running(work, message=message)

    @contextmanager
    def _waiting(self, work: Work, keeps_slot: bool = False) -> Iterator[None]:
        """Mark a claim as waiting, and free its slot of the pool meanwhile unless it keeps the slot."""
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
        """Wait until the claims in hand have begun to run, or have ended: the suspect may kill all of them at once."""
        others = [other for other in self._works() if other is not work]
        until = boottime() + LAST_WRITE

        def there(other: Work) -> bool:
            return other in self._works() and (other.beginning or (until_ended and not other.waiting))

        while boottime() < until and any(map(there, others)):
            gevent.sleep(0.01)
