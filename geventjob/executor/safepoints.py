"""The points where the code of an action may be interrupted without a break of state that others rely on.

An interrupted action gets an exception or is parked while other greenlets run. State that a native thread could see is
no danger: the interpreter drops its lock at the same points. State that belongs to the native thread is a danger, since
all greenlets share it (docs/measurements.md, "Slicing code that computes").
"""

from __future__ import annotations

import concurrent.futures.thread
import ctypes
import dis
import gc
import inspect
import sys
import threading
from collections.abc import Callable
from enum import Enum
from types import FrameType
from typing import Any

# Code of these modules holds locks of the native thread, is in the middle of a clean-up, or owns state of the thread
# and not of the greenlet. Exact names of top-level modules: an action's own `queue_tools` is not among them.
PROTECTED = frozenset(
    """_py_abc _queue _threading_local _weakref _weakrefset abc asyncio bdb cmd code concurrent contextlib faulthandler
    gc gevent kazoo logging multiprocessing pdb queue selectors signal socket sqlite3 ssl subprocess threading
    urllib3 warnings weakref""".split()  # noqa: SIM905
)
# Functions of these modules and of the engine that leave nothing half done where they call an action's code.
CALLERS = frozenset(
    (
        "asyncio.base_events._run_once",
        "asyncio.base_events.run_forever",
        "asyncio.base_events.run_until_complete",
        "asyncio.events._run",
        "asyncio.runners.run",
        "contextlib.inner",  # a context manager that decorates a function
        "geventjob.cimi.body._as_text",
        "geventjob.cimi.body._check",
        "geventjob.cimi.body.encoded",
        "geventjob.executor.event_loop.live",
        "geventjob.executor.job.add_affected_resource",
        "geventjob.executor.job.add_affected_resources",
        "geventjob.executor.job.edit",
        "geventjob.executor.job.set_progress",
        "geventjob.executor.job.set_return_code",
        "geventjob.executor.job.set_state",
        "geventjob.executor.job.set_status_message",
        "gevent.timeout.with_timeout",
        "multiprocessing.pool.mapstar",
        "multiprocessing.pool.worker",
    )
)
# A call of these modules and functions that waits may be interrupted: they hold objects meanwhile that are shared
# between processes, never with the hub (docs/reference/blocking-calls.md).
WAITING = frozenset(("multiprocessing", "gevent.os.waitpid"))
# Below these, a module is being imported. It may fail at any line, but must not be parked with the locks of the import.
IMPORT = frozenset(("importlib", "_frozen_importlib", "_frozen_importlib_external", "zipimport"))
ENGINE = "geventjob"
ACTIONS = "geventjob.actions."  # the shipped actions are actions, not the engine

# Called by the interpreter in the middle of its own bookkeeping: deallocation.
DELETION = "__del__"
# It may fail at any line, but must not be parked: the objects inside repr() are noted for the native thread.
REPRESENTATION = "__repr__"


def begin(body: Callable[[], Any]) -> Any:
    """Call `body`. The frame of this function marks the beginning of an action: no outer code is interrupted."""
    return body()


# A walk outwards ends at the beginning of the action, or of a thread (a greenlet) that the action started.
_BEGINNINGS = frozenset(
    function.__code__
    for function in (
        begin,
        threading.Thread.run,
        threading.Timer.run,
        concurrent.futures.thread._WorkItem.run,
    )
)


# Python 3.10 looks for signals between the unwinding of an exception and the first instruction of its handler, which in
# a `with` calls __exit__. An exception raised there leaves the lock held: 5 of 16 locks in 32 s of stress.
LOOKS_BEFORE_EXIT = sys.version_info < (3, 11)

# Python 3.14 calls __enter__ by a plain CALL, behind which it looks for signals before the block's handler is in force:
# an exception raised there leaves the lock held (58 % of shots in a tight loop; CPython's issue gh-148874).
LOAD_SPECIAL = dis.opmap.get("LOAD_SPECIAL")
CALL = dis.opmap.get("CALL")


class Point(Enum):
    """The interruptions that a greenlet may get where it is."""

    NOTHING = 0
    RAISE = 1
    """An exception may be raised in the greenlet, but it must not be parked."""
    ANY = 2


class SafePoints:
    """Finds the interruptions that the running greenlet may get. One for a process, made in its main thread."""

    def __init__(self) -> None:
        """Find the guards. Raises NotImplementedError on a Python without them: nothing may be interrupted there."""
        self._collecting = False
        self._reprs = reprs()
        gc.callbacks.append(self._collection)

    def close(self) -> None:
        """Stop observing garbage collections."""
        if self._collection in gc.callbacks:
            gc.callbacks.remove(self._collection)

    def at(self, frame: FrameType, child: bool, waits: bool = False) -> Point:
        """Return the interruptions that the current greenlet may get; `frame` is its innermost frame.

        The greenlet of an action is interrupted only within `begin`; the greenlet of a `child` has no such frame.
        `waits` says that a system call of the greenlet was interrupted.
        """
        # A collection keeps list heads on the C stack: parked in a weakref callback, it made 2,131 of 2,132
        # collections of the other greenlets do nothing. repr() notes the objects it is inside of for the thread: with
        # a greenlet parked in repr(), all of 659,798 others printed `[...]`; an exception takes the note away. The
        # frames show neither.
        if self._collecting or (LOOKS_BEFORE_EXIT and _exiting(frame)) or _entering(frame):
            return Point.NOTHING
        point = _point(frame, child, waits)
        return Point.RAISE if self._reprs and point is Point.ANY else point

    def _collection(self, phase: str, info: dict[str, int]) -> None:
        self._collecting = phase == "start"


def _point(frame: FrameType, child: bool, waits: bool = False) -> Point:
    """Walk outwards to the beginning of the action, and return the interruptions that every frame allows.

    Code of the action may lie inside code of the engine that called it. Code of the engine inside code of the action
    works for the action, and must not be interrupted.
    """
    walk: FrameType | None = frame
    engine = False
    point = Point.ANY
    while walk is not None and walk.f_code not in _BEGINNINGS:
        module = walk.f_globals.get("__name__") or ""
        top = module.partition(".")[0]
        if walk.f_code.co_name == DELETION or (top in PROTECTED and not _open(walk, module, frame, waits)):
            return Point.NOTHING
        if top in IMPORT:
            if walk is frame:
                return Point.NOTHING
            point = Point.RAISE
        if walk.f_code.co_name == REPRESENTATION:
            point = Point.RAISE
        if top == ENGINE and not module.startswith(ACTIONS) and (walk is frame or not _calls(walk, module)):
            if walk is frame:
                return Point.NOTHING
            engine = True
        elif engine:
            return Point.NOTHING
        walk = walk.f_back
    if walk is frame or (walk is None and not child):
        return Point.NOTHING  # not begun yet, or ended: an exception would land in the runner
    return point


def _open(walk: FrameType, module: str, innermost: FrameType, waits: bool) -> bool:
    """Return whether this frame of a protected module may be interrupted all the same."""
    if waits and (f"{module}.{walk.f_code.co_name}" in WAITING or module.partition(".")[0] in WAITING):
        return True
    return walk is not innermost and _calls(walk, module)


def _calls(frame: FrameType, module: str) -> bool:
    """Return whether this function may be interrupted while it calls code of the action."""
    # A coroutine of asyncio awaits a coroutine of the action: `wait_for`, a task group.
    awaits = module.partition(".")[0] == "asyncio" and frame.f_code.co_flags & inspect.CO_COROUTINE
    return f"{module}.{frame.f_code.co_name}" in CALLERS or bool(awaits)


def _exiting(frame: FrameType) -> bool:
    """Return whether an exception is handled that the last instruction of this frame has raised."""
    error = sys.exc_info()[1]
    trace = error.__traceback__ if error is not None else None
    return trace is not None and trace.tb_frame is frame and trace.tb_lasti == frame.f_lasti


def _entering(frame: FrameType) -> bool:
    """Return whether this frame has just called __enter__ and is not yet inside the block."""
    if LOAD_SPECIAL is None:
        return False
    code, last = frame.f_code.co_code, frame.f_lasti
    return code[last] == CALL and code[last - 2] == LOAD_SPECIAL


def reprs() -> list[Any]:
    """Return the interpreter's list of the objects that this thread is inside repr() of.

    Raises NotImplementedError on a Python that keeps none.
    """
    repr([0])  # makes the list
    try:
        get = ctypes.pythonapi.PyThreadState_GetDict
        # A borrowed reference: `restype = py_object` would free it and corrupt memory.
        get.restype = ctypes.c_void_p
        found = ctypes.cast(get(), ctypes.py_object).value["Py_Repr"]
    except (AttributeError, KeyError, ValueError) as error:
        raise NotImplementedError(f"this Python lacks {error}") from None
    if not isinstance(found, list) or not hasattr(gc, "callbacks"):
        raise NotImplementedError("this Python keeps no list of what it is inside repr() of")
    return found
