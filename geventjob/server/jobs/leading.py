"""The loop of work that one server does for all: rounds at intervals, while this server leads an election."""

from __future__ import annotations

from collections.abc import Callable

import gevent

from geventjob.backoff import Trouble
from geventjob.clock import boottime
from geventjob.coordination.base import Coordination, CoordinationError, Leadership
from geventjob.server.store.base import StoreError

LOOK = 1.0
"""Most seconds between two checks of the leadership during a pause."""


def keep_leading(
    coordination: Coordination, election: str, work: Callable[[], object], interval: float, trouble: Trouble
) -> None:
    """Call `work` each `interval` seconds while this server leads the election. Does not return.

    After a StoreError or CoordinationError the next round follows when the pause of `trouble` is over.
    """
    leadership: Leadership | None = None
    while True:
        try:
            if leadership is None or not leadership.held:
                leadership = coordination.lead(election)
                continue
            work()
            trouble.end()
            pause = interval
        except (StoreError, CoordinationError) as error:
            pause = trouble.pause(str(error))
        _rest(pause, leadership)


def _rest(seconds: float, leadership: Leadership | None) -> None:
    """Sleep until the leadership ends at most: its end may mean that coordination has lost its data."""
    until = boottime() + seconds
    held = leadership is not None and leadership.held
    while (left := until - boottime()) > 0 and not (held and leadership and not leadership.held):
        gevent.sleep(min(LOOK, left))
