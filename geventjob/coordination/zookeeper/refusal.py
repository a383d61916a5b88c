"""What ZooKeeper refuses: for good, which an operator has to mend, or for now, which is waited out."""

from __future__ import annotations

from kazoo.exceptions import (
    AuthFailedError,
    BadArgumentsError,
    InvalidACLError,
    KazooException,
    NoAuthError,
    UnimplementedError,
)

from geventjob.coordination.base import CoordinationAway, CoordinationError

LASTING = (AuthFailedError, BadArgumentsError, InvalidACLError, NoAuthError, UnimplementedError)
"""All others pass: a quota is raised, a read-only server finds its majority, a folder is made anew."""


def refused(error: KazooException, what: str = "ZooKeeper refused") -> CoordinationError:
    """Return the error of the contract: CoordinationAway for a refusal that passes."""
    text = f"{what}: {type(error).__name__} {error}".rstrip()
    return CoordinationError(text) if isinstance(error, LASTING) else CoordinationAway(text)
