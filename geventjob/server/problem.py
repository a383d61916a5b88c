"""Errors as clients see them: the response to a request, or to one item of a bulk request.

docs/reference/api.md, "Errors", lists the statuses and attributes.
"""

from __future__ import annotations

from typing import Any

from geventjob.server.document import public

RETRY_AFTER = 2
"""Seconds after which a client may find the store or the queue available again."""


class Problem(Exception):
    """An error with the body `{"status", "message", "resource-id", "reason", "job"}`; the last three are optional."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        resource_id: str | None = None,
        reason: str | None = None,
        job: dict[str, Any] | None = None,
        retry_after: int | None = None,
        close: bool = False,
    ) -> None:
        """`retry_after`: seconds. `close`: end the connection, as the rest of the request is not worth reading."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.resource_id = resource_id
        self.reason = reason
        self.job = job
        self.retry_after = retry_after
        self.close = close

    def body(self) -> dict[str, Any]:
        """Return the body of the response."""
        body: dict[str, Any] = {"status": self.status, "message": self.message}
        if self.resource_id is not None:
            body["resource-id"] = self.resource_id
        if self.reason is not None:
            body["reason"] = self.reason
        if self.job is not None:
            body["job"] = public(self.job)
        return body


def invalid(message: str) -> Problem:
    """Return a 400 for an invalid body; its message begins with the words that SlipStream's clients look for."""
    return Problem(400, f"resource does not satisfy defined schema: {message}")


def forbidden() -> Problem:
    """Return a 403 that does not tell whether the resource exists."""
    return Problem(403, "credentials required")


def not_found(id: str) -> Problem:
    """Return a 404 for a missing resource."""
    return Problem(404, f"{id} not found", resource_id=id)


def unavailable(message: str) -> Problem:
    """Return a 503 with Retry-After, for a request that may succeed later."""
    return Problem(503, message, retry_after=RETRY_AFTER)
