"""The order of names with a sequence, and the head of the queue."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable
from operator import itemgetter
from typing import Any

from geventjob.coordination.names import distance

_PRIORITY = slice(6, 9)  # in `entry-100-0000000042`
_SEQUENCE = slice(10, None)
_AGE = itemgetter(_SEQUENCE)  # as text: names without a sign sort right


def first_of(names: Collection[str], count: int) -> list[str]:
    """Return the first `count` entries by priority, then by signed distance of the sequence."""
    return heapq.nsmallest(count, names, key=_key(names))


def oldest_of(names: Collection[str], count: int) -> list[str]:
    """Return the first `count` entries by signed distance of the sequence, whatever their priorities."""
    if not _wrapped(names):
        return heapq.nsmallest(count, names, key=_AGE)
    base = int(next(iter(names))[_SEQUENCE])
    return heapq.nsmallest(count, names, key=lambda name: distance(int(name[_SEQUENCE]), base))


def before(names: Collection[str], name: str) -> int:
    """Return the number of entries before this one, in the order of `first_of`."""
    key = _key([*names, name]) or str
    place = key(name)
    return sum(key(other) < place for other in names)


def priority_of(name: str) -> int:
    """Return the priority in the name of an entry."""
    return int(name[_PRIORITY])


def _key(names: Collection[str]) -> Callable[[str], Any] | None:
    """Return the key to sort by; None where strings sort right."""
    if not _wrapped(names):
        return None
    base = int(next(iter(names))[_SEQUENCE])
    return lambda name: (name[_PRIORITY], distance(int(name[_SEQUENCE]), base))


def _wrapped(names: Collection[str]) -> bool:
    """Return whether strings sort wrong. Without a sign they sort right: no two such sequences lie 2**31 apart."""
    return any(name[10] == "-" for name in names)


def by_sequence(names: Iterable[str], sequence: Callable[[str], int]) -> list[str]:
    """Return names in the order of their sequences, by signed distance."""
    numbered = [(sequence(name), name) for name in names]
    return [name for _, name in sorted((distance(number, numbered[0][0]), name) for number, name in numbered)]
