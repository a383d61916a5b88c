"""Actions that record each step of each run in the file that the payload names (tests/campaign/record.py)."""

import json
import logging
import os
import time
from typing import Any

from geventjob import Backoff, JobLost, JobStopped, action

log = logging.getLogger(__name__)
STEP = 0.2
AGAIN = Backoff(first=0.1, longest=0.5)


class Run:
    """One run of a job: its lines carry job, attempt, fencing token, executor and process."""

    def __init__(self, job: Any) -> None:
        self.job = job

    def note(self, what: str, at: float, **more: Any) -> None:
        """Append a line about what happened, or began, at a time."""
        who = {"job": self.job.id, "attempt": self.job.attempt, "fence": self.job["fence"]}
        where = {"executor": self.job["executor"], "pid": os.getpid()}
        line = {"at": at, "wall": time.time(), "what": what, **who, **where, **more}
        with open(self.job.payload["record"], "ab", buffering=0) as record:
            record.write((json.dumps(line) + "\n").encode())

    def work(self) -> None:
        """Beat until the time is over; each second beat is written through the job, and noted once it was accepted."""
        end = time.monotonic() + self.job.payload["seconds"]
        step = 0
        while (now := time.monotonic()) < end:
            self.note("beat", now)
            if step % 2 == 0:
                log.info("attempt %d at %.6f", self.job.attempt, now)
                now = time.monotonic()
                self.job.set_checkpoint({"attempt": self.job.attempt, "step": step})
                self.note("wrote", now)
            step += 1
            wait(self.job.payload.get("computes", False))

    def run(self) -> dict[str, int]:
        """Work, and fail as often as the payload asks."""
        left = (self.job.checkpoint or {}).get("attempt", 0)
        self.note("begin", time.monotonic(), checkpoint=left)
        try:
            self.work()
        except JobStopped:
            self.note("stopped", time.monotonic())
            raise
        except JobLost:
            self.note("lost", time.monotonic())
            raise
        if self.job.get("retried", 0) < self.job.payload.get("fail", 0):
            self.note("failed", time.monotonic())
            raise OSError(f"run {self.job.attempt} was to fail")
        self.note("end", time.monotonic())
        return {"attempt": self.job.attempt}


def wait(computes: bool) -> None:
    """Sleep for a step, or compute for a fifth of a step and sleep for the rest."""
    end = time.monotonic() + STEP / 5
    while computes and time.monotonic() < end:
        pass
    time.sleep(STEP * 4 / 5 if computes else STEP)


@action("recorded", retries=0, backoff=AGAIN)
def recorded(job: Any) -> dict[str, int]:
    return Run(job).run()


@action("limited", retries=0, backoff=AGAIN)
def limited(job: Any) -> dict[str, int]:
    """Run likewise: limits bound this action."""
    return Run(job).run()


@action("apart", isolation="process", retries=0, backoff=AGAIN)
def apart(job: Any) -> dict[str, int]:
    """Run likewise, in a process of its own."""
    return Run(job).run()


@action("ticked")
def ticked(job: Any) -> None:
    """Do nothing: the jobs of ticks count by their number."""
