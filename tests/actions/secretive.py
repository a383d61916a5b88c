"""Actions that get a secret in their payload, and fail, hang or look around with it."""

import logging
import os
import subprocess
import sys
import time
from typing import Any

from geventjob import Action, action

log = logging.getLogger(__name__)


def log_in(password: str) -> None:
    """Fail as libraries do, with all that they know in the text of the exception."""
    raise RuntimeError(f"cannot log in at https://me:{password}@host/ with {password}")


@action("fails_greenlet")
def fails_greenlet(job: Any) -> None:
    log.info("logs in at https://me:%s@host/", job.payload["password"])
    try:
        log_in(job.payload["password"])
    except RuntimeError as error:
        raise KeyError(job.payload["password"]) from error


@action("fails_process", isolation="process")
def fails_process(job: Any) -> None:
    log_in(job.payload["password"])


@action("wants_a_number")
def wants_a_number(job: Any, password: int) -> None:
    """Never run: the password is a text."""


@action("hangs")
class Hangs(Action):
    def do_work(self) -> None:
        password = self.job.payload["password"]
        self.job.set_status_message(repr([self.executor.settings, self.executor.client, self.job]))
        while password:
            time.sleep(0.05)


@action("looks_around", isolation="process")
class LooksAround(Action):
    def do_work(self) -> dict[str, str]:
        """Return what a process of the action and its child can see of their own."""
        code = "import os; print(dict(os.environ), open('/proc/self/cmdline').read())"
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        return {"own": repr(dict(os.environ)), "child": child, "settings": repr(self.executor.settings)}
