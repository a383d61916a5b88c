"""What a process is doing, told to whoever looks after it: stacks on SIGUSR1, and who held up the hub."""

from __future__ import annotations

import faulthandler
import gc
import linecache
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from time import process_time
from types import FrameType
from typing import Any

import gevent
from greenlet import getcurrent, greenlet

from geventjob.clock import boottime
from geventjob.log import TREE
from geventjob.title import LOGIN

log = logging.getLogger(__name__)

DEEPEST = 60
"""Frames that are shown of one stack, the innermost."""
FOLLOW = 1.0  # seconds between two looks whether the log file was rotated

Place = tuple[str, int, str]  # file, line, function


def stack(frame: FrameType | None) -> str:
    """The stack that ends in `frame`, as a traceback shows it."""
    return _format(_places(frame))


def place(frame: FrameType | None) -> str:
    """Return the line of code that `frame` executes, and where it stands; a password in a URL is masked."""
    if frame is None:
        return "code that cannot be seen"
    file, number, name = next(_places(frame))
    code = LOGIN.sub("://***@", linecache.getline(file, number).strip())
    return f"`{code or name}` ({file}:{number}, in {name})"


def dump(describe: Callable[[greenlet], str] = lambda _: "") -> str:
    """The stack of every greenlet and every native thread, those that run jobs first, each with its job id, action
    and running time, and what `describe` says of it."""
    return "\n".join(text for _, text in _stacks(describe))


class Dumps:
    """Writes the stacks on SIGUSR1, whether the hub runs or not. One for a process, made in its main thread.

    At once, by C code, the bare stack of each thread; the whole dump goes to the log as soon as the hub runs.
    """

    def __init__(self, path: str | None = None) -> None:
        """`path` is the log file; without it, stacks that C code writes go to stderr."""
        self.describe: Callable[[greenlet], str] = lambda _: ""
        self._path = path
        self.fd = 2 if path is None else _open(path)
        """Where C code may write at any time: it stays the same, and follows the log when that is rotated."""
        loop = gevent.get_hub().loop
        self._signal = loop.signal(signal.SIGUSR1, ref=False)
        self._signal.start(gevent.spawn, self._write)
        # After libev: faulthandler calls the handler that it finds when its own has written.
        faulthandler.register(signal.SIGUSR1, file=self.fd, all_threads=True, chain=True)
        self._timer = loop.timer(FOLLOW, FOLLOW, ref=False)
        if path is not None:
            self._timer.start(self._follow, path)

    def close(self) -> None:
        faulthandler.unregister(signal.SIGUSR1)
        self._signal.stop()
        self._timer.stop()
        if self._path is not None:
            os.close(self.fd)

    def _write(self) -> None:
        for one, text in _stacks(self.describe):  # a line each: the log cuts what is too long for one
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
    """Tells the log who kept the hub from running, once for each time."""

    def __init__(self, limit: float) -> None:
        """`limit`, seconds: shorter times are not told of."""
        self._limit = limit
        self._seen: tuple[str, list[Place]] | None = None
        self._cpu = 0.0

    def beat(self) -> None:
        """The hub runs, now and then."""
        self._cpu = process_time()

    def look(self, frame: FrameType | None, held: float) -> None:
        """In a signal handler, while the hub has not run for `held` seconds: keep what the log is to say.

        No more than that: the log has locks, and the text of a line of code comes from files.
        """
        if held > self._limit and self._seen is None:
            current = getcurrent()
            self._seen = f"{_name(current)} ({_job(current) or 'no job'})", list(_places(frame))

    def over(self, held: float) -> None:
        """In the hub, which runs again."""
        if held > self._limit:
            who, places = self._seen or ("code that was over before it could be seen", [])
            gevent.spawn(_tell_blocked, held, process_time() - self._cpu, who, places)
        self._seen = None


def _tell_blocked(held: float, cpu: float, who: str, places: list[Place]) -> None:
    # A process that was stopped or asleep did not run either: the CPU time tells them apart.
    log.warning(
        "the hub did not run for %.1f s (%.1f s on the CPU): held by %s\n%s", held, cpu, who, _format(places).rstrip()
    )


def _stacks(describe: Callable[[greenlet], str]) -> Iterator[tuple[greenlet, str]]:
    greenlets = [thing for thing in gc.get_objects() if isinstance(thing, greenlet) and not thing.dead]
    greenlets.sort(key=lambda one: (_job(one) == "", _job(one)))
    threads = sys._current_frames()
    yield getcurrent(), f"{len(greenlets)} greenlets, {len(threads)} threads"
    for one in greenlets:
        words = ", ".join(filter(None, (_job(one) or "no job", describe(one))))
        frame = sys._getframe() if one is getcurrent() else one.gr_frame
        yield one, f"greenlet {_name(one)}: {words}\n{stack(frame) or '  not begun'}"
    for ident, frame in threads.items():
        yield getcurrent(), f"thread {ident}\n{stack(frame)}"


def _places(frame: FrameType | None) -> Iterator[Place]:
    for _ in range(DEEPEST):
        if frame is None:
            return
        yield frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_name
        frame = frame.f_back


def _format(places: Any) -> str:
    lines = [(file, line, name, None) for file, line, name in places]
    return "".join(traceback.format_list(lines[::-1]))


def _name(one: greenlet) -> str:
    return str(getattr(one, "name", None) or type(one).__name__)


def _job(one: greenlet) -> str:
    tree = getattr(one, "spawn_tree_locals", None)
    task = tree.get(TREE) if tree else None
    if task is None:
        return ""
    return f"{task.job_id} (action {task.action!r}, {boottime() - task.started:.1f} s)"


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
