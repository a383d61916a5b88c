"""Forked children: in a child that `os.fork` made, only the greenlet that called `os.fork` goes on.

gevent keeps its event loop over a fork: a child of an action ran the code of all other actions too (10 jobs wrote 16
lines), and parent and child used the same connections. `isolate` prevents this for the whole process. Programs that are
started anew (`subprocess`, `os.posix_spawn`, `spawn` and `forkserver` of multiprocessing) are not affected.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

import gevent
from gevent import Greenlet
from gevent._hub_local import get_hub_if_exists
from greenlet import getcurrent, greenlet

_mask: set[int] = set()  # of signals, as it was before the fork
_others: list[greenlet] = []  # in a child; freed, these greenlets would run their `finally` blocks


def isolate() -> None:
    """Let no greenlet, watcher or callback of this process go on in its forked children. Call this once."""
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
    # after the hook above: hooks in the child run in the order of their registration
    os.register_at_fork(after_in_parent=_unmask, after_in_child=_unmask)


def in_child() -> bool:
    """Return whether this process is a forked child of the one that called `isolate`."""
    return bool(_others)


def end(error: BaseException | None) -> NoReturn:
    """End a forked child whose own code has ended, by `error` or well; no atexit function of the parent runs."""
    code: Any = 0
    if isinstance(error, SystemExit):
        code = error.code or 0
    elif error is not None:
        traceback.print_exception(type(error), error, error.__traceback__)
        code = 1
    if not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code & 0xFF)


def _before_fork() -> None:
    """Hold signals back: a SIGTERM that the child gets while it still has the parent's handlers would be lost."""
    _mask.clear()
    _mask.update(signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()))


def _unmask() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _mask)


def _after_fork() -> None:
    if not _about_to_exec(sys._getframe(1)):
        _leave_others_behind()
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # asks for a dump; `systemctl kill` sends the signal to children too


def _leave_others_behind() -> None:
    """Keep the greenlet that forked, and no other greenlet, watcher or callback."""
    forking, hub = getcurrent(), get_hub_if_exists()
    gc.unfreeze()  # the list of objects lacks frozen ones: greenlets and watchers from the start of the process
    objects = gc.get_objects()
    _others.extend(thing for thing in objects if isinstance(thing, greenlet))
    if hub is None:  # a native thread, which has no greenlets
        return
    _silence(hub.loop, objects)
    gevent.reinit()
    if forking not in (hub, hub.parent):
        hub.parent = _stand_in(forking, hub.parent)
    if isinstance(forking, Greenlet):
        forking.rawlink(lambda ended: end(ended.exception))


def _about_to_exec(frame: FrameType | None) -> bool:
    """Return whether `subprocess` forks: its child runs no Python code but a `preexec_fn`, and the search for greenlets
    would cost milliseconds."""
    for _ in range(3):
        if frame is None:
            return False
        if frame.f_code.co_name == "_execute_child" and frame.f_globals.get("__name__") == "gevent.subprocess":
            return frame.f_locals.get("preexec_fn") is None
        frame = frame.f_back
    return False


def _silence(loop: Any, objects: list[Any]) -> None:
    """Stop all watchers and callbacks of this loop, signal handlers too; the loop stays usable for the child."""
    watcher: Any = next(kind for kind in type(loop.timer(0.0)).__mro__ if kind.__name__ == "watcher")
    for thing in objects:
        # watchers of this kind tell gevent's own threads and resolver about the fork
        if isinstance(thing, watcher) and thing.loop is loop and type(thing).__name__ != "fork":
            thing.stop()
    for callback in list(loop._callbacks or ()):
        callback.stop()


def _stand_in(forking: greenlet, main: greenlet | None) -> greenlet:
    """Return a parent for the hub in place of the main greenlet, which must not run in the child.

    It throws all errors of the hub into the greenlet that has forked.
    """

    def run() -> None:
        give: Any = forking.switch
        try:
            while True:
                try:
                    give()
                except BaseException as error:  # LoopExit, SystemExit: thrown by a hub into its parent
                    give = lambda error=error: forking.throw(error)  # noqa: E731
        finally:
            os._exit(1)

    made = greenlet(run, main)
    made.switch()
    return made
