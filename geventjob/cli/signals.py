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


def catch(settings: Settings) -> Event:
    """Let SIGUSR2 switch debug lines, and return an event that SIGHUP sets, so that neither ends a process that loads.

    Log files need no SIGHUP: each line goes to the file at the path.
    """
    hangups = Event()
    gevent.signal_handler(signal.SIGHUP, hangups.set)
    gevent.signal_handler(signal.SIGUSR2, lambda: logs.toggle_debug(settings.log_level))
    return hangups


def handle(stop: Callable[[], None], hangups: Event, renew: Callable[[], None]) -> None:
    """Call `stop` on SIGTERM and SIGINT, and `renew` in a greenlet after each of `hangups`."""
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stop)
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
