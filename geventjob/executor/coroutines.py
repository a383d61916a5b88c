"""Runs the coroutines of `async def` actions on one asyncio loop, and ends them with their actions.

The greenlet of an action waits here for the action's coroutine. An exception that is thrown into this greenlet to end
the action cancels the coroutine; so time-outs, stops, losses and drains are those of all actions.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Coroutine
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any

import gevent
from greenlet import getcurrent

from geventjob import debug
from geventjob.executor.running import Running, running_in
from geventjob.executor.state import ActionState

if TYPE_CHECKING:
    from geventjob.executor.event_loop import ActionTask, EventLoop

log = logging.getLogger(__name__)

LOOK = 0.25
"""Seconds between two looks at the loop."""
CANCEL_AGAIN = 1.0
"""Seconds after which a coroutine that goes on is cancelled again."""
HOPELESS = 10.0
"""Seconds after which a loop that a coroutine holds gets no further coroutines."""


class Coroutines:
    """The coroutines of a process. asyncio is imported, and the loop started, for the first one."""

    def __init__(self, max_blocking: float, state: ActionState | None) -> None:
        """Log a coroutine that holds the loop for longer than `max_blocking` seconds."""
        self._max_blocking = max_blocking
        self._state = state
        self._process = os.getpid()
        self._loop: EventLoop | None = None
        self._told = 0.0  # about the turn of the loop that began then
        self._looks: Any = gevent.get_hub().loop.timer(LOOK, LOOK, ref=False)

    def close(self) -> None:
        """End the loop."""
        self._looks.stop()
        if self._loop and os.getpid() == self._process:  # a forked child has no part in the loop
            self._loop.end()
        self._loop = None

    # --- in the greenlet of an action

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run the coroutine of the action; return its value, or raise its exception."""
        running = running_in(getcurrent())
        assert running
        task = self._begin(coroutine, running)
        running.coroutine = coroutine
        cancelled = float("-inf")
        while not task.ended:
            try:
                task.wait()
            except BaseException as end:  # JobLost, JobStopped, Timeout
                if monotonic() - cancelled >= CANCEL_AGAIN:
                    cancelled = monotonic()
                    task.cancel(type(end).__name__)
        return task.result()

    def _begin(self, coroutine: Coroutine[Any, Any, Any], running: Running) -> ActionTask:
        """Begin a coroutine; start a loop if there is none, or if the old one is held without an end."""
        from geventjob.executor.event_loop import ActionTask, EventLoop

        if self._loop is None or self._loop.greenlet.dead or self._held(self._loop) > HOPELESS:
            self._loop = EventLoop(self._state)
            self._looks.start(self._look)
        return ActionTask(self._loop, coroutine, running)

    # --- in any native thread

    def acting_in(self, frame: FrameType | None) -> Running | None:
        """Return the action whose coroutine the main thread executes, by its innermost frame."""
        return self._loop.acting_in(frame) if self._loop else None

    # --- in the hub

    def _look(self) -> None:
        loop = self._loop
        if loop and self._held(loop) > self._max_blocking and loop.selector.turned != self._told:
            self._told = loop.selector.turned
            gevent.spawn(_tell, loop, loop.acting(), self._held(loop), debug.stack(loop.greenlet.gr_frame))

    @staticmethod
    def _held(loop: EventLoop) -> float:
        """Return the seconds for which one turn of the loop has lasted; 0 while the loop waits."""
        return 0.0 if loop.selector.waits else monotonic() - loop.selector.turned


def _tell(loop: EventLoop, running: Running | None, held: float, stack: str) -> None:
    who = f"{running.job_id} (action {running.action!r})" if running else "no job"
    log.warning("the asyncio loop did not turn for %.1f s: held by %s, at\n%s", held, who, stack.rstrip())
