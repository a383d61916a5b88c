"""Signals of the commands that run for long (docs/operations.md, "Signals")."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable

import gevent
from gevent.event import Event

from geventjob import log as logs
from geventjob.config import Settings, WrongUsage
from geventjob.plugins import PluginError

log = logging.getLogger(__name__)


def catch_hangups() -> Event:
    """Return an event that is set at each SIGHUP from now on. Before, the signal ends the process."""
    hangups = Event()
    gevent.signal_handler(signal.SIGHUP, hangups.set)
    return hangups


def handle(stop: Callable[[], None], settings: Settings, hangups: Event, renew: Callable[[], None]) -> None:
    """Call `stop` on SIGTERM and SIGINT, and `renew` in a greenlet after `hangups`; SIGUSR2 switches debug lines.

    Log files need no SIGHUP: each line goes to the file at the path.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stop)
    gevent.signal_handler(signal.SIGUSR2, lambda: logs.toggle_debug(settings.log_level))
    gevent.spawn(_serve, hangups, renew)


def _serve(hangups: Event, renew: Callable[[], None]) -> None:
    """Call `renew` after each SIGHUP for ever; signals that come meanwhile count as one."""
    while True:
        hangups.wait()
        hangups.clear()
        try:
            renew()
        except WrongUsage as wrong:
            log.error("SIGHUP: nothing changes: %s", wrong.message)
        except PluginError as error:
            log.error("SIGHUP: nothing changes: %s", error)
        except Exception:
            log.exception("SIGHUP: not everything was read again")
