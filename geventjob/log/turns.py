"""Log the turns of a job's life: one line at each turn, with fields for programs (docs/operations.md, "Log files").

The lines have a logger of their own, whose level `--log-jobs` sets: of many short jobs, failures may be enough. Lines
are written together, DELAY seconds late: a log call and a write for each would cost an executor 20 % more CPU.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import gevent

from geventjob.log.handlers import LineHandler

TURNS = logging.getLogger("geventjob.jobs")
LEVELS = {"all": logging.INFO, "failed": logging.WARNING, "none": logging.CRITICAL + 1}
"""The lowest level that is logged, by the value of `--log-jobs`."""
DELAY = 0.05
"""Seconds. A process that is killed loses the lines of this time."""
_COMMON = vars(logging.makeLogRecord({"name": TURNS.name})) | {"process": None, "processName": None}
_pending: list[logging.LogRecord] = []


def set_turns(wanted: str) -> None:
    """Log all turns from now on, or those of failed and lost jobs, or none."""
    TURNS.setLevel(LEVELS[wanted])


def turn(event: str, text: str, *args: object, level: int = logging.INFO, run: str = "-", **fields: Any) -> None:
    """Log a turn soon. `run`: `<job id> <action>` for a turn of one job; `fields`: values that JSON can hold.

    Call it in a greenlet of the main thread.
    """
    if not TURNS.isEnabledFor(level):
        return
    created = time.time()
    record = logging.LogRecord.__new__(logging.LogRecord)  # its __init__ is the largest part of a log call
    vars(record).update(_COMMON)
    vars(record).update(
        msg=text,
        args=args,
        levelno=level,
        levelname=logging.getLevelName(level),
        created=created,
        msecs=created % 1 * 1000,
        process=os.getpid(),
        run=run,
        fields={"event": event, **fields},
    )
    if not _pending:
        gevent.spawn_later(DELAY, write_turns)
    _pending.append(record)


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
                    handler.handle(record)
        logger = logger.parent if logger.propagate else None
