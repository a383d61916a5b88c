"""Actions for the jobs of a SlipStream server, which have no payload. The number that they need is the job's
description, and each run leaves lines in the file `notes` beside this one."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from geventjob import JobStopped, action

NOTES = Path(__file__).with_name("notes")


def note(job: Any, word: str) -> None:
    with NOTES.open("a") as file:
        file.write(f"{os.getpid()} {job.id} {word}\n")


def number(job: Any) -> Any:
    return float(job.get("description", "0"))


@action("noted")
def noted(job: Any) -> None:
    """Sleep, and report progress each tenth of a second."""
    note(job, "begin")
    try:
        for step in range(int(number(job) * 10)):
            job.set_progress(step % 100)
            time.sleep(0.1)
    except JobStopped:
        note(job, "stopped")
        raise
    note(job, "end")


@action("silent")
def silent(job: Any) -> None:
    """Sleep, and send nothing to the server."""
    note(job, "begin")
    try:
        time.sleep(number(job))
    except JobStopped:
        note(job, "stopped")
        raise
    note(job, "end")


@action("tells")
def tells(job: Any) -> Any:
    job.set_progress(40)
    job.add_affected_resources(["disk/one", "disk/two"])
    job.add_affected_resources([])
    job.set_status_message(f"attempt {job.attempt}, interrupted {job.interrupted}")
    return int(number(job))


@action("raises")
def raises(job: Any) -> None:
    raise RuntimeError("it broke")


@action("kills_its_executor")
def kills_its_executor(job: Any) -> None:
    note(job, "begin")
    os.kill(os.getpid(), signal.SIGKILL)


@action("asks_too_much")
def asks_too_much(job: Any) -> None:
    """Set a payload, for which a SlipStream server has no attribute."""
    job.edit(payload={"a": 1})
