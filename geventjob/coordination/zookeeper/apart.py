"""Calls that go on although their caller is killed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import gevent
from gevent.event import AsyncResult

Result = TypeVar("Result")


def apart(call: Callable[..., Result], *args: Any) -> Result:
    """Run `call` in a greenlet of its own, wait for the end, and return the result or raise the error.

    The hub spawns the greenlet. A greenlet spawned here would count as a child of the caller's action and end with the
    action.
    """
    result: AsyncResult[Result] = AsyncResult()
    gevent.get_hub().loop.run_callback(gevent.spawn, _call, result, call, args)
    return cast(Result, result.get())


def _call(result: AsyncResult[Any], call: Callable[..., Any], args: Any) -> None:
    try:
        result.set(call(*args))
    except BaseException as error:  # of any kind: the caller that waits raises it
        result.set_exception(error)
