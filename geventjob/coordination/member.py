"""What every process of a fleet does at first: it joins, and says who it is."""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

from gevent.event import Event

import geventjob
from geventjob.backoff import delays
from geventjob.clock import cimi_time, now
from geventjob.coordination.base import Coordination, CoordinationAway

log = logging.getLogger(__name__)


def join(coordination: Coordination, stop: Event) -> bool:
    """Start it, again and again while it is away; False if `stop` was set before that succeeded.

    Raises CoordinationError for what will not mend itself.
    """
    for delay in delays():
        try:
            coordination.start()
        except CoordinationAway as error:
            log.warning("coordination is away: %s", error)
            if stop.wait(delay):
                return False
        else:
            return True
    raise AssertionError("delays never end")


def about(**more: Any) -> dict[str, Any]:
    """What this process announces of itself (DESIGN §4)."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "version": geventjob.__version__,
        "since": cimi_time(now()),
        **more,
    }
