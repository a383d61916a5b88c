"""How long to wait before trying again."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Iterator

from geventjob.clock import boottime


def delays() -> Iterator[float]:
    """Seconds between tries: 0.1 doubling to 5, each with jitter so that processes do not come in step."""
    delay = 0.1
    while True:
        yield delay * random.uniform(0.5, 1.0)  # noqa: S311  (jitter, no secret)
        delay = min(5.0, delay * 2)


class Trouble:
    """Failures of one task that is tried again: growing pauses, and one log line for each reason."""

    def __init__(self, log: logging.Logger, task: str) -> None:
        """`task` begins the log line, for example "the queue cannot be read"."""
        self._log = log
        self._task = task
        self._reason = ""
        self._delays = delays()

    def pause(self, reason: str) -> float:
        """Return the seconds to wait after one more failure; log `reason` unless the last failure had it too."""
        if reason != self._reason:
            self._log.warning("%s: %s; tried again until that ends", self._task, reason)
        self._reason = reason
        return next(self._delays)

    def end(self) -> None:
        """Note a success: pauses begin anew."""
        if self._reason:
            self._log.warning("%s: this has ended", self._task)
            self._reason, self._delays = "", delays()


FIRST_LEAVE = 5.0
LONGEST_LEAVE = 60.0


class LeftAlone:
    """Names that are left alone for 5 s, doubled at each further failure, to 60 s."""

    def __init__(self) -> None:
        self._until: dict[str, tuple[float, float]] = {}

    def leave(self, name: str) -> bool:
        """Leave `name` alone from now on. Return True for its first failure."""
        first = name not in self._until
        delay = FIRST_LEAVE if first else min(LONGEST_LEAVE, 2 * self._until[name][1])
        self._until[name] = (boottime() + delay, delay)
        return first

    def names(self) -> set[str]:
        """Return what is left alone now; a name without a failure for two minutes is forgotten."""
        now = boottime()
        self._until = {name: left for name, left in self._until.items() if left[0] + 2 * LONGEST_LEAVE > now}
        return {name for name, (until, _) in self._until.items() if until > now}

    def due(self) -> float:
        """Return when (boottime) the first name may be tried again; infinity if none is left alone."""
        now = boottime()
        return min((until for until, _ in self._until.values() if until > now), default=math.inf)

    def forget(self) -> None:
        """Begin anew, with no name left alone."""
        self._until.clear()
