"""The asyncio loop of `async def` actions, in a greenlet of the hub (docs/decisions/0029-coroutines-in-the-hub.md)."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import partial
from types import FrameType
from typing import Any, TypeVar

import gevent
from gevent._waiter import Waiter

from geventjob.executor.hub_selector import HubSelector
from geventjob.executor.running import Acting, Running
from geventjob.executor.safepoints import begin
from geventjob.executor.state import ActionState
from geventjob.log import TREE

log = logging.getLogger(__name__)

T = TypeVar("T")
RUNNING: ContextVar[Running] = ContextVar("geventjob.running")
"""The action that a task works for; tasks and callbacks inherit their context from the code that made them."""

RUN = asyncio.Handle._run.__code__
"""The code by which a loop calls tasks and callbacks."""


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

    @staticmethod
    def acting_in(frame: FrameType | None) -> Running | None:
        """Return the action whose task or callback calls the code of this frame. Callable from any native thread."""
        while frame is not None and frame.f_code is not RUN:
            frame = frame.f_back
        return frame.f_locals["self"]._context.get(RUNNING) if frame is not None else None

    def _check_thread(self) -> None:
        """Allow calls from all greenlets of the hub: asyncio's debug mode takes each for a thread of its own."""

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


class ActionTask:
    """The coroutine of an action, from its begin to its end."""

    __slots__ = ("_coroutine", "_error", "_loop", "_running", "_task", "_value", "_waiter", "begun", "ended")

    def __init__(self, loop: EventLoop, coroutine: Coroutine[Any, Any, Any], running: Running) -> None:
        """Begin the coroutine in the next turn of the loop."""
        self._loop = loop
        self._coroutine = coroutine
        self._running = running
        self._waiter: Waiter[None] | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self.begun = self.ended = False
        context = copy_context()
        context.run(RUNNING.set, running)
        self._task: asyncio.Task[None] = context.run(partial(asyncio.Task, live(self, coroutine, running), loop=loop))
        loop.selector.wake()

    def end(self, value: Any, error: BaseException | None) -> None:
        """Note the end, and wake the greenlet that waits for it."""
        self._value, self._error, self.ended = value, error, True
        if self._waiter is not None:
            gevent.get_hub().loop.run_callback(self._waiter.switch, None)

    # --- in the greenlet of the action

    def wait(self) -> None:
        """Wait for the end."""
        self._waiter = Waiter()
        try:
            self._waiter.get()
        finally:
            self._waiter = None

    def result(self) -> Any:
        """Return the value of the coroutine that has ended, or raise its exception."""
        if self._error is not None:
            raise self._error
        return self._value

    def cancel(self, why: str) -> None:
        """Cancel the coroutine. One that holds the loop gets the CancelledError where it is."""
        if not self.begun:  # `live` is not there yet to note the end
            self._task.cancel()
            self._coroutine.close()
            self.end(None, asyncio.CancelledError(why))
        elif self._loop.acting() is self._running:
            gevent.get_hub().loop.run_callback(self._throw, why)
        else:
            self._task.cancel(why)
            self._loop.selector.wake()

    def _throw(self, why: str) -> None:
        if self._loop.acting() is self._running:
            self._loop.greenlet.throw(asyncio.CancelledError(why))


async def live(task: ActionTask, coroutine: Coroutine[Any, Any, Any], running: Running) -> None:
    """Run the coroutine of an action, cancel the tasks that it leaves behind, and note its end."""
    task.begun = True
    value = raised = None
    try:
        value = await coroutine
    except BaseException as error:  # SystemExit would end the loop
        raised = error
        raised.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # from the coroutine on
    while rest := running.unfinished:
        for one in rest:
            one.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait(rest)
    task.end(value, raised)


def _make_task(loop: Any, coroutine: Any, **options: Any) -> Any:
    """Make a task and note it with the action that starts it."""
    task = asyncio.Task(coroutine, loop=loop, **options)
    running = RUNNING.get(None)
    if running is not None:
        running.tasks.add(task)
    return task
