"""Setup of logging in an entry point."""

from __future__ import annotations

import atexit
import logging
import math
from pathlib import Path

from geventjob.config import COMMANDS, refuse
from geventjob.log.formatting import FORMATS
from geventjob.log.handlers import LARGEST_FILE, FileHandler, native_lock
from geventjob.log.journal import stderr_handler
from geventjob.log.rate_limit import RateLimit
from geventjob.log.turns import set_turns, write_turns
from geventjob.log.uncaught import log_uncaught_errors

log = logging.getLogger(__package__)

CHATTY = ("kazoo", "elastic_transport")
"""Libraries that log each request at INFO: only their warnings are logged, unless the level is DEBUG."""
TALKATIVE = ("urllib3",)
"""Libraries that log whole URLs at DEBUG, also those of actions, whose queries may hold secrets: only warnings."""


def configure(
    command: str,
    log_dir: str | None = None,
    level: str = "info",
    name: str | None = None,
    rotate: bool = True,
    form: str = "text",
    jobs: str = "all",
) -> None:
    """Send all logging of this process, warnings and uncaught errors too, to its file or to stderr.

    `name`: of the file, without `.log`; by default the name of the command. `rotate`: whether this process moves a
    file that is full. `form`: `text` or `json`. `jobs`: the turns of jobs to log, `all`, `failed` or `none`. For entry
    points only. A folder that cannot be written is wrong usage: one line on stderr, exit
    code 2.
    """
    try:
        handler: logging.Handler = (
            FileHandler(Path(log_dir) / f"{name or command}.log", LARGEST_FILE if rotate else math.inf)
            if log_dir
            else stderr_handler(COMMANDS[command])
        )
    except OSError as error:
        refuse(command, f"--log-dir: expected a folder that can be written, {log_dir}: {error.strerror}")
    logging._lock = native_lock()  # type: ignore[attr-defined]  # native threads take the lock too
    root = logging.getLogger()
    for before in root.handlers[:]:
        root.removeHandler(before)
        before.close()
    handler.setFormatter(FORMATS[form]())
    handler.addFilter(RateLimit())
    root.addHandler(handler)
    set_level(level)
    set_turns(jobs)
    atexit.register(write_turns)
    logging.captureWarnings(True)
    log_uncaught_errors(COMMANDS[command], f"; see {handler.path}" if isinstance(handler, FileHandler) else "")


def set_level(level: str) -> None:
    """Log from this level on (debug, info, warning or error)."""
    least = getattr(logging, level.upper())
    logging.getLogger().setLevel(least)
    for name in CHATTY:
        logging.getLogger(name).setLevel(least if least <= logging.DEBUG else max(least, logging.WARNING))
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(least, logging.WARNING))


def toggle_debug(level: str) -> None:
    """Log from DEBUG on, or from `level` on again if DEBUG is on."""
    wanted = level if logging.getLogger().level == logging.DEBUG else "debug"
    set_level(wanted)
    log.warning("the log level is %s now", wanted)
