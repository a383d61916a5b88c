"""Long-lived greenlets: an error in such a greenlet ends the process, so that no process lives on half alive."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gevent
from gevent import Greenlet

log = logging.getLogger(__name__)


def spawn(name: str, run: Callable[[], Any], failed: Callable[[], None]) -> Greenlet[..., Any]:
    """Run a part of the process. An exception is logged with its traceback, then `failed` is called in the hub.

    A part that returns or is killed has ended well.
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
    """Raise SystemExit(1) in the main greenlet: a `failed` for parts that know nothing about their process."""
    gevent.get_hub().handle_system_error(SystemExit, SystemExit(1))
