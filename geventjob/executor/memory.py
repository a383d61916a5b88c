"""The memory of an executor: a process above `--max-rss` ends in good order, so that another one takes its place."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

import gevent

from geventjob.executor.limits import JobLimits

log = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds between two looks at the memory (20 us each)."""
MEGABYTE = 1024 * 1024
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Return the bytes of this process that are in memory, as `ps` shows them under RSS."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * _PAGE


def excess(limits: JobLimits) -> str | None:
    """Return in words by how much this process is above `--max-rss`; None for a process below."""
    most = limits.max_rss
    if most is None or (used := resident()) <= most:
        return None
    return f"its memory, {used // MEGABYTE} MB, is above max-rss, {most // MEGABYTE} MB"


def watch_memory(limits: JobLimits, stop: Callable[[str], None]) -> None:
    """Call `stop(why)` once this process is above `--max-rss`. Does not return before."""
    while (why := excess(limits)) is None:
        gevent.sleep(LOOK)
    log.warning("this executor takes no more jobs and ends when its jobs have ended: %s", why)
    stop(why)
