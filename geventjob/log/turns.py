"""Log the turns of a job's life: one line at each turn, with fields for programs (docs/operations.md, "Log files").

The lines have a logger of their own, whose level `--log-jobs` sets: of many short jobs, failures may be enough. Lines
are written together, DELAY seconds late: a log call and a write for each would cost an executor 20 % more CPU.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import gevent

from geventjob.log.handlers import LineHandler

TURNS = logging.getLogger("geventjob.jobs")
LEVELS = {"all": logging.INFO, "failed": logging.WARNING, "none": logging.CRITICAL + 1}
"""The lowest level that is logged, by the value of `--log-jobs`."""
DELAY = 0.05
"""Seconds. A process that is killed loses the lines of this time."""
_pending: list[Turn] = []


class Turn(logging.LogRecord):
    """The record of a turn, made cheaply: `LogRecord.__init__` is the largest part of a log call."""

    name = TURNS.name
    exc_info = exc_text = stack_info = None

    def __init__(self, text: str, args: tuple[object, ...], level: int, run: str, fields: dict[str, Any]) -> None:
        self.created = time.time()
        self.msg = text
        self.args = args
        self.levelno = level
        self.levelname = logging.getLevelName(level)
        self.run = run
        self.fields = fields

    def complete(self) -> logging.LogRecord:
        """Return a record with all that the handlers of other libraries read."""
        return logging.makeLogRecord({**vars(self), "name": self.name, "msecs": self.created % 1 * 1000})


def set_turns(wanted: str) -> None:
    """Log all turns from now on, or those of failed and lost jobs, or none."""
    TURNS.setLevel(LEVELS[wanted])


def turn(event: str, text: str, *args: object, level: int = logging.INFO, run: str = "-", **fields: Any) -> None:
    """Log a turn soon. `run`: `<job id> <action>` for a turn of one job; `fields`: values that JSON can hold.

    Call it in a greenlet of the main thread.
    """
    if not TURNS.isEnabledFor(level):
        return
    if not _pending:
        gevent.spawn_later(DELAY, write_turns)
    _pending.append(Turn(text, args, level, run, {"event": event, **fields}))


def write_turns() -> None:
    """Write the lines of the turns until now. Call this before the process ends."""
    records, _pending[:] = _pending[:], []
    logger: logging.Logger | None = TURNS
    while logger and records:
        for handler in logger.handlers:
            if isinstance(handler, LineHandler):
                handler.handle_all(records)
            else:
                for record in records:
                    handler.handle(record.complete())
        logger = logger.parent if logger.propagate else None
