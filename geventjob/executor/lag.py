"""The lag of the event loop as an executor announces it, for the page and `GET /api/node`.

Many processes read an announcement, so it changes seldom: with the step that the lag has reached.
"""

from __future__ import annotations

from collections.abc import Callable

import gevent

from geventjob.clock import boottime

LOOK = 10.0
"""Seconds between two looks, each at the longest delay since the last."""
STEPS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds of lag. A lag below the first is not announced."""


def step_of(lag: float) -> float | None:
    """Return the highest step that a lag has reached; None for a lag below the first."""
    return max((step for step in STEPS if step <= lag), default=None)


def announce_lag(held: Callable[[float], float], tell: Callable[..., None]) -> None:
    """Call `tell(lag=step)` when the step has changed. Does not return.

    `held(since)`: the longest time in seconds for which the event loop did not run since then (boottime).
    """
    told, looked = None, boottime()
    while True:
        gevent.sleep(LOOK)
        since, looked = looked, boottime()
        step = step_of(held(since))
        if step != told:
            tell(lag=step)
            told = step
