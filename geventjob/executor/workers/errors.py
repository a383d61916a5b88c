"""Exceptions of a call on the job, on their way from the executor to a worker."""

from __future__ import annotations

from typing import Any

from gevent import Timeout

from geventjob.cimi import errors
from geventjob.ends import JobLost, JobStopped

PLAIN: dict[str, type[BaseException]] = {
    kind.__name__: kind for kind in (JobLost, JobStopped, ValueError, TypeError, RuntimeError)
}
REFUSED = {kind.__name__: kind for kind in (errors.NotFound, errors.Forbidden, errors.Invalid, errors.Conflict)}


def told(error: BaseException) -> dict[str, Any]:
    """Return an exception as a reply carries it."""
    found: dict[str, Any] = {"kind": type(error).__name__, "message": str(error)}
    if isinstance(error, Timeout):
        found["seconds"] = error.seconds
    if isinstance(error, errors.Refused):
        found |= {"status": error.status, "reason": error.reason, "job": error.job, "resource": error.resource_id}
    return found


def made(told: dict[str, Any]) -> BaseException:
    """Return the exception that a reply tells."""
    kind, message = told["kind"], told["message"]
    if kind == "Timeout":
        return timeout(told["seconds"])
    if "status" in told:
        refused = REFUSED.get(kind, errors.Refused)
        return refused(told["status"], message, reason=told["reason"], job=told["job"], resource_id=told["resource"])
    return PLAIN.get(kind, RuntimeError)(message)


def timeout(seconds: float | None) -> Timeout:
    """Return a Timeout without a timer, which would start a hub."""
    end = Timeout(None)
    end.seconds = seconds
    return end
