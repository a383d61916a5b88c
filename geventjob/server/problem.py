"""An error as a client sees it: the answer to a request, or to one item of a bulk request (CIMI.md §4)."""

from __future__ import annotations

from typing import Any

from geventjob.server.document import public

RETRY_AFTER = 2
"""Seconds after which a client may find the store or the queue back."""


class Problem(Exception):
    """What went wrong, in the shape `{"status", "message", "resource-id", "reason", "job"}`."""

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
        """`close`: what the client sent is not worth reading to its end."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.resource_id = resource_id
        self.reason = reason
        self.job = job
        self.retry_after = retry_after
        self.close = close

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"status": self.status, "message": self.message}
        if self.resource_id is not None:
            body["resource-id"] = self.resource_id
        if self.reason is not None:
            body["reason"] = self.reason
        if self.job is not None:
            body["job"] = public(self.job)
        return body


def invalid(message: str) -> Problem:
    """A body that does not fit; the words that SlipStream's clients look for come first."""
    return Problem(400, f"resource does not satisfy defined schema: {message}")


def forbidden() -> Problem:
    return Problem(403, "credentials required")


def not_found(id: str) -> Problem:
    return Problem(404, f"{id} not found", resource_id=id)


def unavailable(message: str) -> Problem:
    """The request may be well: it is to be tried again."""
    return Problem(503, message, retry_after=RETRY_AFTER)
