"""Errors between a client and a CIMI server. An error of the infrastructure is never an error of a job."""

from __future__ import annotations

from typing import Any


class CimiError(Exception):
    """The base of all errors of the client."""


class ServerAway(CimiError):
    """No connection, no answer in time, 5xx or 429: a later try may succeed. The effect of the request is unknown.

    `retry_after`: the pause that the server asked for, seconds, or None. `status`: the status of the answer, or None.
    """

    def __init__(self, message: str, retry_after: float | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.status = status


class ForeignAnswer(ServerAway):
    """A 4xx in a shape that a job server never sends, given by a proxy: it says nothing about the request."""


class LoginRefused(CimiError):
    """The server refuses the user, the password or the key.

    The same log-in again does not help a command. An executor or a distributor waits until the log-in is repaired.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Refused(CimiError):
    """A 4xx: the server works and refuses this request. The same request again does not help."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        reason: str | None = None,
        job: dict[str, Any] | None = None,
        resource_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        """The reason of a 409: final, stopping, entry, fence, action, unique and others (docs/job-lifecycle.md)."""
        self.job = job
        """The job as it is, with a 409 of a job."""
        self.resource_id = resource_id
        """The resource that the server named, or None: in the 409 of an add, the resource that exists already."""


class Invalid(Refused):
    """400, 413: the body, the filter or a parameter is wrong. The message tells how."""


class Forbidden(Refused):
    """403 after a good log-in: this user lacks the right."""


class NotFound(Refused):
    """404: the resource does not exist, or this user may not see it."""


class Conflict(Refused):
    """409: `reason` tells which."""
