"""The ends of actions, and the endings that are reported for them."""

from __future__ import annotations

import contextlib
import gc
import importlib
import itertools
import logging
import random
import re
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import gevent.lock

from geventjob import JobLost, JobStopped
from geventjob.executor.ending import TimedOut
from geventjob.executor.watch import Watch
from tests.support.watching.base import Act, claim, living, said, until

LIMIT = 0.15


def loop() -> None:
    while True:
        pass


def generator() -> None:
    def numbers() -> Any:
        while True:
            yield 1

    sum(numbers())


def regular_expression() -> None:
    re.match("(a+)+$", "a" * 60 + "b")


def powers() -> None:
    while True:
        _ = 3**100_000


def sort() -> None:
    while True:
        sorted(range(100_000), key=lambda n: -n)


def c_calls() -> None:
    while True:
        sum(range(1_000_000))


def in_finally() -> None:
    try:
        raise KeyError
    except KeyError:
        pass
    finally:
        loop()


def in_except() -> None:
    try:
        raise KeyError
    except KeyError:
        loop()


def in_del() -> None:
    class Slow:
        def __del__(self) -> None:
            end = monotonic() + 3 * LIMIT
            while monotonic() < end:
                pass

    Slow()
    loop()


def lock() -> None:
    guard = threading.Lock()
    while True:
        with guard:
            pass


def gevent_lock() -> None:
    guard = gevent.lock.RLock()
    while True:
        with guard:
            pass


def logs() -> None:
    log = logging.getLogger("geventjob.test")
    while True:
        log.warning("again")


def imports() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "endless_module.py").write_text("while True: pass\n")
        sys.path.insert(0, folder)
        try:
            importlib.import_module("endless_module")
        finally:
            sys.path.remove(folder)


def recursion() -> None:
    def deep(n: int) -> int:
        return deep(n - 1) + 1 if n else 0

    while True:
        deep(500)


def reduces() -> None:
    reduce(lambda a, b: b, iter(int, 1))


def decorated() -> None:
    @contextlib.contextmanager
    def manager() -> Any:
        yield

    gevent.with_timeout(60, manager()(loop))


def in_a_pool() -> None:
    from multiprocessing.pool import ThreadPool

    pool = ThreadPool(2)
    pool.map(lambda _: loop(), range(2))


def waits() -> None:
    gevent.sleep(60)


COMPUTE: tuple[Callable[[], None], ...] = (
    loop,
    generator,
    regular_expression,
    powers,
    sort,
    c_calls,
    in_finally,
    in_except,
    in_del,
    lock,
    gevent_lock,
)
COMPUTE += (logs, imports, recursion, reduces, decorated, in_a_pool, waits)


def limits() -> Any:
    """Run each kind of code that never ends, one after the other, with a timeout."""
    logging.getLogger("geventjob.test").addHandler(logging.StreamHandler(open("/dev/null", "w")))  # noqa: SIM115
    logging.getLogger("geventjob.test").propagate = False
    watch = Watch()
    answers = {}
    for kind in COMPUTE:
        act = Act(watch, kind, timeout=LIMIT)
        answers[kind.__name__] = [act.said, act.seconds]
    free = logging.getLogger("geventjob.test").handlers[0].lock.acquire(blocking=False)
    return {"answers": answers, "imported": "endless_module" in sys.modules, "log": free, "faults": watch.alarm.faults}


def swallows(how: str) -> Any:
    """Run code that swallows every exception, until it is abandoned; then the same code for a shorter time."""
    watch = Watch(abandon=1.2)
    caught: list[float] = []
    enough = [8]

    def body() -> str:
        while len(caught) < enough[0] and not done:
            try:
                if how == "computes":
                    while not done:
                        sum(range(100))
                else:
                    until(lambda: done, 30)
            except BaseException as error:
                caught.append(monotonic())
                kinds.add(type(error).__name__)
                errors.add(id(error))
        while not done:
            gevent.sleep(0.01)
        return "its value"

    done: list[bool] = []
    kinds: set[str] = set()
    errors: set[int] = set()
    act = Act(watch, body, timeout=LIMIT)
    until(lambda: act.abandoned)
    before = {"running": len(watch.running), "abandoned": len(watch.abandoned)}
    described = watch.describe(act.greenlet)
    done.append(True)
    ended = act.ending
    gaps = [b - a for a, b in itertools.pairwise(caught)]
    caught.clear()
    done.clear()
    enough[0] = 2

    def brief() -> str:
        for _ in range(2):
            with contextlib.suppress(gevent.Timeout):
                loop() if how == "computes" else gevent.sleep(30)
        return "its value"

    return {
        "abandoned": [said(e) for e in act.abandoned],
        "before": before,
        "described": described,
        "after": len(watch.abandoned),
        "end": said(ended),
        "kinds": sorted(kinds),
        "errors": len(errors),
        "gaps": gaps,
        "brief": Act(watch, brief, timeout=LIMIT).said,
    }


def own_errors() -> Any:
    """Run actions that raise errors of their own, with and without an end that came too late."""
    watch = Watch()

    def own_timeout() -> None:
        with gevent.Timeout(0.02):
            gevent.sleep(5)

    def raising(error: BaseException) -> Any:
        def body() -> None:
            raise error

        return body

    errors = (SystemExit(3), KeyboardInterrupt(), gevent.GreenletExit(), JobLost(), JobStopped(), ValueError("x"))
    answers: dict[str, Any] = {type(error).__name__: Act(watch, raising(error), timeout=5).said for error in errors}
    answers["own timeout"] = Act(watch, own_timeout, timeout=5).said

    def asks_too_late() -> str:
        watch.stop("job/1")
        return "done"

    def ends_too_late() -> None:
        watch.stop("job/1")
        raise ValueError

    held = claim()

    def refused() -> None:  # a call on the job, to which the server said that it is another's
        watch.lose([held])
        raise JobLost

    def stopped() -> None:
        watch.stop("job/1")
        raise JobStopped

    answers["late, returned"] = Act(watch, asks_too_late, timeout=5).said
    answers["late, raised"] = Act(watch, ends_too_late, timeout=5).said
    answers["refused"] = Act(watch, refused, held).said
    answers["stopped by its call"] = Act(watch, stopped).said
    error = Act(watch, raising(ValueError("x"))).ending.error
    answers["frames"] = [error.__traceback__.tb_frame.f_code.co_name, error.__traceback__.tb_next]
    return answers


def stops() -> Any:
    """Stop and lose actions that wait, compute, are parked, swallow, clean up, or have not begun."""
    watch = Watch()
    answers: dict[str, Any] = {}

    def cleans_up() -> None:
        try:
            gevent.sleep(30)
        finally:
            raise ValueError("while cleaning up")

    def swallows_once() -> str:
        try:
            gevent.sleep(30)
        except BaseException as error:
            return type(error).__name__
        return ""

    for name, end in (("stop", watch.stop), ("lose", lambda act: watch.lose([act]))):
        for body in (waits, loop, in_finally, cleans_up, swallows_once):
            act = Act(watch, body, timeout=20)
            until(lambda act=act: act.greenlet in watch.running)
            gevent.sleep(0.12)
            asked = monotonic()
            end(act.claim.job if name == "stop" else act.claim)  # type: ignore[arg-type]
            answers[f"{name} {body.__name__}"] = [act.said, monotonic() - asked]
    # by what is running, and only that
    two = [Act(watch, waits, claim("job/2")) for _ in range(2)]
    until(lambda: len(watch.running) == 2)
    watch.stop(watch.running[two[0].greenlet])
    answers["one of two"] = two[0].said
    answers["the other"] = not two[1].greenlet.ready()
    watch.stop("job/3")
    # a loss counts more than a stop, and a stop more than a time-out, whatever comes first

    def swallows_twice() -> str:
        for _ in range(2):
            try:
                gevent.sleep(30)
            except BaseException as error:
                names.append(type(error).__name__)
                watch.stop("job/2")
                watch.lose([two[1].claim])
        return ""

    names: list[str] = []
    two[1].greenlet.kill()
    two[1] = Act(watch, swallows_twice, claim("job/2"), timeout=0.05)
    answers["strongest"] = [two[1].said, names]
    # lost before it begins
    ran: list[int] = []
    gone = claim(session=living(-1))
    answers["not begun"] = [Act(watch, lambda: ran.append(1), gone).said, ran]
    revoked = claim()
    revoked.revoked = True
    answers["revoked"] = [Act(watch, lambda: ran.append(1), revoked).said, ran]
    answers["left"] = [
        len(watch.running),
        len(watch.register.sessions),
        len(watch.register.ending),
        len(watch.abandoned),
    ]
    return answers


def leases() -> Any:
    """Let the leases of some sessions end: their actions are lost, the others go on."""
    watch = Watch()
    short, long = living(0.5), living()
    steps: Counter[str] = Counter()

    def sleeps(name: str) -> Any:
        def body() -> None:
            while True:
                steps[name] += 1
                gevent.sleep(0.01)

        return body

    lost = [Act(watch, body, claim(session=short)) for body in (waits, loop, sleeps("short"))]
    kept = [Act(watch, body, claim(session=long)) for body in (waits, sleeps("long"))]
    begun = monotonic()
    endings = [act.said for act in lost]
    seconds = monotonic() - begun
    after = steps["short"]
    gevent.sleep(0.1)
    unsliced = Act(watch, loop, claim(session=living(0.3)), preempt=False)
    return {
        "unsliced": unsliced.said,
        "lost": endings,
        "seconds": seconds,
        "kept": [not act.greenlet.ready() for act in kept],
        "steps after": steps["short"] - after,
        "sessions": len(watch.register.sessions),
    }


def children() -> Any:
    """End actions that have started greenlets and threads; let others end by themselves."""
    watch = Watch(abandon=0.5)
    answers: dict[str, Any] = {}
    beside = gevent.spawn(gevent.sleep, 60)

    def starts(kin: list[Any], then: Any) -> Any:
        def grandparent() -> None:
            kin.append(gevent.spawn(loop))
            gevent.sleep(60)

        def body() -> Any:
            kin.extend((gevent.spawn(waits), gevent.spawn(loop), gevent.spawn(grandparent)))
            kin.append(gevent.spawn_later(50, waits))
            thread = threading.Thread(target=ends_by_itself)
            thread.start()
            gevent.sleep(0.1)
            return then()

        return body

    def ends_by_itself() -> None:
        try:
            gevent.sleep(60)
        except BaseException as error:
            threads.append(type(error).__name__)

    def swallows() -> None:
        while not done:
            try:
                gevent.sleep(60)
            except BaseException:
                if done:
                    raise

    threads: list[str] = []
    done: list[bool] = []
    for name in ("timed out", "timed out computing", "stopped", "lost", "abandoned"):
        kin: list[Any] = []
        then = {"timed out computing": loop, "abandoned": swallows}.get(name, waits)
        act = Act(watch, starts(kin, then), timeout=30 if name in ("stopped", "lost") else 0.4)
        until(lambda kin=kin: len(kin) == 5)
        gevent.sleep(0.15)
        if name == "stopped":
            watch.stop(act.claim.job)
        if name == "lost":
            watch.lose([act.claim])
        dead = until(lambda kin=kin: all(child.dead for child in kin), 3)
        if name == "abandoned":
            until(lambda act=act: act.abandoned, 3)
            done.append(True)
            act.greenlet.kill()
        answers[name] = [act.said, dead, sorted({type(child.value).__name__ for child in kin})]
    # a normal end leaves them, and they are sliced all the same
    kin = []
    act = Act(watch, starts(kin, lambda: 7))
    answers["returned"] = [act.said, sum(not child.dead for child in kin)]
    late = []
    for _ in range(10):
        asked = monotonic()
        gevent.sleep(0.01)
        late.append(monotonic() - asked)
    answers["late"] = max(late)
    gevent.killall(kin)
    return {"answers": answers, "beside": not beside.dead, "threads": threads}


def races() -> Any:
    """Run thousands of actions that end near their timeouts; count stray exceptions and lost results."""
    watch = Watch()
    rng = random.Random(7)
    endings: Counter[str] = Counter()
    stray: list[str] = []
    wrong: list[str] = []
    gevent.get_hub().handle_error = lambda *error: stray.append(repr(error))  # type: ignore[method-assign]
    sys.unraisablehook = lambda error: stray.append(repr(error))

    def spin(seconds: float) -> float:
        end = monotonic() + seconds
        while monotonic() < end:
            pass
        return seconds

    def one(n: int) -> None:
        seconds = rng.uniform(0.001, 0.005)
        limit = seconds + rng.uniform(-0.002, 0.002)
        body = (lambda: spin(seconds)) if n % 2 else (lambda: gevent.sleep(seconds) or seconds)
        held = claim(f"job/{n}")
        try:
            ending = watch.run(body, claim=held, job_id=held.job, action="x", timeout=limit, abandoned=stray.append)  # type: ignore[arg-type]
            if isinstance(ending, TimedOut):
                endings["timed out"] += 1
            elif ending and getattr(ending, "value", None) == seconds:
                endings["returned"] += 1
            else:
                wrong.append(repr(ending))
            gevent.sleep(0)
        except BaseException as error:
            stray.append(repr(error))

    from gevent.pool import Pool

    pool = Pool(20)
    # Faster than the pace of a real executor, so that the alarm comes about each millisecond.
    watch.close()
    watch = quick()
    for n in range(3000):
        pool.spawn(one, n)
    pool.join()
    gc.collect()
    return {
        "endings": endings,
        "stray": stray,
        "wrong": wrong,
        "raises": watch.alarm.raises,
        "left": len(watch.running),
        "faults": watch.alarm.faults,
    }


def quick() -> Watch:
    from geventjob.executor.slices import Pace

    return Watch(pace=Pace(lag=0.001, slice=0.001, beat=0.0005, turn=0.002))
