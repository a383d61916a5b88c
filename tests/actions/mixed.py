"""Actions of every outcome, for the tests that run thousands of jobs through real executors."""

import logging
import time
from typing import Any

import gevent

from geventjob import Action, JobLost, action

log = logging.getLogger("mixed")


def burn(seconds: float) -> Any:
    """Compute, without a switch."""
    end = time.monotonic() + seconds
    turns = 0
    while time.monotonic() < end:
        turns += 1
    return turns


@action("succeeds")
def succeeds(job: Any) -> None:
    time.sleep(job.payload.get("seconds", 0))


@action("answers")
class Answers(Action):
    """Returns what the payload says."""

    def do_work(self) -> Any:
        return self.job.payload["code"]


@action("raises")
def raises(job: Any) -> None:
    raise RuntimeError(job.payload["text"])


@action("claims_to_be_lost")
def claims_to_be_lost(job: Any) -> None:
    raise JobLost


@action("waits")
def waits(job: Any) -> None:
    time.sleep(job.payload["seconds"])


@action("computes")
def computes(job: Any) -> None:
    burn(job.payload["seconds"])


@action("swallows")
def swallows(job: Any) -> None:
    """Swallow the timeout, and return as if there had been none."""
    end = time.monotonic() + job.payload["seconds"]
    while time.monotonic() < end:
        try:
            time.sleep(0.05)
        except BaseException:
            log.info("swallowed")


@action("tells")
def tells(job: Any) -> None:
    for progress in (10, 50, 90):
        job.set_progress(progress)
    job.add_affected_resource("disk/one")
    job.add_affected_resources(["disk/one", "disk/two"])
    job.set_status_message("all told")
    job.set_return_code(7)


@action("leaves")
def leaves(job: Any) -> None:
    """Leave three greenlets behind: they sleep, compute a little, and try to write to the job later."""
    gevent.spawn(time.sleep, 30)
    gevent.spawn(burn, 0.05)
    gevent.spawn_later(0.2, job.set_progress, 1)


@action("spawns")
def spawns(job: Any) -> None:
    """Wait for greenlets that the action spawned."""
    gevent.joinall([gevent.spawn(time.sleep, 0.05) for _ in range(3)], raise_error=True)


class OldStyle:
    """As SlipStream's engine had them: no base class."""

    def __init__(self, executor: Any, job: Any) -> None:
        self.executor = executor
        self.job = job

    def do_work(self) -> None:
        self.job.set_status_message(f"target {self.job['targetResource']['href']}")


action("old_style")(OldStyle)
