"""A clock that jumps to the next timer whenever nothing can run: hours of waiting pass in no time.

`install` comes first, before any module of geventjob that waits or looks at a clock. All greenlets, locks and events of
gevent work as ever; only timers and clocks are others. Nothing may wait for a socket or a thread.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

import gevent
from gevent.libev import corecext

EPOCH = datetime(2030, 1, 1, tzinfo=timezone.utc)
_LEAST = -2  # priority of the idle watcher: everything else that can run goes first

_now = 0.0
_order = count()
_due: list[tuple[float, int, Timer, Callable[..., Any]]] = []


class Timer:
    """A timer of the loop, as gevent uses it."""

    def __init__(self, after: float, repeat: float = 0.0) -> None:
        self._after = after
        self._repeat = repeat
        self.callback: Callable[..., Any] | None = None
        self.args: tuple[Any, ...] = ()
        self.ref = True
        self.pending = False

    @property
    def active(self) -> bool:
        return self.callback is not None

    def start(self, callback: Callable[..., Any], *args: Any, update: bool | None = None) -> None:
        """Call `callback` when the time is over."""
        self.callback, self.args = callback, args
        heapq.heappush(_due, (_now + max(0.0, self._after), next(_order), self, callback))

    again = start

    def stop(self) -> None:
        self.callback = None

    close = stop

    def fire(self) -> None:
        """Call the callback; begin again if the timer repeats."""
        callback, args = self.callback, self.args
        assert callback is not None
        self.callback = None
        if self._repeat:
            self._after = self._repeat
            self.start(callback, *args)
        callback(*args)

    def __enter__(self) -> Timer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Loop(corecext.loop):
    """gevent's loop with timers of the virtual time."""

    def timer(self, after: float, repeat: float = 0.0, ref: bool = True, priority: int | None = None) -> Any:
        return Timer(after, repeat)


def _advance() -> None:
    """Go to the next time at which something is due, and do it."""
    global _now
    while _due:
        moment, _, timer, callback = heapq.heappop(_due)
        if timer.callback is callback:
            _now = max(_now, moment)
            timer.fire()
            return


def install() -> None:
    """Put the virtual time in place of the real one in this process, for good."""
    config: Any = gevent.config
    config.loop = Loop
    idle: Any = gevent.get_hub().loop.idle()
    idle.priority = _LEAST
    idle.start(_advance)
    clocks: Any = time
    clocks.clock_gettime = lambda clock: _now
    clocks.monotonic = lambda: _now
    clocks.time = lambda: EPOCH.timestamp() + _now
    clocks.thread_time = lambda: 0.0  # the model counts the CPU of a list
    from geventjob import clock

    moments: Any = clock
    moments.now = lambda: EPOCH + timedelta(seconds=_now)
