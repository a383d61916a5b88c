"""The columns of a table of jobs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from geventjob.cimi.document import Document
from geventjob.cli.screen import age, span
from geventjob.config import nearest

USUAL = ("id", "state", "action", "age", "took", "message")
"""The columns of a table without `--columns`."""
NEEDED = {
    "state": ("state", "progress", "held"),
    "age": ("created",),
    "took": ("duration",),
    "message": ("statusMessage",),
}
"""The attributes that a column shows, if not the one of its name."""
LONGEST = 300
"""Characters of a cell: payloads may be large."""


def names(text: str) -> tuple[str, ...]:
    """Return the columns of a list with commas; a path, as `payload/account`, is the column of a part.

    Raises ArgumentTypeError for a name that no job has.
    """
    from geventjob.job.attributes import ATTRIBUTES

    known = sorted({*NEEDED, *(attribute.name for attribute in ATTRIBUTES)})
    found = tuple(name.strip() for name in text.split(","))
    for name in found:
        if name.partition("/")[0] not in known:
            raise argparse.ArgumentTypeError(f"no job has an attribute {name!r}{nearest(name, known)}")
    return found


def needed(columns: Sequence[str]) -> list[str]:
    """Return the attributes that these columns need, each once; payloads may be large."""
    each = [attribute for name in ("id", *columns) for attribute in NEEDED.get(name, (name.partition("/")[0],))]
    return list(dict.fromkeys(each))


def row(job: Document, columns: Sequence[str] = USUAL) -> list[object]:
    """Return the cells of a job."""
    return [cell(job, name) for name in columns]


def cell(job: Document, name: str) -> object:
    """Return the cell of a job in one column; None without a value."""
    if name == "state":
        return standing(job)
    if name == "age":
        return age(job.get("created"))
    if name == "took":
        return span(job.get("duration"))
    if name == "message":
        return job.get("statusMessage")
    value: Any = job
    for part in name.split("/"):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)[:LONGEST]


def standing(job: Document) -> str:
    """Return the state of a job, with its progress while it runs, or the time for which it waits."""
    if held := job.get("held"):
        return f"{job.get('state')} until {held['until']}" if "until" in held else f"{job.get('state')}: {held['why']}"
    running = job.get("state") in ("RUNNING", "STOPPING") and job.get("progress")
    return f"{job.get('state')} {job['progress']} %" if running else str(job.get("state"))
