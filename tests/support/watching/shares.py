"""Actions that compute beside others: their shares of the time, and the points where no code is interrupted."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import signal
import sqlite3
import subprocess
import sys
import weakref
from collections import Counter
from time import monotonic
from typing import Any

import gevent

from geventjob.clock import boottime
from geventjob.executor import safepoints
from geventjob.executor.slices import Pace
from geventjob.executor.watch import Watch
from tests.support.watching.base import Act, Gaps, claim, living, until


def spin(seconds: float) -> int:
    """Return the loops done in so many seconds."""
    end = monotonic() + seconds
    loops = 0
    while monotonic() < end:
        loops += 1
    return loops


def loop() -> None:
    while True:
        pass


def fair(computing: str = "10", seconds: str = "2") -> Any:
    """Run actions that compute for longer than a session timeout, beside a hundred that sleep."""
    watch = Watch()
    late: list[float] = []
    session = living(1.0)  # renewed by the hub each tenth of a second, or lost

    def beats() -> None:
        while True:
            session.renew(boottime(), 9.0)  # 10 s less a margin of 9
            gevent.sleep(0.1)

    def sleeps() -> None:
        while True:
            asked = monotonic()
            gevent.sleep(0.02)
            late.append(monotonic() - asked - 0.02)

    gevent.spawn(beats)
    sleepers = [gevent.spawn(sleeps) for _ in range(100)]
    gevent.sleep(0.1)
    late.clear()
    gaps = Gaps()
    acts = [Act(watch, lambda: spin(float(seconds)), claim(session=session)) for _ in range(int(computing))]
    endings = Counter(type(act.ending).__name__ for act in acts)
    loops = [getattr(act.ending, "value", 0) for act in acts]
    gevent.killall(sleepers)
    late.sort()
    return {
        "endings": endings,
        "share of the least": min(loops) / max(loops),
        "largest gap": gaps.largest,
        "late": [late[len(late) // 2], late[-1]],
        "yields": watch.alarm.yields,
    }


def ready() -> Any:
    """Read what another process writes, beside actions that compute, with slices that are longer than the test."""
    watch = Watch(pace=Pace(slice=600))
    got: list[bytes] = []

    def computes() -> None:
        while not got:
            pass

    writer = subprocess.Popen(["sh", "-c", "sleep 1; echo hello"], stdout=subprocess.PIPE)
    assert writer.stdout
    acts = [Act(watch, computes) for _ in range(3)]
    got.append(writer.stdout.readline())
    endings = Counter(type(act.ending).__name__ for act in acts)
    return {"endings": endings, "got": got[0].decode(), "yielded": watch.alarm.yields > 3}


def throughput(seconds: str = "2") -> Any:
    """Return the loops that a single action does, with slices and without."""
    watch = Watch()
    rates: dict[str, list[float]] = {"sliced": [], "not": []}
    for _ in range(3):
        for name, preempt in (("sliced", True), ("not", False)):
            rates[name].append(Act(watch, lambda: spin(float(seconds)), preempt=preempt).ending.value / float(seconds))
    return {name: max(rate) for name, rate in rates.items()}


def opted_out() -> Any:
    """Run an action with preempt=False: no slices, nor in its children; timeouts all the same."""
    watch = Watch()
    gaps = Gaps()
    act = Act(watch, lambda: spin(0.6), preempt=False)
    answers: dict[str, Any] = {"returned": type(act.ending).__name__}
    gevent.sleep(0.02)
    answers["gap"] = gaps.largest
    gaps.reset()

    def starts() -> None:
        gevent.spawn(spin, 0.6).join()

    Act(watch, starts, preempt=False).greenlet.join()
    gevent.sleep(0.02)
    answers["gap of a child"] = gaps.largest
    act = Act(watch, loop, preempt=False, timeout=0.4)
    answers["timed out"] = [act.said, act.seconds]

    def one_after_the_other() -> None:
        gevent.sleep(0.01)
        held = claim()
        options: dict[str, Any] = {"claim": held, "job_id": held.job, "action": "x", "abandoned": print}
        watch.run(lambda: spin(0.4), preempt=False, **options)
        begun = monotonic()
        watch.run(lambda: gevent.sleep(60), timeout=0.5, **options)
        answers["the next"] = monotonic() - begun

    gevent.spawn(one_after_the_other).join()
    answers["yields"] = watch.alarm.yields
    return answers


def states_of_the_thread() -> Any:
    """Run actions in state of the thread: repr(), the garbage collector, callbacks of C. Count broken state."""
    watch = Watch()
    wrong: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    end = monotonic() + 1.5

    def on(name: str) -> bool:
        """Return whether the actions of this name go on: until the end, and until each has run a few times."""
        return counts[name] < 5 or monotonic() < end

    class Slow:
        def __repr__(self) -> str:
            spin(0.004)
            return "slow"

    shared: list[Any] = [Slow(), 1]

    def prints() -> None:
        while on("repr"):
            spin(0.002)
            counts["repr"] += 1
            if repr(shared) != "[slow, 1]":
                wrong["repr"] += 1

    class Thing:
        pass

    def collects() -> None:
        def slow(_: object) -> None:
            spin(0.004)

        while on("gc"):
            spin(0.002)
            thing = Thing()
            thing.me = thing  # type: ignore[attr-defined]
            there = weakref.ref(thing, slow)
            del thing
            gc.collect()
            counts["gc"] += 1
            if there() is not None:
                wrong["gc"] += 1

    def calls_back() -> None:
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
        compare = kind(lambda a, b: (spin(0.0005), a[0] - b[0])[1])
        sort = ctypes.CDLL(None).qsort
        while on("qsort"):
            numbers = (ctypes.c_int * 40)(*range(40, 0, -1))
            sort(numbers, 40, ctypes.sizeof(ctypes.c_int), compare)
            counts["qsort"] += 1
            wrong["qsort"] += list(numbers) != list(range(1, 41))

    def asks_sqlite() -> None:
        connection = sqlite3.connect(":memory:")
        connection.create_function("slow", 1, lambda n: (spin(0.001), n + 1)[1])
        while on("sqlite"):
            rows = connection.execute("SELECT slow(column1) FROM (VALUES (1), (2), (3))").fetchall()
            counts["sqlite"] += 1
            wrong["sqlite"] += rows != [(2,), (3,), (4,)]

    def caches() -> None:
        while on("cache"):
            cached = functools.lru_cache(lambda n: (spin(0.001), n)[1])
            counts["cache"] += 1
            wrong["cache"] += [cached(n) for n in (1, 2, 1, 2)] != [1, 2, 1, 2]

    acts = [Act(watch, body) for body in (prints, collects, calls_back, asks_sqlite, caches) for _ in range(3)]
    endings = Counter(type(act.ending).__name__ for act in acts)
    return {
        "endings": endings,
        "wrong": +wrong,
        "counts": counts,
        "yields": watch.alarm.yields,
        "faults": watch.alarm.faults,
    }


def without_guards() -> Any:
    """Run on a Python without the guards: no code that computes is interrupted, and the hub ends code that waits."""

    def none() -> Any:
        raise NotImplementedError("this Python lacks 'Py_Repr'")

    safepoints.reprs = none
    watch = Watch()
    acts = [Act(watch, lambda: spin(0.5), timeout=0.2), Act(watch, lambda: gevent.sleep(5), timeout=0.6)]
    return {"said": [act.said for act in acts], "yields": watch.alarm.yields, "raises": watch.alarm.raises}


def frozen(batch: str = "") -> Any:
    """Stop the process for longer than its lease: every action is lost at the wake-up, and does nothing more."""
    watch = Watch()
    session = living()
    steps = [0]
    after: Counter[str] = Counter()

    def step(kind: str) -> None:
        steps[0] += 1
        if session.over:
            after[kind] += 1

    def sleeps() -> None:
        while True:
            step("sleeps")
            gevent.sleep(0.01)

    def computes() -> None:
        while True:
            spin(0.001)
            step("computes")

    def spins() -> None:
        while True:
            step("spins")
            gevent.sleep(0)

    bodies = [sleeps] * 300 + [computes] * 5 + [lambda: gevent.sleep(60)] * 100
    if batch:
        bodies += [spins] * 100
    acts = [Act(watch, body, claim(session=session)) for body in bodies]
    until(lambda: len(watch.running) == len(bodies) and watch.alarm.yields > 5)
    stops = f"read go; kill -STOP {os.getpid()}; sleep 1.2; kill -CONT {os.getpid()}"
    helper = subprocess.Popen(["/bin/sh", "-c", stops], stdin=subprocess.PIPE)
    assert helper.stdin
    session.lease = boottime() + 0.8  # it must end while the process is stopped, not in the middle of a turn
    helper.stdin.write(b"\n")
    helper.stdin.close()
    before = until(lambda: session.over, 10)
    woke = monotonic()
    endings = Counter(type(act.ending).__name__ for act in acts)
    return {"over": before, "endings": endings, "after": after, "steps": steps[0], "seconds": monotonic() - woke}


def forks() -> Any:
    """Look for timers in a forked child and in a program; exec after close()."""
    watch = Watch(session_timeout=60)
    until(lambda: False, 0.2)
    child = os.fork()
    if child == 0:
        spin(0.4)
        timers = (signal.getitimer(signal.ITIMER_REAL)[0], signal.getitimer(signal.ITIMER_PROF)[0])
        gevent.sleep(0.2)
        later = (signal.getitimer(signal.ITIMER_REAL)[0], signal.getitimer(signal.ITIMER_PROF)[0])
        os._exit(0 if timers + later == (0.0,) * 4 else 1)
    answers: dict[str, Any] = {"fork": os.waitpid(child, 0)[1]}
    code = "import signal as s; print(s.getitimer(s.ITIMER_REAL), s.getitimer(s.ITIMER_PROF), s.getsignal(s.SIGALRM))"
    answers["program"] = subprocess.check_output([sys.executable, "-c", code], text=True)
    answers["armed here"] = [signal.getitimer(signal.ITIMER_REAL)[0] > 0, signal.getitimer(signal.ITIMER_PROF)[0] > 0]
    watch.close()
    watch.close()
    answers["closed"] = [*signal.getitimer(signal.ITIMER_REAL), *signal.getitimer(signal.ITIMER_PROF)]
    return answers


def becomes_another() -> None:
    """Close the watch, then exec."""
    watch = Watch(session_timeout=60)
    until(lambda: False, 0.2)
    watch.close()
    os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(0.5); print('\"alive\"')"])
