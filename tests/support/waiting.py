"""Waiting for a condition, in a gevent process."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import gevent

Found = TypeVar("Found")


def eventually(condition: Callable[[], Found], within: float = 30.0) -> Found:
    """Return the first truthy answer of `condition`; fail with the last answer after `within` seconds."""
    end = time.monotonic() + within
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {within:g} s: {found!r}"
        gevent.sleep(0.01)


def kill(greenlet: gevent.Greenlet[..., Any]) -> None:
    """Kill a greenlet that may be in a request: urllib3 leaves a socket that just connects to the garbage collector."""
    greenlet.kill()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
