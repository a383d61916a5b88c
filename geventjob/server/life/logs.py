"""The log of a job: the last lines of its attempts, in a document beside the job (docs/reference/api.md, "Logs").

The functions are pure: none of them changes its argument.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time
from geventjob.job.types import LOG_BYTES

KEPT_ATTEMPTS = 50
ATTEMPTS = "_attempts"
"""Attribute of a log: its attempts in order, each with `attempt`, `executor`, `at`, `end` and `text`.

`end`: bytes of UTF-8 that the attempt has logged up to the end of `text`, so that a repeated write adds nothing twice.
"""


class LogReport(Struct, forbid_unknown_fields=True):
    """Lines that the action of an attempt has logged, as its executor sends them."""

    at: Annotated[int, Meta(ge=0, le=2**53)]
    """Bytes of UTF-8 that the attempt has logged before these lines."""
    text: Annotated[str, Meta(max_length=LOG_BYTES)]


def appended(log: Document, report: LogReport, attempt: int, executor: str, now: datetime) -> Document:
    """Return the log with the lines of an attempt, as far as they are new; the very same document if none are.

    Lines of an attempt that is not the last any more are left out: nothing lands after the lines of a later attempt.
    """
    attempts = list(log[ATTEMPTS])
    if attempts and attempts[-1]["attempt"] > attempt:
        return log
    if not attempts or attempts[-1]["attempt"] < attempt:
        attempts.append({"attempt": attempt, "executor": executor, "at": cimi_time(now), "end": 0, "text": ""})
    last, data = attempts[-1], report.text.encode()
    known = last["end"] - report.at
    new = data[max(0, known) :].decode(errors="replace")
    if not new:
        return log
    # After a gap the executor has sent as many lines as are kept, so that no earlier line is left anyway.
    text = last["text"] + new if known >= 0 else new
    attempts[-1] = {**last, "end": report.at + len(data), "text": text}
    return {**log, ATTEMPTS: _last_lines(attempts[-KEPT_ATTEMPTS:])}


def shown(log: Document | None) -> list[dict[str, Any]]:
    """Return the attempts as a client sees them; `start` has the bytes of the attempt that are not kept any more."""
    return [
        {
            **{name: each[name] for name in ("attempt", "executor", "at")},
            "start": max(0, each["end"] - len(each["text"].encode())),
            "text": each["text"],
        }
        for each in (log or {}).get(ATTEMPTS, [])
    ]


def _last_lines(attempts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the attempts with the last LOG_BYTES of their lines; attempts without a line are left out."""
    kept, room = list[dict[str, Any]](), LOG_BYTES
    for each in reversed(attempts):
        text = _end_of(each["text"], room) or ("" if kept else each["text"].encode()[-room:].decode(errors="ignore"))
        room -= len(text.encode())
        if text:
            kept.append({**each, "text": text})
    return kept[::-1]


def _end_of(text: str, most: int) -> str:
    """Return the last whole lines of a text, of at most so many bytes; empty if the last line alone is longer."""
    data = text.encode()
    if len(data) <= most:
        return text
    begin = data.find(b"\n", len(data) - most - 1, -1) + 1
    return data[begin:].decode() if begin else ""
