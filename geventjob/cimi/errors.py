"""What can go wrong between a client and a CIMI server. An error of the infrastructure is never one of a job."""

from __future__ import annotations

from typing import Any


class CimiError(Exception):
    """Anything below."""


class ServerAway(CimiError):
    """No connection, no answer in time, 5xx, 429: trying again later may help. Whether it had its effect is not known.

    `retry_after`: seconds that the server asked for, if it did. `status`: of the answer, if there was one.
    """

    def __init__(self, message: str, retry_after: float | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.status = status


class ForeignAnswer(ServerAway):
    """A 4xx in a shape that is not a job server's, which a proxy gave: no verdict on what the request asked for."""


class LoginRefused(CimiError):
    """The server is there and refuses the user, the password or the key.

    Trying the same again does not help a command. An executor or a distributor waits until the log-in is mended.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Refused(CimiError):
    """A 4xx: the server is well and says no to this request. Trying the same again does not help."""

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
        """Of a 409: final, stopping, entry, fence, action or transition (DESIGN.md §3)."""
        self.job = job
        """Of a job's 409: the job as it is."""
        self.resource_id = resource_id
        """The resource that the server named, if it did: of an add's 409 the one that is there already."""


class Invalid(Refused):
    """400, 413: the body, filter or parameter is wrong; the message says how."""


class Forbidden(Refused):
    """403 after a good log-in: this user may not do this to this resource."""


class NotFound(Refused):
    """404."""


class Conflict(Refused):
    """409: see `reason`."""
