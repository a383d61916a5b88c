"""Throttling of log-ins by password: growing pauses after failures, and shares of the log-ins in progress.

Failures count for a name from an address, and for an address with any name. A name alone is never locked: a flood from
one address would otherwise lock the fleet out on all other addresses. A flood from many addresses is bounded by the
number of log-ins in progress for a name, for an address, and in all (`passwords.py`).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import NamedTuple

from geventjob.clock import boottime
from geventjob.server.problem import Problem

FREE_BY_NAME, FREE_BY_ADDRESS = 5, 50
"""Failures without a pause: of a name from an address, and of an address with any name."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds. A pause doubles with each failure, up to the longest."""
FORGET = 900.0
"""Seconds after which a failure no longer counts."""
REMEMBERED = 10_000
"""Names and addresses whose failures are remembered."""
CONCURRENT = 8
"""Log-ins in progress of one name, and from one address."""

Key = tuple[str, ...]


class _Failures(NamedTuple):
    number: int
    last: float
    """Boot time in seconds."""


class LoginThrottle:
    """Failed log-ins by password on one server, and the time of the next permitted log-in."""

    def __init__(self) -> None:
        self._failures: OrderedDict[Key, _Failures] = OrderedDict()
        self._in_progress: Counter[Key] = Counter()

    @contextmanager
    def attempt(self, name: str, address: str) -> Iterator[None]:
        """Allow one log-in within the context, and count a Problem 403 out of the context as a failure.

        Raises Problem 429 with `Retry-After` instead of entering the context.
        """
        pair, alone = (name, address), (address,)
        pause = max(self._pause(pair, FREE_BY_NAME), self._pause(alone, FREE_BY_ADDRESS))
        if pause > 0:
            raise _too_many(pause)
        with self._share(("name", name)), self._share(("address", address)):
            try:
                yield
            except Problem as problem:
                if problem.status == 403:
                    self._count_failure(pair)
                    self._count_failure(alone)
                raise
        self._failures.pop(pair, None)

    def _pause(self, key: Key, free: int) -> float:
        """Return the seconds until the next permitted log-in; 0 or less: now."""
        number, last = self._failures.get(key, _Failures(0, 0.0))
        if number < free or boottime() > last + FORGET:
            return 0.0
        return last + min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(number - free, 10)) - boottime()

    def _count_failure(self, key: Key) -> None:
        number, last = self._failures.pop(key, _Failures(0, 0.0))
        now = boottime()
        self._failures[key] = _Failures(1 if now > last + FORGET else number + 1, now)
        if len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)

    @contextmanager
    def _share(self, key: Key) -> Iterator[None]:
        """Count a log-in in progress within the context. Raises Problem 429 above CONCURRENT."""
        if self._in_progress[key] >= CONCURRENT:
            raise _too_many(FIRST_PAUSE)
        self._in_progress[key] += 1
        try:
            yield
        finally:
            self._in_progress[key] -= 1
            if not self._in_progress[key]:
                del self._in_progress[key]


def _too_many(seconds: float) -> Problem:
    whole = ceil(seconds)
    return Problem(429, f"too many log-ins: try again in {whole} s, or log in with an API key", retry_after=whole)
