"""Jobs in request bodies: checked by the schema, bounded in depth, with the administrators' rule in each acl."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geventjob.cimi.document import Document
from geventjob.server.accounts.acl import with_admin_rule
from geventjob.server.http.decode import MAX_DEPTH, too_deep
from geventjob.server.life.schema import validate_add, validate_edit


def parse_job_add(value: Any) -> Document:
    """Return the attributes of a new job. Raises schema.Invalid, Problem 400."""
    return _checked(lambda: validate_add(value))


def parse_job_edit(value: Any, delete: list[str]) -> Document:
    """Return the attributes that an edit sets; `delete`: attributes to delete. Raises schema.Invalid, Problem 400."""
    return _checked(lambda: validate_edit(value, delete))


def _checked(validate: Callable[[], Document]) -> Document:
    """Return a validated job. The schema bounds all attributes but those of any shape, which MAX_DEPTH bounds."""
    try:
        job = validate()
    except RecursionError:
        raise too_deep() from None
    if not all(_is_shallow(part, MAX_DEPTH - 1) for part in job.values() if isinstance(part, (dict, list))):
        raise too_deep()
    return {**job, "acl": with_admin_rule(job["acl"])} if "acl" in job else job


def _is_shallow(value: dict[str, Any] | list[Any], levels: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(part, levels - 1) for part in parts if isinstance(part, (dict, list)))
