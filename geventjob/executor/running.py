"""What is known of one action while its code runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic
from typing import Any
from weakref import WeakSet

from gevent import Greenlet, GreenletExit, Timeout
from greenlet import getcurrent

from geventjob.clock import boottime
from geventjob.coordination.base import Claim
from geventjob.ends import JobLost, JobStopped
from geventjob.executor.ending import Ending, Lost, Raised, Stopped, TimedOut
from geventjob.log import TREE

TIMEOUT_AGAIN = 0.25
"""Seconds after which a Timeout is raised again in code that swallowed it."""
END_AGAIN = 1.0
"""The same of JobStopped and JobLost."""
_RANKS: tuple[type[BaseException], ...] = (Timeout, JobStopped, JobLost)  # the weaker never replaces the stronger


class Running:
    """One action. The log and the dump read `job_id`, `action` and `started`."""

    __slots__ = (
        "__weakref__",
        "_children",
        "abandoned",
        "action",
        "claim",
        "deadline",
        "due",
        "first",
        "greenlet",
        "job_id",
        "last",
        "preempt",
        "raised",
        "started",
        "thrown",
        "timeout",
        "timer",
    )

    def __init__(
        self,
        claim: Claim,
        *,
        job_id: str,
        action: str,
        timeout: float | None,
        preempt: bool,
        abandoned: Callable[[Ending], None],
    ) -> None:
        self.claim = claim
        self.job_id = job_id
        self.action = action
        self.timeout = timeout
        self.preempt = preempt
        self.abandoned = abandoned
        self.started = boottime()
        self.greenlet = getcurrent()
        self.deadline = math.inf if timeout is None else monotonic() + timeout
        self.timer: Any = None
        self.due: BaseException | None = None  # how it is to end
        self.thrown: BaseException | None = None  # the strongest that was raised in its code
        self.first = self.last = -math.inf  # when that was, monotonic
        self.raised: Raised | None = None  # what its code has raised, from when on only its text is made
        self._children: WeakSet[Greenlet[..., Any]] | None = None

    @property
    def children(self) -> WeakSet[Greenlet[..., Any]]:
        """The greenlets that its code started, and theirs; threads too, which are greenlets here."""
        if self._children is None:
            self._children = WeakSet()
        return self._children

    @property
    def state(self) -> str:
        return f"being ended by {type(self.thrown).__name__}" if self.thrown is not None else ""

    def ask(self, end: BaseException) -> None:
        """It is to end by this; what ends it already counts more if it is stronger."""
        if self.due is None or _rank(end) > _rank(self.due):
            self.due = end

    def time_is_up(self) -> None:
        if self.due is None:
            self.due = Timeout(self.timeout)

    def shot(self, now: float) -> BaseException | None:
        """What to raise in its code at `now`; None if nothing is due, or the same was raised a moment ago."""
        end = self.due
        if end is None or (end is self.thrown and now - self.last < _again(end)):
            return None
        if self.thrown is None:
            self.first = now
        self.thrown = end
        self.last = now
        end.__traceback__ = None  # of the last time
        return end

    def end_children(self, end: type[BaseException]) -> None:
        """In the hub. What a child makes of it is nobody's business: its calls on the job fail from now on."""
        if self._children is None:
            return
        end = end if issubclass(end, GreenletExit) else GreenletExit
        for child in list(self._children):
            if not child.dead:
                child.throw(end())

    def judge(self, ending: Ending) -> Ending:
        """How it ended, given what its code did. What was raised in it counts, also if it was swallowed."""
        if self.thrown is not None:
            return self.ending_of(self.thrown)
        if isinstance(ending, Raised):
            return self._judge_error(ending)
        return ending

    def _judge_error(self, raised: Raised) -> Ending:
        """A call on the job raises JobLost or JobStopped too, ahead of the watch."""
        error = raised.error
        if isinstance(error, JobLost) and (self.claim.lost or isinstance(self.due, JobLost)):
            return Lost()
        if isinstance(error, JobStopped) and isinstance(self.due, JobStopped):
            return Stopped()
        return raised

    def ending_of(self, end: BaseException) -> Ending:
        if isinstance(end, JobLost):
            return Lost()
        if isinstance(end, JobStopped):
            return Stopped()
        return self.raised or TimedOut(self.timeout or 0.0)

    def close(self) -> None:
        """Its time runs no longer."""
        if self.timer is not None:
            self.timer.close()
            self.timer = None
        if isinstance(self.due, Timeout):
            self.due.close()


def running_in(greenlet: object) -> Running | None:
    """The action that this greenlet runs, or that started it (by way of others)."""
    tree = getattr(greenlet, "spawn_tree_locals", None)
    return tree.get(TREE) if tree else None


def _rank(end: BaseException) -> int:
    return next(rank for rank, kind in enumerate(_RANKS) if isinstance(end, kind))


def _again(end: BaseException) -> float:
    return TIMEOUT_AGAIN if isinstance(end, Timeout) else END_AGAIN
