"""One native thread for calls that block, as those of SQLite do.

Unlike gevent's thread pool, the thread tells each result through a file of the event loop. So a greenlet that computes
sees that a result is there, and gives way (executor/slices.py): libev's own signal of a thread is not seen until the
loop runs.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import gevent
from gevent.hub import Waiter
from gevent.monkey import get_original

Result = TypeVar("Result")

_Answer = tuple["Waiter[Any]", Any, "BaseException | None"]


class NativeThread:
    """Runs calls one after another, in their order. Made and used in the thread of one hub."""

    def __init__(self) -> None:
        self._calls: Any = get_original("queue", "SimpleQueue")()
        self._answers: deque[_Answer] = deque()
        self._hub = gevent.get_hub()
        self._file = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._watcher: Any = self._hub.loop.io(self._file, 1, ref=False)
        self._watcher.start(self._answered)
        self._unanswered = 0
        get_original("_thread", "start_new_thread")(self._run, ())

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Return the result of a call in the thread, or raise its error. Other greenlets run meanwhile."""
        waiter: Waiter[Any] = Waiter(self._hub)
        self._count(1)
        self._calls.put((waiter, function, arguments))
        return cast(Result, waiter.get())

    def close(self, last: Callable[[], object], patience: float | None = 1.0) -> None:
        """Call `last` in the thread behind all other calls, wait for this, and end the thread.

        A thread that is stuck for `patience` seconds is left behind; None waits for ever.
        """
        is_stuck = gevent.with_timeout(patience, self.call, last, timeout_value=self) is self
        if not is_stuck:
            self._watcher.stop()
            self._watcher.close()
        self._calls.put(is_stuck)

    def _count(self, calls: int) -> None:
        self._unanswered += calls
        self._watcher.ref = self._unanswered > 0  # the loop does not end while a call is to be answered

    def _run(self) -> None:
        """Make the calls. In the thread."""
        while not isinstance(item := self._calls.get(), bool):
            waiter, function, arguments = item
            try:
                self._tell((waiter, function(*arguments), None))
            except BaseException as error:
                self._tell((waiter, None, error))
            item = waiter = function = arguments = None  # keep nothing alive while idle
        if item is False:  # not the hub, which may be woken before the thread has told its last answer
            os.close(self._file)

    def _tell(self, answer: _Answer) -> None:
        self._answers.append(answer)
        with suppress(OSError):  # a forked child has closed its copy
            os.eventfd_write(self._file, 1)

    def _answered(self) -> None:
        """Give each result to its caller. In the hub."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._file)
        while self._answers:
            waiter, result, error = self._answers.popleft()
            self._count(-1)
            if error is None:
                waiter.switch(result)
            else:
                waiter.throw(error)
