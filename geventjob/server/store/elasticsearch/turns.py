"""Long work in the event loop's own thread gives the others their turns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import gevent

BREATH = 200
"""Documents that are made or read in one go, some 10 ms."""

Thing = TypeVar("Thing")


def with_turns(things: Iterable[Thing]) -> Iterator[Thing]:
    """The same, and now and then a turn for the other greenlets."""
    for number, thing in enumerate(things, 1):
        yield thing
        if number % BREATH == 0:
            gevent.sleep(0)
