"""Cooperative yielding in long loops, which would otherwise block all other greenlets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import gevent

BREATH = 200
"""Documents between two yields, some 10 ms of work."""

Thing = TypeVar("Thing")


def with_turns(things: Iterable[Thing]) -> Iterator[Thing]:
    """Iterate over `things`, and yield to other greenlets after every BREATH things."""
    for number, thing in enumerate(things, 1):
        yield thing
        if number % BREATH == 0:
            gevent.sleep(0)
