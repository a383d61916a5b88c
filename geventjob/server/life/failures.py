"""The failures of a job: each is kept in `errors`, and tried again while retries are left."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Annotated, Any

from msgspec import Meta, Struct, json

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time
from geventjob.job.bounds import MOST_RETRIES
from geventjob.server.life import interruptions
from geventjob.server.life.changes import changed
from geventjob.server.life.wait import Hold, hold

KEPT_ERRORS = 10
ERROR_BYTES = 8 * 1024
"""Bytes of JSON of one error."""
MESSAGE_LENGTH = 1_000
"""Characters of the message of an error; `statusMessage` has the whole message of the last one."""


class FailureReport(Struct, forbid_unknown_fields=True):
    """The failure of an attempt, as its executor reports it."""

    type: Annotated[str, Meta(max_length=200)]
    message: str
    traceback: str = ""


class RetryWish(Struct, forbid_unknown_fields=True):
    """The wish of an executor that a failed job is tried again."""

    after: Annotated[float, Meta(ge=0, le=1e9)]
    """Seconds to wait."""
    limit: Annotated[int, Meta(ge=0, le=MOST_RETRIES)]
    """Most retries of the job, unless the job has `retries`."""


def note(job: Document, failure: FailureReport, executor: str, now: datetime) -> None:
    """Add a failure to the errors of the job, in place. A traceback loses its beginning, the outer calls."""
    error = {
        "at": cimi_time(now),
        "attempt": job.get("attempts", 0),
        "executor": executor,
        "type": failure.type,
        "message": (failure.message or job.get("statusMessage", ""))[:MESSAGE_LENGTH],
    }
    error["traceback"] = end_of(failure.traceback, ERROR_BYTES - len(json.encode(error)) - len(',"traceback":""'))
    job["errors"] = [*job.get("errors", []), error][-KEPT_ERRORS:]


def tried_again(job: Document, edit: Document, wish: RetryWish, most: int, now: datetime) -> Document | None:
    """Return the job, QUEUED and held until its next try; None: the failure is final.

    `edit`: the attributes that the owner sets beside the state. `most`: the bound of the server for all jobs.
    """
    retried = job.get("retried", 0)
    if job["state"] != "RUNNING" or retried >= min(most, job.get("retries", wish.limit)):
        return None
    until = cimi_time(now + timedelta(seconds=wish.after))
    if job.get("expires", until) < until:
        return None
    after = changed(job, {**edit, "state": "QUEUED"}, ("returnCode",), now)
    for name in ("_owned", "fence"):  # the next entry has fencing tokens of its own
        after.pop(name, None)
    interruptions.leave(after, None)
    after["retried"] = retried + 1
    hold(after, Hold("retry", str(edit.get("statusMessage", ""))[:MESSAGE_LENGTH], until))
    return after


def forget_message(job: Document) -> None:
    """Remove the message of the last failure, in place, as the next attempt begins: `errors` keeps it."""
    errors = job.get("errors")
    if errors and job.get("statusMessage", "")[:MESSAGE_LENGTH] == errors[-1]["message"]:
        for name in ("statusMessage", "timeOfStatusChange"):
            job.pop(name, None)


def end_of(text: str, most: int) -> str:
    """Return the end of a text whose JSON has at most so many bytes."""
    raw = json.encode(text)[1:-1]
    if len(raw) <= most:
        return text
    kept = text[-most:]
    while len(json.encode(kept)) - 2 > most:
        kept = kept[len(kept) // 8 + 1 :]
    return kept


# --- groups


def grouped(job: Document) -> Document:
    """Return the job with the name of the group of its last failure (failure_groups.py)."""
    name = blake2b("\x1f".join(kind_of_failure(job)).encode(), digest_size=6).hexdigest()
    return job if job.get("failure") == name else {**job, "failure": name}


def kind_of_failure(job: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the action, the type of the last failure, and its place in the code; the place may be unknown."""
    errors = job.get("errors")
    if errors and errors[-1].get("attempt") == job.get("attempts", 0):
        return job["action"], errors[-1]["type"], _place(errors[-1].get("traceback", ""))
    code = job.get("returnCode")
    return job["action"], "no outcome" if code is None else f"returnCode {code}", ""


_FRAME = re.compile(r'^ *File "([^"\n]+)", line (\d+), in (.+)$', re.MULTILINE)
_LIBRARIES = re.compile(r"/(site|dist)-packages/|/lib/python\d|^<")


def _place(traceback: str) -> str:
    """Return the innermost line of a traceback outside libraries, as `actions/x.py:17 fetch`."""
    frames = _FRAME.findall(traceback)
    own = [frame for frame in frames if not _LIBRARIES.search(frame[0])]
    for path, line, function in (own or frames)[-1:]:
        return f"{'/'.join(path.split('/')[-2:])}:{line} {function}"[:200]
    return ""
