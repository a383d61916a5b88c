"""An action while its code runs, and the exception that is to end it."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any
from weakref import WeakSet

from gevent import Greenlet, GreenletExit, Timeout
from greenlet import getcurrent

from geventjob import debug
from geventjob.clock import boottime
from geventjob.coordination.base import Claim
from geventjob.ends import JobLost, JobStopped
from geventjob.executor import stacks
from geventjob.executor.ending import Ending, Lost, Raised, Stopped, TimedOut
from geventjob.executor.stacks import Stack
from geventjob.log import TREE

OWNER = "geventjob.owner"
"""Key of the owner of the process's state in a `spawn_tree_locals` where this is not the action itself."""
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
        "_tasks",
        "abandoned",
        "action",
        "claim",
        "coroutine",
        "deadline",
        "due",
        "first",
        "greenlet",
        "is_abandoned",
        "job_id",
        "last",
        "preempt",
        "process",
        "raised",
        "seen",
        "started",
        "thrown",
        "timeout",
        "timer",
        "used",
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
        self.seen: list[Stack] = []  # where its code was when it was ended, or abandoned
        self.is_abandoned = False
        self.process: Any = None  # the worker in which its code runs
        self.used = ""  # what this worker has used, if it was killed
        self._children: WeakSet[Greenlet[..., Any]] | None = None
        self._tasks: WeakSet[Any] | None = None
        self.coroutine: Any = None  # of an `async def` action, once it has begun

    @property
    def children(self) -> WeakSet[Greenlet[..., Any]]:
        """The greenlets that the action started, directly or by way of others; threads are greenlets here."""
        if self._children is None:
            self._children = WeakSet()
        return self._children

    @property
    def tasks(self) -> WeakSet[Any]:
        """The tasks that the coroutine of the action started, directly or by way of others."""
        if self._tasks is None:
            self._tasks = WeakSet()
        return self._tasks

    @property
    def unfinished(self) -> set[Any]:
        """The tasks that have not ended."""
        return {task for task in self._tasks or () if not task.done()}

    @property
    def state(self) -> str:
        """The exception that is ending the action, in words; empty without one."""
        return f"being ended by {type(self.thrown).__name__}" if self.thrown is not None else ""

    @property
    def stack(self) -> str:
        """The stack of its code, as a traceback shows it; a coroutine's goes down to what the coroutine awaits."""
        return debug.awaits(self.coroutine) if self.coroutine else debug.stack(self.greenlet.gr_frame)

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
            with suppress(Exception):  # deep code leaves no room for this
                self.seen = stacks.taken(self)
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
        return self.raised or TimedOut(self.timeout or 0.0, self.used)

    def close(self) -> None:
        """Close the timers of the action."""
        if self.timer is not None:
            self.timer.close()
            self.timer = None
        if isinstance(self.due, Timeout):
            self.due.close()


class Acting:
    """Stands in the tree of a greenlet that runs code of many actions in turn, for the action that it runs now."""

    def __init__(self, running: Callable[[], Running | None]) -> None:
        """Set the function that returns that action, in any greenlet, and None if the greenlet runs code of none."""
        self.running = running

    def __bool__(self) -> bool:
        return self.running() is not None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.running(), name)


def in_coroutine() -> bool:
    """Return whether the current greenlet is the loop of the `async def` actions."""
    return isinstance(_of(getcurrent()), Acting)


def inherit(child: Any) -> None:
    """Give a greenlet that a coroutine starts a tree of its own, which names the action of the coroutine."""
    acting = _of(child)
    if isinstance(acting, Acting):
        child.spawn_tree_locals = {TREE: acting.running(), OWNER: acting}


def owner_in(greenlet: object) -> Any:
    """Return the owner of the changes that this greenlet makes to the process: an action, or all coroutines together.

    None for a greenlet of the engine.
    """
    return _of(greenlet, OWNER) or _of(greenlet)


def running_in(greenlet: object) -> Running | None:
    """Return the action that runs in this greenlet or has started it, by way of others too; None if there is none."""
    found = _of(greenlet)
    return found.running() if isinstance(found, Acting) else found


def _of(greenlet: object, key: str = TREE) -> Any:
    tree = getattr(greenlet, "spawn_tree_locals", None)
    return tree.get(key) if tree else None


def _rank(end: BaseException) -> int:
    return next(rank for rank, kind in enumerate(_RANKS) if isinstance(end, kind))


def _again(end: BaseException) -> float:
    return TIMEOUT_AGAIN if isinstance(end, Timeout) else END_AGAIN
