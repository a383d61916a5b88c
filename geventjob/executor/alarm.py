"""The handler of SIGALRM: it reaches code that computes or blocks, and so keeps the hub from running.

A handler of a kernel timer runs in whatever greenlet keeps the hub from running. It ends the action's time slice, or
raises the exception that is due in the action.
"""

from __future__ import annotations

import logging
from time import monotonic
from types import FrameType

from gevent._waiter import Waiter
from greenlet import getcurrent

from geventjob import debug
from geventjob.executor.register import Register
from geventjob.executor.running import running_in
from geventjob.executor.safepoints import Point, SafePoints
from geventjob.executor.slices import Slices

log = logging.getLogger(__name__)


class Alarm:
    """Interrupts the greenlet that runs. One for a process, made in its main thread."""

    def __init__(self, register: Register, slices: Slices, blocked: debug.Blocked) -> None:
        self._register = register
        self._slices = slices
        self._blocked = blocked
        self._safe = _safe_points()
        self.yields = self.raises = self.deferrals = self.faults = 0
        """How often a slice ended, an exception was raised, a greenlet was at no safe point, this handler failed."""

    def close(self) -> None:
        """Stop observing garbage collections. The timers are closed by `Slices.close`."""
        if self._safe:
            self._safe.close()

    def handle(self, signum: int, frame: FrameType | None) -> None:
        """Raise the due exception in the action that runs, or let the hub run before the action goes on.

        Nothing else is raised, and nothing is logged or locked here. A SIGALRM that comes meanwhile finds the frames
        of this handler, which belong to the engine, and does nothing.
        """
        end: BaseException | None = None
        slice_over: Waiter[None] | None = None
        try:
            end, slice_over = self._interrupt(frame)
        except BaseException:  # an error of this handler must not land in the action (a RecursionError of deep code)
            self.faults += 1
            end = slice_over = None
        frame = None  # keep no frames alive while parked, nor in the traceback
        if end is not None:
            try:
                raise end
            finally:
                end = None
        if slice_over is not None:
            slice_over.get()  # to the hub; an exception that ends the action is thrown in here too

    def _interrupt(self, frame: FrameType | None) -> tuple[BaseException | None, Waiter[None] | None]:
        """Return the exception due in the action that runs, or the waiter of its next slice.

        Return neither where the greenlet is at no safe point, or runs no code of an action.
        """
        now = monotonic()
        if self._slices.goes_on(now):
            return None, None
        self._blocked.look(frame, now - self._slices.ran)
        if any(session.over for session in self._register.sessions):
            self._slices.turn_soon()
        current = getcurrent()
        running = self._register.running.get(current)
        child = running is None
        if running is None:
            running = running_in(current)
        if running is None or frame is None:
            return None, None  # the hub, coordination, the engine itself
        point = self._safe.at(frame, child, self._slices.waits(now)) if self._safe else Point.NOTHING
        if point is Point.NOTHING:
            self.deferrals += 1
            self._slices.retry()
            return None, None
        end = None if child else self._register.due(running, now)
        if end is not None:
            self.raises += 1
        if end is not None or point is Point.RAISE or not running.preempt:
            return end, None
        self.yields += 1
        return None, self._slices.park(now)


def _safe_points() -> SafePoints | None:
    try:
        return SafePoints()
    except NotImplementedError as error:
        log.warning("actions that compute are not interrupted: %s", error)
        return None
