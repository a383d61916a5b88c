"""Exceptions without a usable text, and the ends of their actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent

from geventjob.executor import exception_text
from geventjob.executor.watch import Watch
from tests.support.watching.base import Act, claim, until
from tests.support.watching.ends import loop


def sleeps() -> str:
    gevent.sleep(60)
    return "slept"


def computes() -> str:
    loop()
    return "computed"


def exits() -> str:
    raise SystemExit(3)


def swallows() -> str:
    while True:
        try:
            gevent.sleep(60)
        except BaseException:
            if over:
                raise


over: list[bool] = []


def kind(text: Callable[[], str], what: str = "__str__") -> type[Exception]:
    return type("Hard", (Exception,), {what: lambda self: text()})


def raising(error: BaseException, cause: BaseException | None = None) -> Callable[[], None]:
    def body() -> None:
        raise error from cause

    return body


def texts() -> Any:
    """Raise each exception in an action, in a chain, and as the key that a KeyError shows by `__repr__`."""
    exception_text.SECONDS = 0.3
    watch = Watch(abandon=0.3)
    found: dict[str, Any] = {}
    bodies = {text.__name__: raising(kind(text)()) for text in (sleeps, computes, exits)}
    bodies |= {
        f"key {text.__name__}": raising(KeyError(kind(text, "__repr__")())) for text in (sleeps, computes, exits)
    }
    bodies["chain"] = raising(ValueError("plain"), kind(sleeps)())
    bodies["surrogate"] = raising(ValueError("caf\udce9"))
    for name, body in bodies.items():
        act = Act(watch, body, timeout=30)
        ending = act.ending
        found[name] = [ending.text, act.seconds, "in body" in ending.trace]
    found["plain trace"] = Act(watch, raising(ValueError("x"), KeyError("why"))).ending.trace
    held = claim()
    lost = Act(watch, raising(kind(sleeps)()), held)
    until(lambda: lost.greenlet in watch.running)
    gevent.sleep(0.05)
    watch.lose([held])
    found["lost"] = lost.said
    never = Act(watch, raising(kind(swallows)()))
    until(lambda: never.abandoned)
    found["abandoned"] = [ending.text for ending in never.abandoned]
    over.append(True)
    found["left"] = [len(watch.running), len(watch.register.ending), watch.alarm.faults]
    return found
