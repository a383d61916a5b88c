"""The records of a job: what a run was doing when it was ended, in the document of the job's log.

The functions are pure: none of them changes its argument.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Union

from msgspec import Meta, Struct, json, to_builtins

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time
from geventjob.server.life.failures import end_of

RECORD_BYTES = 32 * 1024
"""Bytes of JSON of all records of a job."""
STACK_BYTES, LINES_BYTES, WORDS = 20 * 1024, 8 * 1024, 200
"""Bytes of JSON of a stack and of the last lines of one record; characters of its short texts."""
RECORDS = "_records"
"""Attribute of the log of a job: its records, in the order of their attempts."""

Words = Annotated[str, Meta(max_length=WORDS)]
Seconds = Annotated[float, Meta(ge=0, le=1e10)]


class RecordReport(Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """The record of a run that its executor has ended, as the executor reports it."""

    why: Literal["timeout", "stop", "loss", "shutdown", "abandonment", "asked"]
    attempt: Annotated[int, Meta(ge=0, le=2**53)]
    ran: Seconds
    """Seconds since the start of the run."""
    hub_held: Seconds
    """The longest time in the run for which the hub of the executor did not run, in seconds."""
    session: Words
    """The session of the executor with the queue, in words."""
    stack: str
    lines: str = ""
    """The last lines that the run has logged."""
    progress: Union[float, None] = None
    request: Words = ""
    """The request for a stack that the record answers."""


def recorded(log: Document, report: RecordReport, job: Document, executor: str, now: datetime) -> Document:
    """Return the log with this record; the very same document if the record is there already.

    A record of an earlier attempt may come late, when the next attempt has one already. Where there is no room for all,
    those that were asked for are dropped first, then the oldest ones.
    """
    told = to_builtins(report)
    told["stack"] = end_of(report.stack, STACK_BYTES)
    if report.lines:
        told["lines"] = end_of(report.lines, LINES_BYTES)
    told["attempt"] = min(report.attempt, job.get("attempts", 0))
    told["executor"] = executor
    records = log.get(RECORDS, [])
    if any({**each, "at": None} == {**told, "at": None} for each in records):
        return log
    new = {"at": cimi_time(now), **told}
    while records and len(json.encode([*records, new])) > RECORD_BYTES:
        spare = next((each for each in records if each["why"] == "asked"), records[0])
        records = [each for each in records if each is not spare]
    return {**log, RECORDS: sorted([*records, new], key=lambda each: each["attempt"])}


def shown_records(log: Document | None) -> list[dict[str, Any]]:
    """Return the records as a client sees them."""
    return list((log or {}).get(RECORDS, []))
