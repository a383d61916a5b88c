"""Mapping of errors to responses: the Problem for each error of the queue, the store or a job."""

from __future__ import annotations

import logging

from geventjob.coordination.base import CoordinationError
from geventjob.log import SELDOM
from geventjob.server.filter import FilterError
from geventjob.server.life.conflicts import Refusal
from geventjob.server.life.schema import SchemaError
from geventjob.server.problem import Problem, not_found, unavailable
from geventjob.server.store.base import NoSuchDocument, SearchTooLong, StoreError

log = logging.getLogger(__name__)


def problem_of(error: BaseException) -> Problem:
    """Return the Problem for an error raised by a request, or by one item of a bulk request."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Refusal):
        return Problem(409, error.message, resource_id=error.job["id"], reason=error.reason, job=error.job)
    if isinstance(error, NoSuchDocument):
        return not_found(str(error))
    if isinstance(error, FilterError):
        return Problem(400, f"Invalid CIMI filter. {error}")
    if isinstance(error, SchemaError):
        return Problem(error.status, str(error))
    if isinstance(error, SearchTooLong):
        return unavailable(str(error))
    if isinstance(error, StoreError):
        return unavailable(error.told)
    if isinstance(error, CoordinationError):
        return unavailable(f"the queue is out of reach: {error}")
    log.error("unexpected error", exc_info=error, extra=SELDOM)
    return Problem(500, f"Unexpected exception thrown: {type(error).__name__}")
