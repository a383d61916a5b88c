"""Names of entries, the same in every coordination: `/job/entries/entry-<priority %03d>-<sequence %010d>`.

The sequence in a name is a signed 32-bit counter, like ZooKeeper's: -2147483648 follows 2147483647. The signed distance
of two sequences tells the older one as long as fewer than 2**31 entries lie between. ZooKeeper's own numbers end at
2147483647; our numbers may go on to 9999999999 (`coordination/zookeeper/numbers.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from geventjob.coordination.base import ENTRIES
from geventjob.job.bounds import LOWEST_PRIORITY

_ENTRY = re.compile(re.escape(ENTRIES) + r"/entry-([0-9]{3})-(-[0-9]{9,10}|[0-9]{10})")


def inbox_name(name: str, topic: str) -> str:
    """Return the name of the inbox of a process for a topic; names of processes have no `=`."""
    return f"{topic}={name}" if topic else name


def inbox_owner(inbox: str) -> str:
    """Return the name of the process to which an inbox belongs."""
    return inbox.rpartition("=")[2]


def signed(number: int) -> int:
    """Return `number` as a signed 32-bit integer."""
    return (number + 2**31) % 2**32 - 2**31


def distance(a: int, b: int) -> int:
    """Return how far the sequence `a` lies after `b`; negative if `a` lies before `b`."""
    return signed(a - b)


def check_priorities(items: Iterable[tuple[str, int]]) -> None:
    """Raise ValueError if one of the (job id, priority) pairs has a priority out of range."""
    for job, priority in items:
        if not 0 <= priority <= LOWEST_PRIORITY:
            raise ValueError(f"priority of {job}: 0 to {LOWEST_PRIORITY} expected, not {priority}")


def entry_prefix(priority: int) -> str:
    """Return the path of an entry up to its sequence."""
    return f"{ENTRIES}/entry-{priority:03d}-"


def entry_path(priority: int, sequence: int) -> str:
    """Return the path of an entry. The name of a sequence beyond 32 bits shows its low 32 bits."""
    return f"{entry_prefix(priority)}{signed(sequence):010d}"


def parse_entry(path: str) -> tuple[int, int] | None:
    """Return (priority, sequence as the name shows it), or None if `path` is not the path of an entry."""
    match = _ENTRY.fullmatch(path)
    if match is None:
        return None
    sequence = int(match[2])
    return (int(match[1]), sequence) if f"{sequence:010d}" == match[2] and sequence >= -(2**31) else None


def sequence_of(path: str) -> int:
    """Return the sequence in the path of an entry, as the name shows it; 0 for any other path."""
    parsed = parse_entry(path)
    return parsed[1] if parsed else 0
