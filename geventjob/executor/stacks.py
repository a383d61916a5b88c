"""The stacks of an action: where its code and its greenlets are. Taken anywhere, put into words later.

Nothing is read from files, logged or locked while a stack is taken: the handler of a signal may take it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING

from geventjob import debug
from geventjob.executor.safepoints import begin

if TYPE_CHECKING:
    from geventjob.executor.running import Running

CHILDREN = 5
"""Most greenlets, and most tasks, of an action whose stacks are taken."""
ENGINE = "geventjob.executor."

Stack = tuple[str, list[debug.Place]]
"""The name of a greenlet or task, empty for the action itself, and its places from the innermost out."""


def taken(running: Running) -> list[Stack]:
    """Return the stack of the action, and those of the first greenlets and tasks of asyncio that it started."""
    if running.coroutine:
        stacks = [("", debug.awaited(running.coroutine)), *_tasks(running)]
    else:
        stacks = [("", _inner(running.greenlet.gr_frame or _own()))]
    for child in list(running.children)[:CHILDREN]:
        if not child.dead and child.gr_frame is not None:
            stacks.append((f"greenlet {debug.name(child)}", list(debug.places(child.gr_frame))))
    return stacks


def in_words(stacks: Sequence[Stack]) -> str:
    """Return stacks as tracebacks show them, log-ins in URLs masked. The stack of the action comes last."""
    return "\n".join(
        f"{name}:\n{debug.traceback_of(places)}" if name else debug.traceback_of(places)
        for name, places in reversed(stacks)
    ).rstrip()


def _tasks(running: Running) -> list[Stack]:
    """Return the stacks of the tasks that a coroutine has started, without its own task."""
    stacks = list[Stack]()
    for task in list(running.tasks)[: CHILDREN + 1]:
        coroutine = task.get_coro()
        if not task.done() and getattr(coroutine, "cr_await", None) is not running.coroutine:
            stacks.append((f"task {task.get_name()}", debug.awaited(coroutine)))
    return stacks


def _inner(frame: FrameType | None) -> list[debug.Place]:
    """Return the places of a stack from `frame` out to the beginning of the action."""
    places = list(debug.places(frame))
    for depth in range(len(places)):
        if frame is None or frame.f_code is begin.__code__:
            return places[:depth]
        frame = frame.f_back
    return places


def _own() -> FrameType | None:
    """Return the innermost frame of the action in the current greenlet, which the engine has interrupted."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith(ENGINE):
        frame = frame.f_back
    return frame
