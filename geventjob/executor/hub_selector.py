"""A selector for asyncio that waits in the hub, so that greenlets run while the loop waits.

asyncio keeps the running loop for the native thread. The loop here is no running loop while it waits: an `asyncio.run`
of another action finds none, and a greenlet that waits has no state to put aside.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import sys
from time import monotonic
from typing import Any

import gevent
from gevent._waiter import Waiter

TICK = 0.001
"""Seconds to which a wait is rounded up, as asyncio's own selectors do: one turn of the loop for all that is due."""


class HubSelector(selectors.SelectSelector):
    """The selector of one loop, for one greenlet."""

    def __init__(self) -> None:
        super().__init__()
        self._hub = gevent.get_hub()
        self._watchers: dict[int, Any] = {}
        self._stopped: set[int] = set()  # files whose watcher has told its events
        self._events: dict[int, int] = {}
        self._waiter: Waiter[None] | None = None
        self.waits = False
        """Whether the loop waits for events, and runs no code."""
        self.turned = monotonic()
        """When the last wait was over, monotonic seconds."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a file, as in `selectors`."""
        key = super().register(fileobj, events, data)
        # libev's READ and WRITE are EVENT_READ and EVENT_WRITE
        self._watchers[key.fd] = self._hub.loop.io(key.fd, events)
        self._stopped.add(key.fd)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """End to watch a file, as in `selectors`."""
        key = super().unregister(fileobj)
        watcher = self._watchers.pop(key.fd)
        watcher.stop()
        watcher.close()
        self._stopped.discard(key.fd)
        self._events.pop(key.fd, None)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait in the hub, once at least; return the events as in `selectors`."""
        loop, hooks = asyncio._get_running_loop(), sys.get_asyncgen_hooks()
        asyncio._set_running_loop(None)
        sys.set_asyncgen_hooks(None, None)
        self.waits = True
        try:
            self._wait(timeout)
        finally:
            self.waits = False
            self.turned = monotonic()
            asyncio._set_running_loop(loop)
            sys.set_asyncgen_hooks(*hooks)
        events, self._events = self._events, {}
        keys = self.get_map()
        return [(keys[fd], found & keys[fd].events) for fd, found in events.items()]

    def wake(self) -> None:
        """End the wait of the loop. Callable from any greenlet of the hub's thread, and from the hub."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._hub.loop.run_callback(waiter.switch, None)

    def _wait(self, timeout: float | None) -> None:
        for fd in self._stopped:
            self._watchers[fd].start(self._tell, fd, pass_events=True)
        self._stopped.clear()
        waiter = self._waiter = Waiter(self._hub)
        timer = None
        if timeout is not None or self._events:
            # A loop that need not wait gets its next turn by a timer too, so after the files and timers that are ready;
            # by a callback, a coroutine that computes 3 ms at a time made timers of greenlets 41 ms late, so 3 ms.
            seconds = 0.0 if self._events or not timeout else max(0.0, math.ceil(timeout / TICK) * TICK)
            timer = self._hub.loop.timer(seconds)
            # update: the clock of a loop that was held up is late
            timer.start(self.wake, update=True)
        try:
            waiter.get()
        finally:
            self._waiter = None
            if timer is not None:
                timer.close()

    def _tell(self, events: int, fd: int) -> None:
        """Note the events of a file, in the hub, and stop its watcher until the next wait."""
        self._watchers[fd].stop()
        self._stopped.add(fd)
        self._events[fd] = self._events.get(fd, 0) | events
        self.wake()
