"""What every process of a fleet does at first: it joins, and says who it is."""

from __future__ import annotations

import itertools
import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent.event import Event

import geventjob
from geventjob.backoff import Trouble
from geventjob.clock import cimi_time, now
from geventjob.coordination.base import Coordination, CoordinationAway, CoordinationError

log = logging.getLogger(__name__)


def join(coordination: Coordination, stop: Event) -> bool:
    """Start it, again and again while it is away; False if `stop` was set before that succeeded.

    Raises CoordinationError for what will not mend itself.
    """
    return _done(coordination.start, stop)


def announce(coordination: Coordination, role: str, info: Mapping[str, Any], stop: Event, wait: bool = True) -> bool:
    """Be seen in this role; the rest is as for `join`.

    Raises NameInUse: with `wait` after a session timeout, unless the process of this name lives on this machine.
    """
    return _done(lambda: coordination.announce(role, info, wait and not _lives_here(coordination, role)), stop)


def _lives_here(coordination: Coordination, role: str) -> bool:
    """Return whether the process that has our name in this role is another one of this machine that lives."""
    other = coordination.members(role).get(coordination.name, {})
    pid = other.get("pid")
    if other.get("host") != socket.gethostname() or not isinstance(pid, int) or pid in (os.getpid(), 0):
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _done(call: Callable[[], None], stop: Event) -> bool:
    """Whether it was done before `stop`, which waits for no call: one may last longer than a session timeout."""
    trouble = Trouble(log, "coordination is away")
    while True:
        attempt = gevent.spawn(_failure, call)
        either: list[Any] = [attempt, stop]
        gevent.wait(either, count=1)
        if not attempt.ready():
            attempt.kill()
            return False
        error = attempt.get()
        if not isinstance(error, CoordinationAway):
            break
        if stop.wait(trouble.pause(str(error))):
            return False
    if error is not None:
        raise error
    trouble.end()
    return True


def _failure(call: Callable[[], None]) -> CoordinationError | None:
    """Its error, returned rather than raised: gevent would print its traceback."""
    try:
        call()
    except CoordinationError as error:
        return error
    return None


MOST_LEFT_OUT, LONGEST_REASON = 20, 300
"""Files that a process announces as left out, and characters of the reason of each: the note is read by many."""


def left_out(failures: Mapping[str, str]) -> dict[str, str]:
    """Return the first of the files that did not import, each with its reason, cut."""
    return {file: why[:LONGEST_REASON] for file, why in itertools.islice(failures.items(), MOST_LEFT_OUT)}


def about(**more: Any) -> dict[str, Any]:
    """What this process announces of itself (DESIGN §4)."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "version": geventjob.__version__,
        "since": cimi_time(now()),
        **more,
    }
