"""Long-lived greenlets: an error in one must end the process, never leave it half alive (DESIGN §5.11)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gevent
from gevent import Greenlet

log = logging.getLogger(__name__)


def spawn(name: str, run: Callable[[], Any], failed: Callable[[], None]) -> Greenlet[..., Any]:
    """Run a part of the process. If it raises, that is logged with its traceback and `failed` is called in the hub.

    To return, or to be killed, is a good end.
    """
    greenlet = gevent.spawn(run)
    greenlet.name = name

    def ended(done: Greenlet[..., Any]) -> None:
        if done.exception is not None:
            log.critical("%s ended unexpectedly: the process ends with it", name, exc_info=done.exc_info)
            failed()

    greenlet.link(ended)
    return greenlet


def end_process() -> None:
    """For `failed`, in parts that know nothing of the process around them: its main greenlet gets a SystemExit(1)."""
    gevent.get_hub().handle_system_error(SystemExit, SystemExit(1))
