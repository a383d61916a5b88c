"""Jobs as clients send them: the schema's check, the bound on depth, and the administrators' rule in each acl."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geventjob.cimi.document import Document
from geventjob.server.accounts.acl import with_admin_rule
from geventjob.server.http.decode import DEPTH, too_deep
from geventjob.server.jobs.schema import validate_add, validate_edit


def parse_job_add(value: Any) -> Document:
    """The body of a new job. Raises schema.Invalid, Problem 400."""
    return _governed(_shallow(_checked(lambda: validate_add(value))))


def parse_job_edit(value: Any, delete: list[str]) -> Document:
    """What an edit sets in a job. Raises schema.Invalid, Problem 400."""
    return _governed(_shallow(_checked(lambda: validate_edit(value, delete))))


def _checked(check: Callable[[], Document]) -> Document:
    """What fits the schema, which bounds all but what may have any shape."""
    try:
        return check()
    except RecursionError:
        raise too_deep() from None


def _governed(job: Document) -> Document:
    """No acl leaves the administrators out."""
    return {**job, "acl": with_admin_rule(job["acl"])} if "acl" in job else job


def _shallow(job: Document) -> Document:
    for part in job.values():
        if isinstance(part, (dict, list)) and not _is_shallow(part, DEPTH - 1):
            raise too_deep()
    return job


def _is_shallow(value: dict[str, Any] | list[Any], levels: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(part, levels - 1) for part in parts if isinstance(part, (dict, list)))
