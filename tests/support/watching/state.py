"""State of the process in actions that overlap: two actions for each kind of state, which wait for each other."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import locale
import os
import signal
import sys
import tempfile
import time
import warnings
import weakref
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

import gevent

from geventjob.executor.forbidden_calls import refuse_signals, refuse_waits_of_finalizers
from geventjob.executor.slices import Pace
from geventjob.executor.state import ActionState
from geventjob.executor.watch import Watch
from tests.support.watching.base import Act, claim
from tests.support.watching.hub import Lines
from tests.support.watching.shares import spin


def watched(**options: Any) -> Watch:
    """Return a watch with the state of actions kept apart, as in an executor."""
    refuse_signals()
    refuse_waits_of_finalizers()
    return Watch(state=ActionState(), pace=Pace(lag=0.01, slice=0.005, turn=0.02, beat=0.004), **options)


def overlap(watch: Watch, *bodies: Callable[..., Any]) -> list[Any]:
    """Return the result of each body, or its error in words. Each body is handed a call that lets the others run."""
    acts = [Act(watch, partial(body, give_way), claim(f"job/{n}"), action="a") for n, body in enumerate(bodies)]
    endings = [act.ending for act in acts]
    return [repr(ending.error) if hasattr(ending, "error") else ending.value for ending in endings]


def give_way() -> None:
    for _ in range(3):
        gevent.sleep(0.001)
    spin(0.03)  # and by a time slice


def kept_apart() -> Any:
    """Return the values of each kind of state as two actions saw them, as the hub saw them, and at the end."""
    log = Lines()
    folders = [os.path.realpath(tempfile.mkdtemp()) for _ in range(2)]

    def in_child(read: Callable[[], Any]) -> Any:
        return gevent.spawn(read).get()

    def standard_output(n: int, step: Callable[[], None]) -> Any:
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            print("first", n)
            step()
            in_child(lambda: print("child", n))
            print("error", n, file=sys.stderr)
            step()
        return out.getvalue() + err.getvalue()

    def caught_warnings(n: int, step: Callable[[], None]) -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step()
            warnings.warn(f"of {n}", stacklevel=1)
            step()
        return [str(one.message) for one in caught]

    def ignored_warnings(n: int, step: Callable[[], None]) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if n else "error")
            step()
            try:
                warnings.warn("x", stacklevel=1)
            except UserWarning:
                return "raised"
            return "ignored"

    def changing(change: Callable[[int], Any], read: Callable[[], Any]) -> Callable[[int, Callable[[], None]], Any]:
        def body(n: int, step: Callable[[], None]) -> Any:
            change(n)
            step()
            seen = [read(), in_child(read)]
            step()
            return [*seen, read()]

        return body

    def set_zone(n: int) -> None:
        os.environ["TZ"] = ("EST5", "JST-9")[n]
        time.tzset()

    kinds: dict[str, tuple[Callable[[int, Callable[[], None]], Any], Callable[[], Any]]] = {
        "stdout": (standard_output, lambda: sys.stdout is sys.__stdout__),
        "warnings": (caught_warnings, lambda: len(warnings.filters)),
        "filters": (ignored_warnings, lambda: len(warnings.filters)),
        "stdout without with": (
            changing(lambda n: setattr(sys, "stdout", io.StringIO(str(n))), lambda: sys.stdout.getvalue()),
            lambda: sys.stdout is sys.__stdout__,
        ),
        "directory": (changing(lambda n: os.chdir(folders[n]), os.getcwd), os.getcwd),
        "umask": (changing(lambda n: os.umask((0o27, 0o77)[n]), umask), umask),
        "environment": (
            changing(lambda n: os.environ.update(MY_OWN=str(n)), lambda: [os.environ.get("MY_OWN"), of_a_child()]),
            lambda: os.environ.get("MY_OWN"),
        ),
        "removed from it": (
            changing(lambda n: os.environ.pop("KEPT", None), lambda: os.environ.get("KEPT")),
            lambda: os.environ.get("KEPT"),
        ),
        "zone": (changing(set_zone, lambda: time.timezone), lambda: time.timezone),
        "locale": (
            changing(lambda n: locale.setlocale(locale.LC_ALL, ("C.UTF-8", "POSIX")[n]), lambda: locale.setlocale(0)),
            lambda: locale.setlocale(locale.LC_ALL),
        ),
        "recursion limit": (
            changing(lambda n: sys.setrecursionlimit(3000 + n), sys.getrecursionlimit),
            sys.getrecursionlimit,
        ),
    }
    os.environ["KEPT"] = "kept"
    watch = watched()
    answers = {}
    for name, (body, outside) in kinds.items():
        seen: set[str] = set()
        before = outside()
        watching = gevent.spawn(look, outside, seen)
        found = overlap(watch, partial(body, 0), partial(body, 1))
        watching.kill()
        answers[name] = {"found": found, "disturbed": seen != {repr(before)}, "left": outside() != before}
    return {
        "answers": answers,
        "folders": folders,
        "log": log.lines,
        "aside": len(watch._state._aside),
        "faults": watch.alarm.faults,
    }


def look(outside: Callable[[], Any], seen: set[str]) -> None:
    """Return the state outside of any action."""
    while True:
        seen.add(repr(outside()))
        gevent.sleep(0.001)


def umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def of_a_child() -> str:
    import subprocess

    return subprocess.run(["sh", "-c", "echo $MY_OWN"], capture_output=True, text=True).stdout.strip()


def refusals() -> Any:
    """Make the calls that are refused in actions, beside an action that is sliced and times out all the same."""
    watch = watched()
    calls: dict[str, Callable[[], Any]] = {
        "SIG_IGN": lambda: signal.signal(signal.SIGALRM, signal.SIG_IGN),
        "SIGTERM": lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL),
        "alarm": lambda: signal.alarm(1),
        "setitimer": lambda: signal.setitimer(signal.ITIMER_REAL, 1),
        "siginterrupt": lambda: signal.siginterrupt(signal.SIGALRM, False),
        "mask": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM}),
        "gevent": lambda: gevent.signal_handler(signal.SIGALRM, print),
        "in a greenlet": lambda: gevent.spawn(signal.alarm, 1).get(),
        "asyncio": lambda: asyncio.run(adds_handler()),
    }

    async def adds_handler() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGALRM, print)

    beside = Act(watch, lambda: spin(60), claim("job/beside"), timeout=1.5)
    answers = {name: overlap(watch, lambda _, call=call: call())[0] for name, call in calls.items()}
    allowed = overlap(watch, lambda _: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2}))[0]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
    return {
        "answers": answers,
        "allowed": str(allowed),
        "beside": beside.said,
        "outside": signal.setitimer(signal.ITIMER_VIRTUAL, 0),
    }


def finalizers() -> Any:
    """Let a finalizer wait that the garbage collector calls, and collect garbage meanwhile and later."""
    watch = watched()
    errors: list[str] = []
    sys.unraisablehook = lambda args: errors.append(repr(args.exc_value))
    freed: list[int] = []

    class Waits:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            gevent.sleep(0.2)

    def garbage(step: Callable[[], None]) -> str:
        Waits()
        thing = Node()
        thing.itself = thing
        thing.seen = weakref.ref(thing, lambda _: gevent.sleep(0.2))
        keep = thing.seen
        del thing
        gc.collect()
        return "collected" if keep() is None else "there"

    def neighbour(step: Callable[[], None]) -> str:
        thing = Node()
        thing.itself = thing
        weakref.finalize(thing, freed.append, 1)
        del thing
        step()
        gc.collect()
        return "went on"

    def counts(step: Callable[[], None]) -> None:
        class Plain:
            def __del__(self) -> None:  # by its reference count: it may wait
                gevent.sleep(0.01)
                freed.append(2)

        Plain()

    answers = overlap(watch, garbage, neighbour, counts)
    return {"answers": answers, "errors": errors, "freed": sorted(freed)}


class Node:
    itself: Any
    seen: Any


def reprs() -> Any:
    """Call repr() of a list in two actions; the element waits in its `__repr__`."""
    watch = watched()

    class Slow:
        def __repr__(self) -> str:
            gevent.sleep(0.02)
            return "slow"

    shared = [Slow(), [Slow()]]
    itself: list[Any] = [Slow()]
    itself.append(itself)
    return overlap(watch, *[lambda _: repr(shared)] * 3, lambda _: repr(itself))


def loops(count: str) -> Any:
    """Run so many `asyncio.run` at once, with all state of a thread; then end some more."""
    watch = watched()

    async def numbers(n: int) -> Any:
        for i in range(3):
            await asyncio.sleep(0.01)
            yield n + i

    async def main(n: int) -> Any:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        gevent.sleep(0.01)  # as a call on the job does
        found = [i async for i in numbers(n)]
        await asyncio.gather(*(asyncio.sleep(0.01) for _ in range(3)))
        spin(0.002)
        result = await loop.run_in_executor(None, lambda: (time.sleep(0.01), n)[1])
        same = asyncio.get_running_loop() is loop and asyncio.current_task() is task
        return [same, found == [n, n + 1, n + 2], result == n]

    begun = monotonic()
    found = overlap(watch, *(lambda _, n=n: asyncio.run(main(n)) for n in range(int(count))))
    seconds = monotonic() - begun
    cleaned: list[str] = []

    async def ends(how: str) -> None:
        try:
            if how == "waits":
                await asyncio.sleep(60)
            elif how == "waits in a task":
                await asyncio.gather(asyncio.sleep(60), asyncio.sleep(50))
            elif how == "in a call":
                gevent.sleep(60)
            else:
                await asyncio.wait_for(computes(), 50)
        finally:
            cleaned.append(how)

    async def computes() -> None:
        spin(60)

    hows = ("waits", "waits in a task", "in a call", "computes")
    timed = [Act(watch, lambda how=how: asyncio.run(ends(how)), claim(f"job/t{how}"), timeout=0.5) for how in hows]
    stopped = [Act(watch, lambda how=how: asyncio.run(ends(how)), claim(f"job/s{how}")) for how in hows]
    gevent.sleep(0.3)
    for act in stopped:
        watch.stop(act.claim.job)
    endings = {"timed out": [act.said for act in timed], "stopped": [act.said for act in stopped]}
    return {
        "found": [each == [True] * 3 for each in found],
        "seconds": seconds,
        "endings": endings,
        "cleaned": sorted(cleaned),
        "outside": asyncio._get_running_loop() is None and sys.get_asyncgen_hooks()[0] is None,
        "after": overlap(watch, lambda _: asyncio.run(main(1))),
        "aside": len(watch._state._aside),
        "trace": watch._state._before is None,
    }
