"""Coroutines of `async def` actions under a watch: their ends, their time slices, what they share."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

import gevent

from geventjob.executor.forbidden_calls import refuse_forks_of_coroutines
from geventjob.executor.watch import Watch
from geventjob.log import running_action
from tests.support.watching.base import Act, Gaps, claim, living, until
from tests.support.watching.hub import Lines
from tests.support.watching.shares import spin
from tests.support.watching.state import watched


def begin(watch: Watch, *functions: Callable[[], Any], **options: Any) -> list[Act]:
    """Run each coroutine function as an action of its name."""
    acts, session = [], options.pop("session", None)
    for function in functions:
        held = claim(f"job/{function.__name__}", session)
        body = lambda function=function: watch.complete(function())  # noqa: E731
        acts.append(Act(watch, body, held, action=function.__name__, **options))
    return acts


def ends() -> Any:
    """Return the end of each coroutine: by itself, by time-out, stop and loss."""
    watch, notes = watched(), []

    async def returns() -> Any:
        await asyncio.sleep(0.01)
        return {"a": [1]}

    async def raises() -> None:
        await asyncio.sleep(0.01)
        raise ValueError("no")

    async def exits() -> None:
        sys.exit(3)

    async def cancels_itself() -> None:
        raise asyncio.CancelledError

    async def has_a_task_that_exits() -> None:
        async def exits() -> None:
            sys.exit(3)

        watch.exited = asyncio.create_task(exits())  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)

    async def leaves_a_task() -> None:
        async def waits() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.01)
                notes.append("cancelled")

        watch.left = asyncio.create_task(waits())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    async def cleans_up() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as error:
            notes.append(str(error))
            raise
        finally:
            await asyncio.sleep(0.4)  # longer than the time after which a greenlet gets its Timeout again
            notes.append("cleaned up")

    async def raises_at_the_end() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("while it is ended")

    async def computes() -> None:
        spin(60)

    async def sleeps_in_the_greenlet() -> None:
        time.sleep(60)

    by_themselves = begin(watch, returns, raises, exits, cancels_itself, has_a_task_that_exits, leaves_a_task)
    said = [act.said for act in by_themselves]
    trace = by_themselves[1].ending.trace
    waits = (cleans_up, raises_at_the_end)
    timed = [act.said for act in begin(watch, *waits, computes, sleeps_in_the_greenlet, timeout=0.3)]
    stopped = begin(watch, *waits, computes)
    gevent.sleep(0.1)
    for act in stopped:
        watch.stop(act.claim.job)
    lost = begin(watch, *waits, session=living(0.3))
    before = begin(watch, returns)
    gevent.sleep(0)
    watch.stop("job/returns")  # the greenlet has begun, the coroutine has not
    return {
        "by themselves": said,
        "trace": trace,
        "timed": timed,
        "stopped": [act.said for act in stopped],
        "lost": [act.said for act in lost],
        "before": [act.said for act in before],
        "notes": notes,
        "after": [act.said for act in begin(watch, returns)],
    }


def swallows() -> Any:
    """Swallow each CancelledError, until the action is abandoned; others go on."""
    watch = Watch(abandon=2.5)
    log = Lines()
    notes: list[str] = []

    async def swallows() -> None:
        while not notes or notes[-1] != "enough":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                notes.append("cancelled")

    async def returns() -> None:
        await asyncio.sleep(0.01)

    [act] = begin(watch, swallows, timeout=0.2)
    until(lambda: act.abandoned)
    abandoned = [repr(ending) for ending in act.abandoned]
    beside = [act.said for act in begin(watch, returns)]
    return {"cancels": len(notes), "abandoned": abandoned, "beside": beside, "log": log.lines}


def blocks() -> Any:
    """Hold the loop, by computing and by a wait: greenlets go on, the log names the job, the loop goes on then."""
    watch = Watch(max_blocking=0.3)
    log, gaps = Lines(), Gaps()

    async def computes() -> None:
        spin(1)

    async def waits() -> None:
        time.sleep(1)

    async def returns() -> None:
        await asyncio.sleep(0.01)

    found = {}
    for function in (computes, waits):
        gaps.reset()
        [holding] = begin(watch, function)
        gevent.sleep(0.1)
        [beside] = begin(watch, returns)
        found[function.__name__] = [holding.said, beside.said, beside.seconds > 0.5, gaps.largest < 0.5]
    return {"found": found, "log": log.lines}


def hopeless() -> Any:
    """Hold the loop without an end: the action is abandoned, and the next coroutine gets a loop of its own."""
    from geventjob.executor import coroutines

    coroutines.HOPELESS = 1.0
    watch = watched(max_blocking=0.3, abandon=0.5)

    async def never_ends() -> None:
        while True:
            with suppress(asyncio.CancelledError):
                time.sleep(60)

    async def beside() -> None:
        await asyncio.sleep(60)

    async def returns() -> Any:
        return 7

    acts = begin(watch, beside, never_ends, timeout=0.3)
    until(lambda: all(act.abandoned for act in acts))
    gevent.sleep(0.3)
    return {"abandoned": [repr(act.abandoned) for act in acts], "after": [a.said for a in begin(watch, returns)]}


def shared() -> Any:
    """Return what coroutines see of the process, of threads, of the log, and of each other."""
    watch = watched()
    refuse_forks_of_coroutines()
    seen: dict[str, Any] = {}

    async def names_itself() -> None:
        seen["log"] = [running_action()]
        await asyncio.sleep(0.01)
        task = asyncio.create_task(asyncio.to_thread(running_action))
        seen["log"] += [await task, await asyncio.to_thread(lambda: gevent.spawn(running_action).get())]

    async def other() -> None:
        for _ in range(5):
            await asyncio.sleep(0.005)

    async def threads() -> None:
        begun = monotonic()
        slept = [asyncio.to_thread(time.sleep, 0.1) for _ in range(50)]
        await asyncio.gather(*slept)
        seen["50 threads"] = monotonic() - begun < 2
        seen["loop in a thread"] = await asyncio.to_thread(asyncio._get_running_loop)
        thread = threading.Thread(target=lambda: seen.update(thread=running_action()))
        thread.start()
        await asyncio.to_thread(thread.join)

    async def signals() -> None:
        import signal

        try:
            signal.alarm(1)
        except ValueError as error:
            seen["alarm"] = str(error)[:20]
        try:
            os.fork()
        except RuntimeError as error:
            seen["fork"] = str(error)[:23]

    async def program() -> None:
        made = await asyncio.create_subprocess_exec("echo", "hello", stdout=asyncio.subprocess.PIPE)
        seen["program"] = [(await made.communicate())[0].decode(), made.returncode]

    async def changes() -> None:
        os.environ["OF_A_COROUTINE"] = "1"
        await asyncio.sleep(0.1)
        seen["environment"] = [os.environ.get("OF_A_COROUTINE")]

    async def resolves() -> None:
        found = await asyncio.get_running_loop().getaddrinfo("localhost", 80, type=1)
        seen["address"] = bool(found)

    acts = begin(watch, names_itself, other, threads, signals, program, changes, resolves)
    gevent.sleep(0.05)
    seen["outside"] = [os.environ.get("OF_A_COROUTINE"), asyncio._get_running_loop(), sys.get_asyncgen_hooks()[0]]
    said = [act.said for act in acts]
    nested = [repr(act.ending) for act in begin_plain(watch, lambda: asyncio.run(returns_seven()))]
    watch.close()
    return {"said": said, "seen": seen, "nested": nested, "aside": len(watch._state._aside)}


async def returns_seven() -> int:
    await asyncio.sleep(0.01)
    return 7


def begin_plain(watch: Watch, *bodies: Callable[[], Any]) -> list[Act]:
    return [Act(watch, body, action="plain") for body in bodies]


def debugged() -> Any:
    """Run coroutines in the debug mode of asyncio."""
    os.environ["PYTHONASYNCIODEBUG"] = "1"
    watch = watched()

    async def returns() -> Any:
        await asyncio.to_thread(time.sleep, 0.01)
        return asyncio.get_running_loop().get_debug()

    async def waits() -> None:
        await asyncio.sleep(60)

    return [act.said for act in begin(watch, returns, waits, timeout=0.3)]


def sleepers(count: str) -> Any:
    """Let so many coroutines sleep beside as many greenlets."""
    warnings.simplefilter("error")
    watch = Watch()

    async def sleeps() -> None:
        await asyncio.sleep(0.5)

    begun = monotonic()
    acts = begin(watch, *[sleeps] * int(count)) + begin_plain(watch, *[lambda: gevent.sleep(0.5)] * int(count))
    said = {act.said for act in acts}
    return {"said": sorted(said), "seconds": monotonic() - begun}
