"""An action while its code runs, and the exception that is to end it."""

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
"""Seconds after which a Timeout is raised again in code that swallowed the first."""
END_AGAIN = 1.0
"""The same for JobStopped and JobLost."""
# From weak to strong: a weaker end never replaces a stronger one.
_RANKS: tuple[type[BaseException], ...] = (Timeout, JobStopped, JobLost)


class Running:
    """An action that runs. The log and the dump of stacks read `job_id`, `action` and `started`."""

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
        self.due: BaseException | None = None  # the exception that is to end it
        self.thrown: BaseException | None = None  # the strongest exception that was raised to end it
        self.first = self.last = -math.inf  # when the first and the last were raised, monotonic
        # An exception of its code. Once it is set, only the text of the exception is made.
        self.raised: Raised | None = None
        self._children: WeakSet[Greenlet[..., Any]] | None = None

    @property
    def children(self) -> WeakSet[Greenlet[..., Any]]:
        """The greenlets that the action started, directly or by way of others; threads are greenlets here."""
        if self._children is None:
            self._children = WeakSet()
        return self._children

    @property
    def state(self) -> str:
        """The exception that is ending the action, in words; empty without one."""
        return f"being ended by {type(self.thrown).__name__}" if self.thrown is not None else ""

    def schedule(self, end: BaseException) -> None:
        """Schedule `end` for this action, unless a stronger one (JobLost > JobStopped > Timeout) is due."""
        if self.due is None or _rank(end) > _rank(self.due):
            self.due = end

    def schedule_timeout(self) -> None:
        """Schedule a Timeout for this action, unless an exception is due."""
        if self.due is None:
            self.due = Timeout(self.timeout)

    def take_due(self, now: float) -> BaseException | None:
        """Return the exception to raise in the code at `now`; None if none is due, or it was raised a moment ago."""
        end = self.due
        if end is None or (end is self.thrown and now - self.last < _again(end)):
            return None
        if self.thrown is None:
            self.first = now
        self.thrown = end
        self.last = now
        end.__traceback__ = None  # from the last raise
        return end

    def end_children(self, end: type[BaseException]) -> None:
        """Throw `end` into the children, from the hub. A child may swallow it: its calls on the job fail anyway."""
        if self._children is None:
            return
        end = end if issubclass(end, GreenletExit) else GreenletExit
        for child in list(self._children):
            if not child.dead:
                child.throw(end())

    def judge(self, ending: Ending) -> Ending:
        """Return how the action ended. An exception that the engine raised in the code counts, even if swallowed."""
        if self.thrown is not None:
            return self.ending_of(self.thrown)
        if isinstance(ending, Raised):
            return self._judge_error(ending)
        return ending

    def _judge_error(self, raised: Raised) -> Ending:
        """Return how the code ended by its exception: a call on the job may raise JobLost ahead of the watch."""
        error = raised.error
        if isinstance(error, JobLost) and (self.claim.lost or isinstance(self.due, JobLost)):
            return Lost()
        if isinstance(error, JobStopped) and isinstance(self.due, JobStopped):
            return Stopped()
        return raised

    def ending_of(self, end: BaseException) -> Ending:
        """Return the ending that the exception `end` of the engine stands for."""
        if isinstance(end, JobLost):
            return Lost()
        if isinstance(end, JobStopped):
            return Stopped()
        return self.raised or TimedOut(self.timeout or 0.0)

    def close(self) -> None:
        """Close the timers of the action."""
        if self.timer is not None:
            self.timer.close()
            self.timer = None
        if isinstance(self.due, Timeout):
            self.due.close()


def running_in(greenlet: object) -> Running | None:
    """Return the action that runs in this greenlet or has started it, by way of others too; None if there is none."""
    tree = getattr(greenlet, "spawn_tree_locals", None)
    return tree.get(TREE) if tree else None


def _rank(end: BaseException) -> int:
    return next(rank for rank, kind in enumerate(_RANKS) if isinstance(end, kind))


def _again(end: BaseException) -> float:
    return TIMEOUT_AGAIN if isinstance(end, Timeout) else END_AGAIN
