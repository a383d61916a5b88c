"""The exceptions that end an action in a worker, raised in its main thread by the handlers of signals."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from gevent import Timeout
from gevent.hub import Hub
from greenlet import getcurrent

from geventjob.ends import JobLost, JobStopped
from geventjob.executor.workers.calls import Calls
from geventjob.executor.workers.errors import timeout

DUMP = signal.SIGUSR1
"""Lets C code write the stack of the process."""
NUMBERS: dict[type[BaseException], int] = {
    Timeout: signal.SIGRTMIN + 1,
    JobStopped: signal.SIGRTMIN + 2,
    JobLost: signal.SIGRTMIN + 3,
}
"""The signal that stands for an exception."""


class Ends:
    """Raises the exceptions, while the action runs and makes no call."""

    def __init__(self, calls: Calls) -> None:
        """Install the handlers."""
        self._calls = calls
        self._acts = False
        self._seconds: float | None = None
        self._thread: Any = None
        self._coroutine: tuple[Any, Any] | None = None
        self._due: BaseException | None = None
        calls.left = self._raise_due
        for kind, number in NUMBERS.items():
            signal.signal(number, lambda *_, kind=kind: self._came(kind))

    @contextmanager
    def possible(self, seconds: float | None) -> Iterator[None]:
        """Let the exceptions come in the block. `seconds`: the time limit of the action."""
        self._seconds = seconds
        self._thread = getcurrent()
        self._acts = True
        try:
            yield
        finally:
            self._acts = False

    def complete(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine of the action on a loop of its own, whose task is cancelled by the first exception."""

        async def run() -> Any:
            self._coroutine = asyncio.get_running_loop(), asyncio.current_task()
            return await coroutine

        try:
            return asyncio.run(run())
        except asyncio.CancelledError:
            if self._due is None:
                raise
            raise self._due from None
        finally:
            self._coroutine = None

    def _came(self, kind: type[BaseException]) -> None:
        """Raise the exception of a signal here, in whatever the main thread executes."""
        if not self._acts:
            return
        first, self._due = self._due is None, timeout(self._seconds) if kind is Timeout else kind()
        if self._calls.waits:  # raised when the call is over
            return
        if self._coroutine and first:
            loop, task = self._coroutine
            loop.call_soon_threadsafe(task.cancel)
        else:
            self._raise_due()

    def _raise_due(self) -> None:
        """Raise the exception that is due, in the greenlet of the action."""
        due = self._due
        if due is None or not self._acts:
            return
        current = getcurrent()
        if isinstance(current, Hub):  # it would only print the exception
            current.loop.run_callback(self._thread.throw, due)
        else:
            raise due
