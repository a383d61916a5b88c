"""Names of entries, the same over every coordination: `/job/entries/entry-<priority %03d>-<sequence %010d>`.

The sequence in a name is a signed 32-bit counter, as ZooKeeper's is: after 2147483647 comes -2147483648. Two of
them are compared by their signed distance, which tells the older as long as fewer than 2**31 entries lie between.
Over ZooKeeper, whose own numbers end there, it may go on to 9999999999 instead (`coordination/zookeeper/numbers.py`).
"""

from __future__ import annotations

import re

from geventjob.coordination.base import ENTRIES

_ENTRY = re.compile(re.escape(ENTRIES) + r"/entry-([0-9]{3})-(-[0-9]{9,10}|[0-9]{10})")


def signed(number: int) -> int:
    """`number` as a signed 32-bit integer."""
    return (number + 2**31) % 2**32 - 2**31


def distance(a: int, b: int) -> int:
    """How far the sequence `a` lies after `b`; negative if it lies before."""
    return signed(a - b)


def entry_path(priority: int, sequence: int) -> str:
    """The path of an entry; of a sequence beyond 32 bits the low ones are shown."""
    return f"{ENTRIES}/entry-{priority:03d}-{signed(sequence):010d}"


def parse_entry(path: str) -> tuple[int, int] | None:
    """(priority, sequence as the name shows it), or None if this is no path of an entry."""
    match = _ENTRY.fullmatch(path)
    if match is None:
        return None
    sequence = int(match[2])
    return (int(match[1]), sequence) if f"{sequence:010d}" == match[2] and sequence >= -(2**31) else None


def sequence_of(path: str) -> int:
    """The sequence in the path of an entry, as its name shows it."""
    parsed = parse_entry(path)
    return parsed[1] if parsed else 0
