"""The asyncio loop of `async def` actions, in a greenlet of the hub (docs/decisions/0029-coroutines-in-the-hub.md).

The loop waits in gevent, so greenlets run meanwhile. asyncio keeps the running loop for the native thread, and the loop
here gives it up while it waits: an `asyncio.run` of another action finds none.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import gevent
from gevent.event import AsyncResult
from gevent.selectors import GeventSelector

from geventjob.executor.running import Acting, Running
from geventjob.executor.safepoints import begin
from geventjob.executor.state import ActionState
from geventjob.log import TREE

log = logging.getLogger(__name__)

T = TypeVar("T")
RUNNING: ContextVar[Running] = ContextVar("geventjob.running")
"""The action that a task works for; tasks and callbacks inherit their context from the code that made them."""


class HubSelector(GeventSelector):
    """A selector that waits in gevent, for a loop that is no running loop meanwhile."""

    waits = False
    """Whether the loop waits for events, and runs no code."""
    turned = 0.0
    """When the last wait was over, monotonic seconds."""

    def select(self, timeout: float | None = None) -> Any:
        """Return the events that are ready, as in `selectors`."""
        loop, hooks = asyncio._get_running_loop(), sys.get_asyncgen_hooks()
        asyncio._set_running_loop(None)
        sys.set_asyncgen_hooks(None, None)
        self.waits = True
        try:
            return super().select(timeout)
        finally:
            self.waits = False
            self.turned = monotonic()
            asyncio._set_running_loop(loop)
            sys.set_asyncgen_hooks(*hooks)


class GreenletExecutor(concurrent.futures.ThreadPoolExecutor):
    """Runs each call in a greenlet of its own: `asyncio.to_thread`, `run_in_executor(None, …)`."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        """Begin a call in a greenlet, and return its future."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        gevent.spawn(_carry_out, future, partial(fn, *args, **kwargs))
        return future


def _carry_out(future: concurrent.futures.Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        value = begin(call)
    except BaseException as error:  # JobLost too: for the coroutine that waits
        future.set_exception(error)
    else:
        future.set_result(value)


class EventLoop(asyncio.SelectorEventLoop):
    """A loop that runs in a greenlet, and knows the tasks of each action."""

    def __init__(self, state: ActionState | None) -> None:
        """Start the loop. `state` keeps changes to the process apart from other actions."""
        self.selector = HubSelector()
        self.selector.turned = monotonic()
        super().__init__(self.selector)
        self.set_default_executor(GreenletExecutor())
        self.set_task_factory(_make_task)
        loop: Any = gevent.Greenlet(self._run)
        loop.name = "asyncio"
        loop.spawn_tree_locals = {TREE: Acting(self.acting)}
        if state:
            loop.switch_out = state.wait
        self.greenlet: Any = loop
        loop.start()

    def acting(self) -> Running | None:
        """Return the action whose code the loop runs now; None while the loop waits, or works for itself."""
        context = self.greenlet.gr_context
        return context.get(RUNNING) if context is not None else None

    def wake(self) -> None:
        """Let the loop see what another greenlet has scheduled."""
        self.call_soon_threadsafe(_nothing)

    def end(self) -> None:
        """End the loop, unless code of an action holds it. Waits for a moment."""
        self.call_soon_threadsafe(self.stop)
        self.greenlet.join(1)
        if self.greenlet.ready():
            self.close()

    def _run(self) -> None:
        while True:
            try:
                begin(self.run_forever)
            except (SystemExit, KeyboardInterrupt) as error:  # of a task that nobody awaits
                log.warning("a task ended by %s", type(error).__name__)
            else:
                return


async def live(coroutine: Coroutine[Any, Any, Any], running: Running, outcome: AsyncResult[Any]) -> None:
    """Run the coroutine of an action, cancel the tasks that it leaves behind, and set (value, exception)."""
    value = raised = None
    try:
        value = await coroutine
    except BaseException as error:  # SystemExit would end the loop
        raised = error
        raised.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # from the coroutine on
    while rest := {task for task in running.tasks if not task.done()} - {asyncio.current_task()}:
        for task in rest:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait(rest)
    outcome.set((value, raised))


def _make_task(loop: Any, coroutine: Any, **options: Any) -> Any:
    """Make a task and note it with the action that starts it."""
    task = asyncio.Task(coroutine, loop=loop, **options)
    running = RUNNING.get(None)
    if running is not None:
        running.tasks.add(task)
    return task


def _nothing() -> None:
    pass
