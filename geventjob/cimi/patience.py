"""Trying again while a server is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from geventjob.backoff import retry
from geventjob.cimi.errors import ServerAway

T = TypeVar("T")


def patiently(call: Callable[[], T], seconds: float) -> T:
    """Return what `call()` returns; try again on ServerAway for so many seconds, then raise its last error.

    Waits as long as the server asked for, or 0.1 s doubling to 5 s, with jitter.
    """
    end = time.monotonic() + seconds

    def pause(error: ServerAway, delay: float) -> float:
        left = end - time.monotonic()
        if left <= 0:
            raise error
        return min(left, max(delay, error.retry_after or 0.0))

    return retry(call, ServerAway, pause)
