"""Actions whose jobs the page shows."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import gevent

from geventjob import action

log = logging.getLogger(__name__)


@action("talk")
def talk(job: Any, until: str, say: str = "hello") -> dict[str, str]:
    """Log a line, and run until a file exists."""
    log.info("%s", say)
    job.set_progress(40)
    while not Path(until).exists():
        gevent.sleep(0.05)
    return {"said": say}


@action("fail")
def fail(job: Any, text: str) -> None:
    """Fail with a text."""
    raise ValueError(text)


@action("hog", preempt=False)
def hog(job: Any, seconds: float) -> None:
    """Hold up the event loop of the executor."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
