"""The order of names with a sequence, and the head of the queue."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable
from typing import Any

from geventjob.coordination.names import distance

_PRIORITY = slice(6, 9)  # of `entry-100-0000000042`
_SEQUENCE = slice(10, None)


def first_of(names: Collection[str], count: int) -> list[str]:
    """The first `count` entries by priority, then sequence by signed distance."""
    return heapq.nsmallest(count, names, key=_key(names))


def priority_of(name: str) -> int:
    """Of an entry, by its name."""
    return int(name[_PRIORITY])


def _key(names: Collection[str]) -> Callable[[str], Any] | None:
    """None where the order is that of the strings: of numbers that are not negative no two lie 2**31 apart."""
    if not any(name[10] == "-" for name in names):
        return None
    base = int(next(iter(names))[_SEQUENCE])
    return lambda name: (name[_PRIORITY], distance(int(name[_SEQUENCE]), base))


def by_sequence(names: Iterable[str], sequence: Callable[[str], int]) -> list[str]:
    """Names in the order of their sequence numbers, by signed distance."""
    numbered = [(sequence(name), name) for name in names]
    return [name for _, name in sorted((distance(number, numbered[0][0]), name) for number, name in numbered)]
