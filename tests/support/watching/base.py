"""The tools of the scenarios: an action under a watch, a claim, a measure of the gaps in which the hub does not run."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent
from gevent import Greenlet

from geventjob.coordination.base import Claim, Session
from geventjob.executor.ending import Ending, Raised, Returned, TimedOut
from geventjob.executor.watch import Watch


def claim(job: str = "job/1", session: Session | None = None) -> Claim:
    return Claim("/job/entries/entry-999-0000000001", job, 1, 0.0, session or living())


def living(seconds: float = math.inf) -> Session:
    """Return a session whose lease ends in so many seconds."""
    from geventjob.clock import boottime

    session = Session("1", 10.0)
    session.lease = boottime() + seconds
    return session


class Act:
    """An action in a greenlet of its own."""

    def __init__(self, watch: Watch, body: Callable[[], Any], held: Claim | None = None, **options: Any) -> None:
        self.claim = held or claim()
        self.abandoned: list[Ending] = []
        self.seconds = 0.0
        self._watch = watch
        self._body = body
        self._options = {"job_id": self.claim.job, "action": getattr(body, "__name__", "?"), **options}
        self.greenlet: Greenlet[..., Ending | None] = gevent.spawn(self._run)

    def _run(self) -> Ending | None:
        begun = monotonic()
        ending = self._watch.run(self._body, claim=self.claim, abandoned=self.abandoned.append, **self._options)
        self.seconds = monotonic() - begun
        return ending

    @property
    def ending(self) -> Any:
        """The ending of the action, after a wait for it."""
        return self.greenlet.get()

    @property
    def said(self) -> str:
        """The ending in a word or two, after a wait for it."""
        return said(self.ending)


def said(ending: Ending | None) -> str:
    if isinstance(ending, Returned):
        return f"Returned {ending.value}"
    if isinstance(ending, Raised):
        return f"Raised {type(ending.error).__name__}"
    if isinstance(ending, TimedOut):
        return f"TimedOut {ending.seconds:g}"
    return type(ending).__name__


class Gaps:
    """The longest time for which the hub did not run."""

    def __init__(self) -> None:
        self.largest = 0.0
        self._last = monotonic()
        self._check = gevent.get_hub().loop.check(priority=1)
        self._timer = gevent.get_hub().loop.timer(0.0, 0.005)
        self._timer.start(lambda: None)
        self._check.start(self._look)

    def _look(self) -> None:
        now = monotonic()
        self.largest = max(self.largest, now - self._last)
        self._last = now

    def reset(self) -> None:
        self.largest, self._last = 0.0, monotonic()


def until(condition: Callable[[], Any], seconds: float = 10.0) -> bool:
    """Wait for the condition; return whether it came true in time."""
    end = monotonic() + seconds
    while not condition():
        if monotonic() > end:
            return False
        gevent.sleep(0.005)
    return True
