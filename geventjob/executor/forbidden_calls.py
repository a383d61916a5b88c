"""Calls that actions may not make, and that raise an error there: signals, timers, waiting in a finalizer.

Signal handlers and timers belong to the whole process, and so to the executor: SIGALRM slices actions that compute,
SIGTERM drains. docs/how-to/write-safe-actions.md names the calls to use instead.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import gevent
from gevent.hub import Hub
from greenlet import getcurrent

from geventjob.executor.running import in_coroutine, running_in

TIMERS = frozenset((signal.SIGALRM, signal.SIGPROF))


def refuse_signals() -> None:
    """Let the calls that change signals or timers raise ValueError in actions, as they do in threads. Call it once."""
    for where, names in (
        (signal, ("signal", "alarm", "setitimer", "siginterrupt", "set_wakeup_fd")),
        (gevent, ("signal_handler",)),
    ):
        for name in names:
            setattr(where, name, _refused(name, getattr(where, name), lambda *_: True))
    mask: Any = _refused("pthread_sigmask", signal.pthread_sigmask, _blocks_timers)
    signal.pthread_sigmask = mask


def _refused(name: str, function: Callable[..., Any], when: Callable[..., bool]) -> Callable[..., Any]:
    process = os.getpid()

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if running_in(getcurrent()) is not None and os.getpid() == process and when(*args) and not _engine():
            raise ValueError(
                f"{name}() in an action: signals and timers belong to the executor. "
                "For a time limit use gevent.Timeout or the timeout of the action"
            )
        return function(*args, **kwargs)

    return call


def _blocks_timers(how: int, mask: Any) -> bool:
    return how != signal.SIG_UNBLOCK and not TIMERS.isdisjoint(mask)


def _engine() -> bool:
    """Return whether the caller is the engine itself, at work in the greenlet of an action."""
    caller = sys._getframe(1).f_back
    module = caller.f_globals.get("__name__", "") if caller else ""
    return module.startswith("geventjob.") and not module.startswith("geventjob.actions.")


def refuse_forks_of_coroutines() -> None:
    """Let `os.fork` raise RuntimeError in a coroutine: the child would run all coroutines on. Call it once."""
    fork = os.fork

    @wraps(fork)
    def call() -> int:
        if in_coroutine():
            raise RuntimeError("a coroutine cannot fork: use asyncio.to_thread, or the method `spawn`")
        return fork()

    os.fork = call


def refuse_waits_of_finalizers() -> None:
    """Let waiting raise RuntimeError in code that the garbage collector calls: `__del__`, weakref callbacks.

    No garbage is collected anywhere while such code waits. Call it once.
    """
    before: list[Any] = []

    def collection(phase: str, info: dict[str, int]) -> None:
        current: Any = getcurrent()
        if isinstance(current, Hub):  # the hub refuses to wait at any time
            return
        if phase == "start":
            before.append(getattr(current, "switch_out", None))
            current.switch_out = _refuse_wait  # called by gevent ahead of each wait
        elif before:
            current.switch_out = before.pop()

    gc.callbacks.append(collection)
    atexit.register(gc.callbacks.remove, collection)


def _refuse_wait() -> None:
    raise RuntimeError("a finalizer (__del__, a weakref callback) that the garbage collector calls must not wait")
