"""The outcome of a job, for a program that waits for it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from geventjob.cimi.document import Document
from geventjob.cimi.errors import CimiError
from geventjob.job.states import FINAL

FIRST_PAUSE, LONGEST_PAUSE, GROWTH = 0.05, 1.0, 1.3
"""Seconds between two requests about one job, and the factor from one pause to the next."""


class JobFailed(CimiError):
    """A job ended in FAILED or STOPPED. `job` is its document; the text names id, state and message."""

    def __init__(self, job: Document) -> None:
        message = job.get("statusMessage")
        super().__init__(f"{job['id']} is {job['state']}" + (f": {message}" if message else ""))
        self.job = job

    @property
    def state(self) -> str:
        """FAILED or STOPPED."""
        return str(self.job["state"])


def await_end(id: str, state: Callable[[], str], timeout: float | None) -> None:
    """Return once `state()` is final. Raises TimeoutError after `timeout` seconds."""
    end = math.inf if timeout is None else time.monotonic() + timeout
    pause = FIRST_PAUSE
    while (now := state()) not in FINAL:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"{id} is {now} after {timeout:g} s")
        time.sleep(min(pause, left))
        pause = min(LONGEST_PAUSE, pause * GROWTH)


def output_of(job: Document) -> Any:
    """Return the output of a job in SUCCESS, None without one. Raises JobFailed for another state."""
    if job["state"] != "SUCCESS":
        raise JobFailed(job)
    return job.get("output")
