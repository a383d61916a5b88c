"""The text of one log line."""

from __future__ import annotations

import json
import logging
import os
import time
from functools import lru_cache
from typing import Any

import gevent

from geventjob.masking import mask_logins

TREE = "geventjob.action"
"""Key of the running action in a greenlet's `spawn_tree_locals`: an object with `job_id` and `action`."""
LONGEST_LINE = 1 << 16
"""Characters."""
CONTROLS = {c: f"\\x{c:02x}" for c in (*range(32), *range(127, 160)) if chr(c) not in "\t\n"}
UNPRINTABLE = CONTROLS | {0x2028: "\\u2028", 0x2029: "\\u2029"}


class LineFormatter(logging.Formatter):
    """A formatter of records that cannot forge other records: every line after the first is indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return format_line(record.created, record.levelname, record.name, run_of(record), self.text(record))

    def text(self, record: logging.LogRecord) -> str:
        """Return the text of a record, cut to LONGEST_LINE; a wrong log call gives a text that says so."""
        try:
            has_trace = record.exc_info or record.exc_text or record.stack_info
            text = super().format(record) if has_trace else record.getMessage()
        except Exception as error:  # a wrong log call must not fail the action that makes it
            text = f"cannot format the message {record.msg!r:.200}: {type(error).__name__}: {error}"
        if len(text) > LONGEST_LINE:
            text = f"{text[:LONGEST_LINE]}… (cut, {len(text)} characters)"
        return text.rstrip()


class JsonFormatter(LineFormatter):
    """A formatter of records as JSON objects, one in a line, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object of a record: time, level, pid, logger, job, action, message, and the fields of a turn."""
        job, _, action = run_of(record).partition(" ")
        line = {
            "time": format_time(record.created),
            "level": record.levelname,
            "pid": os.getpid(),
            "logger": record.name,
            **({"job": job, "action": action} if action else {}),
            "message": mask_logins(self.text(record)),
            **getattr(record, "fields", {}),
        }
        return json.dumps(line, default=str)


FORMATS = {"text": LineFormatter, "json": JsonFormatter}
"""The formatter of log lines, by the value of `--log-format`."""


def format_line(created: float, level: str, name: str, action: str, text: str) -> str:
    """Return the line of one record, log-ins in URLs masked.

    `created`: Unix seconds; `name`: of the logger; `action`: job id and action, or `-`.
    """
    line = f"{format_time(created)} {level:<8} {os.getpid()} {name} [{action}] {text}"
    return printable(line).replace("\n", "\n    ")


def printable(text: str) -> str:
    """Return a text with escapes for control characters, and with log-ins in URLs masked."""
    return mask_logins(text if text.isprintable() else text.translate(UNPRINTABLE))


def format_time(created: float) -> str:
    """Return Unix seconds as UTC with milliseconds."""
    seconds, thousandths = divmod(int(created * 1000), 1000)
    return f"{_format_second(seconds)}.{thousandths:03d}Z"


@lru_cache(4)
def _format_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def run_of(record: logging.LogRecord) -> str:
    """Return `<job id> <action>` of the run that a record names (`run`), or in which the record was made, or `-`."""
    named: str | None = getattr(record, "run", None)
    return named or running_action(getattr(record, "greenlet", None))


def running_action(greenlet: Any = None) -> str:
    """Return `<job id> <action>` of the action that a greenlet (the current one) belongs to, or `-`."""
    tree = getattr(greenlet or gevent.getcurrent(), "spawn_tree_locals", None)
    action = tree.get(TREE) if tree else None
    return f"{action.job_id} {action.action}" if action else "-"


def encode(line: str) -> bytes:
    """Return a line as bytes with its line feed; characters without UTF-8 become escapes."""
    return f"{line}\n".encode(errors="backslashreplace")
