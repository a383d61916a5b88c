"""Many small actions that compute in every shape, ended at random, with thousands of yields in between.

Each kind of action checks something that a raise or a yield in the wrong place would break.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import io
import itertools
import json
import logging
import os
import queue
import random
import re
import subprocess
import sys
import threading
import time
import traceback
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import reduce
from time import monotonic
from typing import Any

import gevent
import gevent.lock
import requests
from gevent.pool import Pool
from gevent.pywsgi import WSGIServer
from greenlet import greenlet

from geventjob.executor import coroutines, running
from geventjob.executor.slices import Pace
from geventjob.executor.state import ActionState
from geventjob.executor.watch import Watch
from geventjob.log import running_action
from tests.support.watching.base import claim, living, said, until

PACE = Pace(lag=0.003, slice=0.0015, beat=0.001, turn=0.003)
SIZES = (3000, 9000, 100000)


def burn(size: int) -> int:
    number = size
    for step in range(size):
        number = (number * 1103515245 + 12345 + step) & 0x7FFFFFFF
    return number


EXPECTED = {size: burn(size) for size in SIZES}


class Bench:
    """The objects that the actions share, and the errors that they found."""

    def __init__(self, complete: Callable[[Any], Any]) -> None:
        self.complete = complete
        self.wrong: Counter[str] = Counter()
        self.owner: dict[str, object] = {}
        self.lock = threading.Lock()
        self.rlock = threading.RLock()
        self.semaphore = gevent.lock.Semaphore(1)
        self.gevent_rlock = gevent.lock.RLock()
        self.queue: queue.Queue[int] = queue.Queue()
        self.variable = contextvars.ContextVar("variable", default=-1)
        self.session = requests.Session()
        self.log = logging.getLogger("stress")
        self.log.addHandler(logging.StreamHandler(open("/dev/null", "w")))  # noqa: SIM115
        self.log.propagate = False
        self.server = WSGIServer(("127.0.0.1", 0), self.answer, log=None)
        self.server.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def answer(self, environ: Any, start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "application/json")])
        return [b'{"a": [1, 2, 3]}']

    def check(self, good: bool, what: str) -> None:
        if not good:
            self.wrong[what] += 1

    def compute(self, size: int) -> None:
        self.check(burn(size) == EXPECTED[size], "a sum")

    def alone(self, lock: Any, name: str) -> None:
        with lock:
            self.owner[name] = me = object()
            self.compute(3000)
            self.check(self.owner[name] is me, f"two inside {name}")

    # --- kinds of action

    def do_lock(self, n: int) -> None:
        self.alone(self.lock, "Lock")

    def do_rlock(self, n: int) -> None:
        with self.rlock:
            self.alone(self.rlock, "RLock")

    def do_semaphore(self, n: int) -> None:
        self.alone(self.semaphore, "Semaphore")

    def do_gevent_rlock(self, n: int) -> None:
        self.alone(self.gevent_rlock, "gevent RLock")

    def do_queue(self, n: int) -> None:
        self.queue.put(n)
        self.compute(3000)
        try:
            self.queue.get_nowait()
        except queue.Empty:
            self.check(False, "an empty queue")

    def do_log(self, n: int) -> None:
        for _ in range(20):
            self.log.warning("number %s", n)
            burn(200)

    def do_context(self, n: int) -> None:
        token = self.variable.set(n)
        self.compute(9000)
        self.check(self.variable.get() == n, "a context")
        self.variable.reset(token)

    def do_generator(self, n: int) -> None:
        def numbers() -> Iterator[int]:
            try:
                for _ in range(5):
                    self.compute(3000)
                    yield 1
            finally:
                burn(500)

        self.check(sum(numbers()) == 5, "a generator")

    def do_except(self, n: int) -> None:
        for _ in range(5):
            try:
                raise KeyError(n)
            except KeyError as error:
                self.compute(3000)
                self.check(sys.exc_info()[1] is error, "the handled exception")
            finally:
                burn(100)

    def do_with(self, n: int) -> None:
        @contextlib.contextmanager
        def manager() -> Iterator[int]:
            yield 1

        with manager():
            self.compute(9000)

    def do_request(self, n: int) -> None:
        client: Any = self.session if n % 2 else requests
        answer = client.get(self.url, timeout=10).json()
        self.compute(3000)
        self.check(answer == {"a": [1, 2, 3]}, "an answer")

    def do_sleep(self, n: int) -> None:
        self.compute(3000)
        time.sleep(0.002)
        self.compute(3000)

    def do_compute(self, n: int) -> None:
        self.compute(100000)

    def do_little(self, n: int) -> None:
        burn(n % 400)

    def do_children(self, n: int) -> None:
        child = gevent.spawn(burn, 9000)
        thread = threading.Thread(target=self.compute, args=(9000,))
        thread.start()
        self.check(child.get() == EXPECTED[9000], "a child")
        thread.join()

    def do_program(self, n: int) -> None:
        if n % 100 == 0:
            program = subprocess.Popen(["true"])
            self.compute(9000)
            self.check(program.wait() == 0, "a program")

    def do_swallow(self, n: int) -> None:
        for _ in range(3):
            with contextlib.suppress(BaseException):
                self.compute(9000)

    def do_recursion(self, n: int) -> None:
        def deep(levels: int) -> int:
            return deep(levels - 1) + burn(50) if levels else 0

        deep(150)

    def do_callbacks(self, n: int) -> None:
        self.check(sorted(range(60), key=lambda k: -k + 0 * burn(100)) == list(range(59, -1, -1)), "a sort")
        self.check(reduce(lambda a, b: a + b + 0 * burn(50), range(60)) == 1770, "a reduction")
        self.check(re.sub("a", lambda _: str(burn(50) and "b"), "a" * 60) == "b" * 60, "a substitution")

    def do_json(self, n: int) -> None:
        document = {"n": [n] * 300}
        for _ in range(20):
            self.check(json.loads(json.dumps(document)) == document, "a document")

    def do_asyncio(self, n: int) -> None:
        async def numbers() -> int:
            burn(3000)
            await asyncio.sleep(0.002)
            self.check(asyncio.get_running_loop() is loops[0], "a running loop")
            return n

        async def main() -> int:
            loops.append(asyncio.get_running_loop())
            return sum(await asyncio.gather(numbers(), numbers()))

        loops: list[Any] = []
        self.check(asyncio.run(main()) == 2 * n, "asyncio")

    def do_coroutine(self, n: int) -> None:
        async def numbers() -> int:
            burn(3000)
            await asyncio.sleep(0.002)
            await asyncio.to_thread(self.compute, 3000)
            self.check(running_action() == f"job/{n} do_coroutine", "the action of a coroutine")
            self.compute(3000)
            return n

        async def main() -> int:
            return sum(await asyncio.gather(numbers(), numbers()))

        self.check(self.complete(main()) == 2 * n, "a coroutine")

    def do_state(self, n: int) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as out, warnings.catch_warnings(record=True) as caught:
            os.environ["STRESS"] = str(n)
            os.umask(n & 0o77)
            for _ in range(3):
                print(n)
                self.compute(3000)
                warnings.warn(str(n), stacklevel=1)
                gevent.sleep(0.001)
            self.check(out.getvalue() == f"{n}\n" * 3, "a stream")
            # other kinds come from garbage of others that is collected just now: loops that were ended half made
            own = {str(one.message) for one in caught if one.category is UserWarning}
            self.check(own == {str(n)}, f"warnings {own}")
            self.check((os.environ["STRESS"], os.umask(0)) == (str(n), n & 0o77), "an environment")

    @property
    def kinds(self) -> list[Callable[[int], None]]:
        return [getattr(self, name) for name in dir(self) if name.startswith("do_")]

    def free(self) -> list[str]:
        """Return the locks and connections that can be used when all actions are over."""
        had = []
        for name in ("lock", "rlock", "semaphore", "gevent_rlock"):
            with gevent.Timeout(2, False), getattr(self, name):  # type: ignore[arg-type]
                had.append(name)
        self.log.warning("the lock of the log")
        had.append("log")
        if requests.get(self.url, timeout=5).status_code == 200:
            had.append("requests")
        return had


def greenlets() -> list[str]:
    """Return the living greenlets; connections that were dropped end with the garbage that holds them."""
    gc.collect()
    return [repr(thing) for thing in gc.get_objects() if isinstance(thing, gevent.Greenlet) and not thing.dead]


ENDS = ("Returned", "TimedOut", "Stopped", "Lost")
LONGER = 40.0
"""Seconds beyond the asked for, until each end was met often enough to mean something."""


def _told(error: Any) -> str:
    return f"{error.exc_value!r} in {error.object!r}"[:200]


def _unwarned(error: Any) -> bool:
    """Return whether Python could not warn of a coroutine that was never awaited.

    Its action was ended between the call of the coroutine and `asyncio.run`. The warning imports modules with the
    builtins of the frame that happens to run, and the constructor of a named tuple has none.
    """
    return isinstance(error.object, types.CoroutineType) and repr(error.exc_value) == "KeyError('__import__')"


def run(seconds: str = "8", seed: str = "1") -> Any:
    rng = random.Random(int(seed))
    running.TIMEOUT_AGAIN = running.END_AGAIN = coroutines.CANCEL_AGAIN = (
        0.004  # the faster, the more often it may go wrong
    )
    state = ActionState()
    watch = Watch(pace=PACE, state=state)
    bench = Bench(watch.complete)
    kinds = bench.kinds
    session = [living()]
    outcomes: Counter[str] = Counter()
    stray: list[str] = []
    alive: dict[int, greenlet] = {}
    hub: Any = gevent.get_hub()
    hub.handle_error = lambda context, kind, error, trace: stray.append(
        "".join(traceback.format_exception(kind, error, trace))[-600:]
    )
    sys.unraisablehook = lambda error: None if _unwarned(error) else stray.append(_told(error))
    threading.excepthook = lambda a: None if isinstance(a.exc_value, gevent.GreenletExit) else stray.append(repr(a))

    def one(n: int) -> None:
        kind = kinds[n % len(kinds)]
        alive[n] = gevent.getcurrent()
        held = claim(f"job/{n}", session[0])
        try:
            ending = watch.run(
                lambda: kind(n),
                claim=held,
                job_id=held.job,
                action=kind.__name__,
                timeout=rng.choice((0.004, 0.02, 0.3, 30)),
                preempt=n % 3 != 0,
                abandoned=lambda ending: stray.append(f"abandoned {kind.__name__}"),
            )
            outcomes[said(ending).partition(" ")[0]] += 1
            if said(ending).startswith("Raised"):
                stray.append(f"{kind.__name__}: {said(ending)}")
        except BaseException:
            stray.append(f"{kind.__name__}: {traceback.format_exc()[-500:]}")
        del alive[n]

    def shoots() -> None:
        while True:
            gevent.sleep(rng.uniform(0.001, 0.01))
            for victim in rng.sample(list(alive.values()), min(2, len(alive))):
                if victim in watch.running:
                    watch.stop(watch.running[victim])
            if rng.random() < 0.02:
                session[0].end()
                session[0] = living()

    shooter = gevent.spawn(shoots)
    pool = Pool(24)
    end = monotonic() + float(seconds)
    for n in itertools.count():
        enough = n > 1000 and watch.alarm.yields > 500 and all(outcomes[kind] > 20 for kind in ENDS)
        if monotonic() > end and (enough or monotonic() > end + LONGER):  # a busy machine needs more time
            break
        pool.spawn(one, n)
    pool.join(timeout=20)
    shooter.kill()
    free = gevent.spawn(bench.free).get(timeout=12)
    bench.session.close()
    bench.server.stop()
    until(lambda: not watch._slices._parked, 3)  # those that were ended while they were parked still stand in the queue
    left = [
        len(watch.running),
        len(watch._slices._parked),
        len(watch.register.sessions),
        len(watch.register.ending),
        len(pool),
    ]
    watch.close()
    mask = os.umask(0o22)
    until(lambda: not greenlets(), 3)
    return {
        "actions": n,
        "kinds": len(kinds),
        "outcomes": outcomes,
        "yields": watch.alarm.yields,
        "raises": watch.alarm.raises,
        "deferrals": watch.alarm.deferrals,
        "faults": watch.alarm.faults,
        "wrong": bench.wrong,
        "stray": [len(stray), *stray[:3]],
        "free": free,
        "left": left,
        "greenlets": greenlets(),
        "aside": [len(state._aside), len(state._touched)],
        "base": [state._changed(None), os.environ.get("STRESS"), mask],
    }
