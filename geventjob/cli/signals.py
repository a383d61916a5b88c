"""Signals of the commands that run for long (docs/operations.md, "Signals")."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable

import gevent

from geventjob import log as logs

log = logging.getLogger(__name__)


def handle(stop: Callable[[], None], log_level: str, renew: Callable[[], None]) -> None:
    """Call `stop` on SIGTERM and SIGINT, and `renew` in a greenlet on SIGHUP; SIGUSR2 switches debug lines on and off.

    `log_level`: the level without debug lines. Log files need no SIGHUP: each line goes to the file at the path.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, stop)
    gevent.signal_handler(signal.SIGUSR2, logs.toggle_debug, log_level)
    gevent.signal_handler(signal.SIGHUP, _renew, renew)


def _renew(renew: Callable[[], None]) -> None:
    """Call `renew`; an error is logged, and the process goes on as it was."""
    try:
        renew()
    except SystemExit:  # wrong usage, which the parser has written to stderr
        log.error("SIGHUP: the options have errors, nothing changes; the reason is on stderr")
    except Exception as error:
        log.error("SIGHUP: nothing changes: %s: %s", type(error).__name__, error)


def keep_options() -> None:
    """Answer SIGHUP in a command that reads its options at the start only."""
    log.info("SIGHUP: the log file is the one at its path; options are read at a start")
