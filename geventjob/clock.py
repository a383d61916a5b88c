"""The two clocks of the engine.

Leases are compared on `boottime`, which goes on while the machine sleeps: a process that slept through its session must
find the session over when it wakes. Times that people read are `now`, wall-clock time in UTC.
"""

import time
from datetime import datetime, timezone
from functools import lru_cache


def boottime() -> float:
    """Return the seconds since the machine started, suspended time included (0.12 us a call)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def now() -> datetime:
    """Return the wall-clock time, aware, in UTC."""
    return datetime.now(timezone.utc)


def unix_milliseconds() -> int:
    """Return the wall-clock time in Unix milliseconds."""
    return time.time_ns() // 1_000_000


@lru_cache(8)  # all edits of a commit have one moment
def cimi_time(moment: datetime) -> str:
    """Return a moment as CIMI writes it: `2019-04-02T08:15:30.123Z`, UTC, three digits (docs/reference/cimi.md)."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment_of(time: str) -> datetime:
    """Return the moment that `cimi_time` has written, aware, in UTC."""
    return datetime.fromisoformat(time.replace("Z", "+00:00"))
