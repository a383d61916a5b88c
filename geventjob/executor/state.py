"""State of the process that each action has for itself: streams, warnings, directory, environment, asyncio's loop.

All greenlets share the state of the process, as threads would, and most of the state is not made for sharing: two
`asyncio.run` in a thread are an error, and after two overlapping `redirect_stdout` the wrong stream stays. So changes
that an action has made are put aside while another greenlet runs, and put back when the action goes on. They end with
the action.
"""

from __future__ import annotations

import locale
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from greenlet import getcurrent, gettrace, greenlet, settrace

from geventjob.executor import safepoints
from geventjob.executor.running import Running, owner_in

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Kind:
    """A piece of state: `read` returns its value, `write` sets it."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    base: Any = field(init=False)
    """The value while no action runs."""

    def __post_init__(self) -> None:
        self.base = self.read()


Values = dict[Kind, Any]


class ActionState:
    """Keeps the state of actions apart. One for a process, made in its main thread before it loads actions."""

    def __init__(self) -> None:
        self._streams = [
            Kind("sys.stdout", lambda: sys.stdout, lambda stream: setattr(sys, "stdout", stream)),
            Kind("sys.stderr", lambda: sys.stderr, lambda stream: setattr(sys, "stderr", stream)),
            Kind("the filters of warnings", _warnings, _set_warnings),
            Kind("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
        ]
        try:
            reprs = safepoints.reprs()
        except NotImplementedError:  # logged by the watch
            reprs = []
        self._reprs = reprs
        self._of_greenlets = [
            Kind("asyncio's running loop", _loop, _set_loop),
            Kind("repr()", lambda: list(reprs), lambda inside: reprs.__setitem__(slice(None), inside)),
        ]
        self._aside: dict[Any, Values] = {}  # by actions (or all coroutines together), and by greenlets
        self._touched: dict[Any, set[Kind]] = {}
        self._told: set[tuple[str, str]] = set()
        self._before: Any = None
        self._touching()

    def _touching(self) -> None:
        """Note the actions that call functions which change state that is too expensive to compare at each switch."""
        umask, chdir, tzset, setlocale = os.umask, os.chdir, time.tzset, locale.setlocale
        environment = os.environ.__class__
        set_variable, delete_variable = environment.__setitem__, environment.__delitem__

        def write_environment(wanted: dict[str, str]) -> None:
            for name in os.environ.keys() - wanted.keys():
                delete_variable(os.environ, name)
            for name, value in wanted.items():
                if os.environ.get(name) != value:
                    set_variable(os.environ, name, value)

        variables = Kind("os.environ", lambda: dict(os.environ), write_environment)
        zone = Kind("the time zone", lambda: (time.tzname, time.timezone), lambda _: tzset())
        mask = Kind("the umask", lambda: (umask(now := umask(0o77)), now)[1], umask)
        directory = Kind("the working directory", _directory, chdir)
        language = Kind("the locale", lambda: setlocale(locale.LC_ALL), lambda name: setlocale(locale.LC_ALL, name))
        self._dear = (variables, zone, mask, directory, language)  # the zone after the variable that names it
        for where, names, kind in (
            (environment, ("__setitem__", "__delitem__"), variables),
            (time, ("tzset",), zone),
            (os, ("umask",), mask),
            (os, ("chdir", "fchdir"), directory),
            (locale, ("setlocale",), language),
        ):
            for name in names:
                setattr(where, name, self._noted(getattr(where, name), kind))

    def _noted(self, function: Callable[..., Any], kind: Kind) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            running = owner_in(getcurrent())
            if running is not None:
                self._touched.setdefault(running, set()).add(kind)
            return function(*args, **kwargs)

        return call

    # --- in a greenlet of an action

    def wait(self) -> None:
        """Watch switches from now on if the greenlet has state to put aside; called when it is about to wait."""
        if self._before is None and self._changed(owner_in(getcurrent())):
            self._before = gettrace() or _nothing
            settrace(self._switched)

    def ended(self, running: Running) -> None:
        """Put back the state that an action has left changed; log each kind once for each action."""
        left = self._take(self._shared(running))
        self._touched.pop(running, None)
        for who in (running, getcurrent()):
            self._aside.pop(who, None)
        for kind in left:
            if (running.action, kind.name) not in self._told:
                self._told.add((running.action, kind.name))
                log.warning("the action %r left %s changed: put back", running.action, kind.name)

    def _changed(self, running: Any) -> bool:
        """Return whether there may be state to put aside. Cheap, since each wait of an action calls it."""
        out, err, filters, limit = self._streams
        return bool(
            running in self._touched
            or self._reprs
            or sys.stdout is not out.base
            or sys.stderr is not err.base
            or warnings.filters is not filters.base[1]
            or warnings.showwarning is not filters.base[2]
            or sys.getrecursionlimit() != limit.base
            or _runs_loop()
        )

    # --- at each switch, in the greenlet that goes on, while anything is put aside

    def _switched(self, event: str, args: tuple[greenlet, greenlet]) -> None:
        with suppress(Exception):  # an exception would land in the greenlet
            self._swap(*args)
        self._before(event, args)
        if not self._aside:
            settrace(None if self._before is _nothing else self._before)
            self._before = None

    def _swap(self, origin: greenlet, target: greenlet) -> None:
        before, after = owner_in(origin), owner_in(target)
        if before is not None and (before in self._aside or origin in self._aside or self._changed(before)):
            self._put_aside(origin, self._of_greenlets)
            self._put_aside(before, self._shared(before))
        for who in (after, target):
            for kind, value in self._aside.get(who, {}).items():
                _write(kind, value)

    def _put_aside(self, who: Any, kinds: list[Kind]) -> None:
        values = self._take(kinds)
        if values and not getattr(who, "dead", False):
            self._aside[who] = values
        else:
            self._aside.pop(who, None)

    def _shared(self, running: Any) -> list[Kind]:
        """Return the kinds of state that the greenlets of an action share, in the order of writing."""
        touched = self._touched.get(running, ())
        return [*self._streams, *(kind for kind in self._dear if kind in touched)]

    def _take(self, kinds: list[Kind]) -> Values:
        """Return the values that differ from their base, and set them to the base."""
        values = {kind: value for kind in kinds if (value := kind.read()) != kind.base}
        for kind in values:
            _write(kind, kind.base)
        return values


def _write(kind: Kind, value: Any) -> None:
    with suppress(Exception):  # a folder that is gone, a recursion limit below the depth
        kind.write(value)


def _directory() -> str | None:
    """Return the working directory; None for a directory that was removed."""
    try:
        return os.getcwd()
    except OSError:
        return None


def _nothing(event: str, args: Any) -> None:
    """Do nothing: the trace function where there was none."""


def _warnings() -> Any:
    """Return the state of `warnings`: the id of the list first, as `catch_warnings` begins with an equal list."""
    return id(warnings.filters), warnings.filters, warnings.showwarning, warnings._showwarnmsg_impl  # type: ignore[attr-defined]


def _set_warnings(values: Any) -> None:
    _, warnings.filters, warnings.showwarning, warnings._showwarnmsg_impl = values  # type: ignore[attr-defined]
    warnings._filters_mutated()  # type: ignore[attr-defined]


def _runs_loop() -> bool:
    events = sys.modules.get("asyncio.events")
    return events is not None and events._get_running_loop() is not None


def _loop() -> Any:
    """Return the running loop, its current task and the hooks of its generators; None without a loop."""
    if not _runs_loop():
        return None
    loop = sys.modules["asyncio"]._get_running_loop()
    return loop, sys.modules["asyncio"].current_task(loop), sys.get_asyncgen_hooks()


def _set_loop(value: Any) -> None:
    asyncio = sys.modules["asyncio"]
    loop, task, hooks = value or (None, None, (None, None))
    if TASK_OF_THREAD and loop is None:
        asyncio.tasks._swap_current_task(asyncio._get_running_loop(), None)
    asyncio._set_running_loop(loop)
    if TASK_OF_THREAD and loop is not None:
        asyncio.tasks._swap_current_task(loop, task)
    sys.set_asyncgen_hooks(*hooks)


TASK_OF_THREAD = sys.version_info >= (3, 14)
"""Whether asyncio keeps the current task for each thread, and not for each loop as before Python 3.14."""
