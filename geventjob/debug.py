"""Diagnosis of a running process: stacks on SIGUSR1, and log lines about code that held up the hub."""

from __future__ import annotations

import faulthandler
import gc
import linecache
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from time import process_time
from types import FrameType
from typing import Any

import gevent
from greenlet import getcurrent, greenlet

from geventjob.clock import boottime
from geventjob.log import TREE
from geventjob.masking import mask_logins

log = logging.getLogger(__name__)

DEEPEST = 60
"""The innermost frames of a stack, which are shown."""
FOLLOW = 1.0
"""Seconds between two checks whether the log file was rotated."""

Place = tuple[str, int, str]  # file, line, function


def stack(frame: FrameType | None) -> str:
    """Return the stack that ends in `frame`, as a traceback shows it."""
    return traceback_of(places(frame))


def places(frame: FrameType | None) -> Iterator[Place]:
    """Yield the places of a stack, from `frame` out, DEEPEST at most."""
    for _ in range(DEEPEST):
        if frame is None:
            return
        yield frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_name
        frame = frame.f_back


def traceback_of(places: Iterable[Place]) -> str:
    """Return places of a stack as a traceback shows them, log-ins in URLs masked."""
    lines = [(file, line, name, None) for file, line, name in places]
    return mask_logins("".join(traceback.format_list(lines[::-1])))


def name(one: greenlet) -> str:
    """Return the name of a greenlet, or its type."""
    return str(getattr(one, "name", None) or type(one).__name__)


def awaited(coroutine: Any) -> list[Place]:
    """Return the places of a coroutine, from the coroutine that waits out to its own line, DEEPEST at most."""
    found: list[Place] = []
    while (frame := getattr(coroutine, "cr_frame", None)) and len(found) < DEEPEST:
        found.append((frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_name))
        coroutine = coroutine.cr_await
    return found[::-1]


def awaits(coroutine: Any) -> str:
    """Return the stack of a coroutine, from its own line down to the coroutine that waits, as a traceback shows it."""
    return traceback_of(awaited(coroutine))


def place(frame: FrameType | None) -> str:
    """Return the line of code that `frame` executes, with its file and function; log-ins in URLs are masked."""
    if frame is None:
        return "code that cannot be seen"
    file, number, name = next(places(frame))
    code = mask_logins(linecache.getline(file, number).strip())
    return f"`{code or name}` ({file}:{number}, in {name})"


def dump(describe: Callable[[greenlet], str] = lambda _: "") -> str:
    """Return the stacks of all greenlets and native threads, greenlets that run jobs first.

    Each greenlet has its job id, action and running time, and the text that `describe` returns for it.
    """
    return "\n".join(text for _, text in _stacks(describe))


class Dumps:
    """The dump of all stacks on SIGUSR1, whether or not the hub runs. A process has one, made in its main thread.

    C code writes the bare stack of each thread at once; the whole dump goes to the log as soon as the hub runs.
    """

    def __init__(self, path: str | None = None) -> None:
        """Install the signal handlers. `path`: the log file; without it C code writes stacks to stderr."""
        self.describe: Callable[[greenlet], str] = lambda _: ""
        self._path = path
        self.fd = 2 if path is None else _open(path)
        """A descriptor to which C code may write at any time: its number stays the same when the log is rotated."""
        loop = gevent.get_hub().loop
        self._signal = loop.signal(signal.SIGUSR1, ref=False)
        self._signal.start(gevent.spawn, self._write)
        # After libev: faulthandler calls the handler that it finds when its own has written.
        faulthandler.register(signal.SIGUSR1, file=self.fd, all_threads=True, chain=True)
        self._timer = loop.timer(FOLLOW, FOLLOW, ref=False)
        if path is not None:
            self._timer.start(self._follow, path)

    def close(self) -> None:
        """Take the signal handlers back."""
        faulthandler.unregister(signal.SIGUSR1)
        self._signal.stop()
        self._timer.stop()
        if self._path is not None:
            os.close(self.fd)

    def _write(self) -> None:
        for one, text in _stacks(self.describe):  # one record each: the log cuts long records
            log.warning("SIGUSR1: %s", text, extra={"greenlet": one})

    def _follow(self, path: str) -> None:
        try:
            same = os.path.samestat(os.stat(path), os.fstat(self.fd))
        except FileNotFoundError:  # it is being rotated
            return
        if not same:
            new = _open(path)
            os.dup2(new, self.fd, inheritable=False)
            os.close(new)


class Blocked:
    """The log line about code that kept the hub from running, one for each time."""

    def __init__(self, limit: float) -> None:
        """Set the limit in seconds; shorter times are not logged."""
        self._limit = limit
        self._seen: tuple[str, list[Place]] | None = None
        self._cpu = 0.0

    def beat(self) -> None:
        """Note the CPU time so far; called in the hub at intervals."""
        self._cpu = process_time()

    def look(self, frame: FrameType | None, held: float) -> None:
        """Keep the running greenlet and its stack, in a signal handler, while the hub has not run for `held` seconds.

        Nothing is logged here: the log has locks, and the text of a line of code comes from files.
        """
        if held > self._limit and self._seen is None:
            current = getcurrent()
            self._seen = f"{name(current)} ({_job(current) or 'no job'})", list(places(frame))

    def over(self, held: float) -> None:
        """Log what held up the hub for `held` seconds; called in the hub, which runs again."""
        if held > self._limit:
            who, places = self._seen or ("code that ended before it could be seen", [])
            gevent.spawn(_tell_blocked, held, process_time() - self._cpu, who, places)
        self._seen = None


def _tell_blocked(held: float, cpu: float, who: str, places: list[Place]) -> None:
    # A process that was stopped or asleep did not run either: the CPU time tells them apart.
    log.warning(
        "the hub did not run for %.1f s (%.1f s on the CPU): held by %s\n%s",
        held,
        cpu,
        who,
        traceback_of(places).rstrip(),
    )


def _stacks(describe: Callable[[greenlet], str]) -> Iterator[tuple[greenlet, str]]:
    greenlets = [thing for thing in gc.get_objects() if isinstance(thing, greenlet) and not thing.dead]
    greenlets.sort(key=lambda one: (_job(one) == "", _job(one)))
    threads = sys._current_frames()
    yield getcurrent(), f"{len(greenlets)} greenlets, {len(threads)} threads"
    for one in greenlets:
        words = ", ".join(filter(None, (_job(one) or "no job", describe(one))))
        frame = sys._getframe() if one is getcurrent() else one.gr_frame
        yield one, f"greenlet {name(one)}: {words}\n{stack(frame) or '  not begun'}"
    for ident, frame in threads.items():
        yield getcurrent(), f"thread {ident}\n{stack(frame)}"


def _job(one: greenlet) -> str:
    tree = getattr(one, "spawn_tree_locals", None)
    task = tree.get(TREE) if tree else None
    if not task:
        return ""
    return f"{task.job_id} (action {task.action!r}, {boottime() - task.started:.1f} s)"


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
