"""The first steps of every process of a fleet: join, and announce itself."""

from __future__ import annotations

import itertools
import logging
import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore

import geventjob
from geventjob.backoff import Trouble
from geventjob.clock import cimi_time, now
from geventjob.coordination.base import Coordination, CoordinationAway, CoordinationError

log = logging.getLogger(__name__)


def join(coordination: Coordination, stop: Event) -> bool:
    """Start coordination, again and again while it is away. Return False if `stop` was set before a start succeeded.

    Raises CoordinationError for an error that no new try can mend.
    """
    return _until_done(coordination.start, stop)


def announce(coordination: Coordination, role: str, info: Mapping[str, Any], stop: Event, wait: bool = True) -> bool:
    """Announce this process in a role, again and again while coordination is away.

    Return False if `stop` was set before.

    Raises NameInUse: with `wait` after a session timeout, unless the process of this name lives on this machine.
    """
    return _until_done(lambda: coordination.announce(role, info, wait and not _lives_here(coordination, role)), stop)


class Announcement:
    """The announcement of this process in a role. The info may change while the process lives."""

    def __init__(self, coordination: Coordination, role: str, info: Mapping[str, Any], stop: Event) -> None:
        """Announce nothing yet."""
        self._coordination = coordination
        self._role = role
        self._info = dict(info)
        self._stop = stop
        self._made = False
        self._changing = BoundedSemaphore(1)
        self._news: dict[str, Any] = {}

    @property
    def info(self) -> Mapping[str, Any]:
        """The announced facts."""
        return self._info

    def make(self, wait: bool) -> bool:
        """Announce this process as `announce` does, with changes that `change` makes meanwhile. Raises NameInUse."""
        told = None
        while told != self._info:
            told = self._info
            if not announce(self._coordination, self._role, told, self._stop, wait):
                return False
        self._made = True
        return True

    def change(self, **more: Any) -> None:
        """Change attributes of the info; return once the others can see the change. None removes an attribute.

        After `stop` one attempt is made. Raises CoordinationError.
        """
        with self._changing:
            info = {name: value for name, value in {**self._info, **more}.items() if value is not None}
            if self._made and not announce(self._coordination, self._role, info, self._stop):
                self._coordination.announce(self._role, info, wait=False)
            self._info = info

    def tell(self, **more: Any) -> None:
        """Change attributes of the info in a greenlet. The last value of an attribute is announced last."""
        self._news.update(more)
        gevent.spawn(self._tell)

    def _tell(self) -> None:
        try:
            self.change(**self._news)
        except CoordinationError as error:
            log.debug("not announced: %s: %s", ", ".join(self._news), error)


def _lives_here(coordination: Coordination, role: str) -> bool:
    """Return whether the process that has our name in this role is another live process of this machine."""
    other = coordination.members(role).get(coordination.name, {})
    pid = other.get("pid")
    if other.get("host") != socket.gethostname() or not isinstance(pid, int) or pid in (os.getpid(), 0):
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        pass
    return True


def _until_done(call: Callable[[], None], stop: Event) -> bool:
    """Return whether the call succeeded before `stop`.

    A call may outlast a session timeout, so `stop` ends it at once.
    """
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
    """Return the error of a call. gevent would print the traceback of an error that the greenlet raised."""
    try:
        call()
    except CoordinationError as error:
        return error
    return None


MOST_LEFT_OUT, LONGEST_REASON = 20, 300
"""Files that a process announces as left out, and characters of the reason of each. Many processes read the note."""


def left_out(failures: Mapping[str, str]) -> dict[str, str]:
    """Return the first of the files that failed to import, each with its shortened reason."""
    return {file: why[:LONGEST_REASON] for file, why in itertools.islice(failures.items(), MOST_LEFT_OUT)}


def about(**more: Any) -> dict[str, Any]:
    """Return the info that this process announces (docs/reference/queue.md, "Presence")."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "version": geventjob.__version__,
        "since": cimi_time(now()),
        **more,
    }
