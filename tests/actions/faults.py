"""Actions for tests in which processes die: each run leaves a line in the file that the payload names."""

import logging
import os
import signal
import time
from typing import Any

from geventjob import Backoff, JobLost, action


def note(job: Any, word: str) -> None:
    """Append one line at once: process, event and job."""
    with open(job.payload["file"], "a") as file:
        file.write(f"{os.getpid()} {job.id} {word}\n")


@action("noted")
def noted(job: Any) -> None:
    """Sleep, and report progress each tenth of a second."""
    note(job, "begin")
    for step in range(int(job.payload["seconds"] * 10)):
        try:
            job.set_progress(step % 100)
        except JobLost:
            note(job, "lost")
            raise
        time.sleep(0.1)
    note(job, "end")


@action("noted_computing")
def noted_computing(job: Any) -> None:
    note(job, "begin")
    end = time.monotonic() + job.payload["seconds"]
    while time.monotonic() < end:
        pass
    note(job, "end")


@action("gated")
def gated(job: Any) -> None:
    """Wait as long as the executor's gate file exists."""
    note(job, "begin")
    gate = f"{job.payload['file']}-{job['executor']}"
    try:
        while os.path.exists(gate):
            time.sleep(0.02)
    except JobLost:
        note(job, "lost")
        raise
    note(job, "end")


@action("talks_at_a_gate")
def talks_at_a_gate(job: Any) -> None:
    """Log a line before the gate, one after a loss, and one at the end."""
    log = logging.getLogger(__name__)
    log.info("attempt %d begins", job.attempt)
    try:
        gated(job)
    except JobLost:
        log.info("attempt %d was lost", job.attempt)
        raise
    log.info("attempt %d ends", job.attempt)


@action("kills_its_executor")
def kills_its_executor(job: Any) -> None:
    note(job, "begin")
    os.kill(os.getpid(), signal.SIGKILL)


@action("tells_of_interruption")
def tells_of_interruption(job: Any) -> None:
    note(job, "begin")
    if not job.interrupted:
        os.kill(os.getpid(), signal.SIGKILL)
    job.set_status_message(f"interrupted, attempt {job.attempt}")


@action("reads_a_pipe", timeout=2)
def reads_a_pipe(job: Any) -> None:
    note(job, "begin")
    os.read(os.pipe()[0], 1)


@action("calls_system")
def calls_system(job: Any) -> None:
    """Wait in a call that no signal interrupts."""
    note(job, "begin")
    os.system("sleep 25")


@action("calls_system_async")
async def calls_system_async(job: Any) -> None:
    """Wait in the same call, in a coroutine."""
    note(job, "begin")
    os.system("sleep 25")


class Exits(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Sleeps(Exception):
    def __str__(self) -> Any:
        return str(time.sleep(600))


@action("cannot_be_told")
def cannot_be_told(job: Any) -> None:
    """Fail with, or report, a message without text or UTF-8."""
    note(job, "begin")
    cafe = os.fsdecode(b"caf\xe9")
    how = job.payload["how"]
    if how == "exits":
        raise Exits
    if how == "sleeps":
        raise Sleeps
    if how == "raises":
        raise ValueError(cafe)
    print(cafe)
    job.set_status_message(cafe)
    job.edit(properties={"file": cafe})


@action("fails_first", retries=5, backoff=Backoff(first=0.1, longest=0.5))
def fails_first(job: Any) -> dict[str, Any]:
    """Raise in the first `fail` runs; a checkpoint counts the runs that ended by themselves."""
    note(job, "begin")
    time.sleep(job.payload["seconds"])
    if job.retried < job.payload["fail"]:
        job.set_checkpoint((job.checkpoint or 0) + 1)
        raise OSError(f"run {job.attempt} of {job.id}")
    return {"runs": (job.checkpoint or 0) + 1}


@action("eats_memory")
def eats_memory(job: Any) -> None:
    """Keep 200 MB for as long as the executor's gate file exists."""
    note(job, "begin")
    eaten = bytearray(b"x") * 200_000_000
    while os.path.exists(f"{job.payload['file']}-{job['executor']}"):
        time.sleep(0.02)
    assert eaten
    note(job, "end")
