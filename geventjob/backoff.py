"""How to try again: growing pauses, retries, and names that are left alone for a while."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from geventjob.clock import boottime

if TYPE_CHECKING:
    import logging

T = TypeVar("T")
Errors = type[BaseException] | tuple[type[BaseException], ...]


def delays() -> Iterator[float]:
    """Yield the seconds between tries: 0.1 doubling to 5, each with jitter so that processes do not come in step."""
    delay = 0.1
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311  (jitter, no secret)
        delay = min(5.0, delay * 2)


def retry(attempt: Callable[[], T], errors: Errors, pause: Callable[[Any, float], float] | None = None) -> T:
    """Return the result of `attempt()`, which is tried again after each of `errors`. Other errors end the tries.

    `pause(error, delay)` returns the seconds to wait in place of `delay`, after it has logged what is worth a line; it
    may raise to end the tries.
    """
    pauses: Iterator[float] | None = None
    while True:
        try:
            return attempt()
        except errors as error:
            pauses = pauses or delays()
            delay = next(pauses)
            seconds = pause(error, delay) if pause else delay
        time.sleep(seconds)


class Trouble:
    """The failures of one task that is tried again: growing pauses, and one log line for each reason."""

    def __init__(self, log: logging.Logger, task: str) -> None:
        """Set the task, which begins the log line: "the queue cannot be read", for example."""
        self._log = log
        self._task = task
        self._reason = ""
        self._delays = delays()

    def pause(self, reason: str) -> float:
        """Return the seconds to wait after a failure; log `reason` unless the last failure had the same one."""
        if reason != self._reason:
            self._log.warning("%s: %s; retrying", self._task, reason)
        self._reason = reason
        return next(self._delays)

    def end(self) -> None:
        """Record a success: the next failure waits for the shortest pause again."""
        if self._reason:
            self._log.warning("recovered from: %s", self._task)
            self._reason, self._delays = "", delays()


FIRST_LEAVE = 5.0
LONGEST_LEAVE = 60.0


class LeftAlone:
    """Names that are left alone for 5 s after a failure, for twice as long after each further one, for 60 s at most."""

    def __init__(self) -> None:
        self._until: dict[str, tuple[float, float]] = {}

    def leave(self, name: str) -> bool:
        """Leave `name` alone from now on. Return True for its first failure."""
        first = name not in self._until
        delay = FIRST_LEAVE if first else min(LONGEST_LEAVE, 2 * self._until[name][1])
        self._until[name] = (boottime() + delay, delay)
        return first

    def names(self) -> set[str]:
        """Return the names that are left alone now. Forget a name that was free for two minutes without a failure."""
        now = boottime()
        self._until = {name: left for name, left in self._until.items() if left[0] + 2 * LONGEST_LEAVE > now}
        return {name for name, (until, _) in self._until.items() if until > now}

    def due(self) -> float:
        """Return when (boottime) the first name may be tried again; infinity if no name is left alone."""
        now = boottime()
        return min((until for until, _ in self._until.values() if until > now), default=math.inf)

    def forget(self) -> None:
        """Forget all names."""
        self._until.clear()
