"""Log-ins by password that failed: pauses that grow, and room that is shared, so that a flood locks out nobody else.

A name is guessed from one address in growing pauses, and so is any name from that address, a little later. A name as
such is never locked: who floods it from one address would lock out its fleet on all others. What a flood from many
addresses costs is bounded by the room for one name, one address and all of them among the hashes under way.
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
"""Failures without a pause: of a name from an address, of an address with any names."""
FIRST, LONGEST = 1.0, 60.0
"""Seconds of the first pause, which doubles with each failure, and of the longest."""
FORGET = 900.0
"""Seconds after which a failure counts no more."""
KEPT = 10_000
"""Names and addresses that are remembered."""
CONCURRENT = 8
"""Log-ins under way of one name, and from one address."""

Key = tuple[str, ...]


class _Failures(NamedTuple):
    times: int
    last: float


class LoginThrottle:
    """The log-ins by password of one server, and when the next one may be tried."""

    def __init__(self) -> None:
        self._failed: OrderedDict[Key, _Failures] = OrderedDict()
        self._under_way: Counter[Key] = Counter()

    @contextmanager
    def attempt(self, name: str, address: str) -> Iterator[None]:
        """Try a log-in within this; Problem 403 out of it is a failure. Raises Problem 429 with `Retry-After`."""
        pair, alone = (name, address), (address,)
        wait = max(self._wait(pair, FREE_BY_NAME), self._wait(alone, FREE_BY_ADDRESS))
        if wait > 0:
            raise _later(wait)
        with self._room(("name", name)), self._room(("address", address)):
            try:
                yield
            except Problem as problem:
                if problem.status == 403:
                    self._fail(pair)
                    self._fail(alone)
                raise
        self._failed.pop(pair, None)

    def _wait(self, key: Key, free: int) -> float:
        """Seconds until the next try."""
        times, last = self._failed.get(key, _Failures(0, 0.0))
        if times < free or boottime() > last + FORGET:
            return 0.0
        return last + min(LONGEST, FIRST * 2.0 ** min(times - free, 10)) - boottime()

    def _fail(self, key: Key) -> None:
        times, last = self._failed.pop(key, _Failures(0, 0.0))
        now = boottime()
        self._failed[key] = _Failures(1 if now > last + FORGET else times + 1, now)
        if len(self._failed) > KEPT:
            self._failed.popitem(last=False)

    @contextmanager
    def _room(self, key: Key) -> Iterator[None]:
        if self._under_way[key] >= CONCURRENT:
            raise _later(FIRST)
        self._under_way[key] += 1
        try:
            yield
        finally:
            self._under_way[key] -= 1
            if not self._under_way[key]:
                del self._under_way[key]


def _later(seconds: float) -> Problem:
    whole = ceil(seconds)
    return Problem(429, f"too many log-ins: try again in {whole} s, or log in with an API key", retry_after=whole)
