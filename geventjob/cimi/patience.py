"""Repeated tries while a server is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from geventjob.backoff import retry
from geventjob.cimi.errors import ServerAway

T = TypeVar("T")


def patiently(call: Callable[[], T], seconds: float) -> T:
    """Return the result of `call()`. Try again on ServerAway for `seconds`, then raise the last error.

    A pause is as long as the server asked for, or 0.1 s doubling to 5 s, with jitter.
    """
    end = time.monotonic() + seconds

    def pause(error: ServerAway, delay: float) -> float:
        left = end - time.monotonic()
        if left <= 0:
            raise error
        return min(left, max(delay, error.retry_after or 0.0))

    return retry(call, ServerAway, pause)
