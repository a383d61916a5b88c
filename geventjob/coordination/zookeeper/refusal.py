"""Refusals of ZooKeeper: lasting ones, which an operator must resolve, and passing ones, which are waited out."""

from __future__ import annotations

from collections.abc import Mapping

from kazoo.exceptions import (
    AuthFailedError,
    BadArgumentsError,
    EphemeralOnLocalSessionError,
    InvalidACLError,
    KazooException,
    NoAuthError,
    NotReadOnlyCallError,
    QuotaExceededError,
    UnimplementedError,
)
from kazoo.exceptions import SessionClosedRequireSaslError as SessionClosedRequireAuthError

from geventjob.coordination.base import CoordinationAway, CoordinationError

LASTING = (AuthFailedError, BadArgumentsError, InvalidACLError, NoAuthError, UnimplementedError)
"""Refusals that last.

All others pass: a quota is raised, a read-only server finds its majority, a folder is made anew.
"""


WORDS: Mapping[type[KazooException], str] = {
    EphemeralOnLocalSessionError: "local sessions without localSessionsUpgradingEnabled",
    NotReadOnlyCallError: "the server is read-only: it sees no majority",
    QuotaExceededError: "a quota is full",
    SessionClosedRequireAuthError: "the server wants a log-in: zk-auth-file",
}


def refused(error: KazooException, what: str = "ZooKeeper refused") -> CoordinationError:
    """Return the error of the contract: CoordinationAway for a refusal that passes, else CoordinationError."""
    text = f"{what}: {type(error).__name__} {WORDS.get(type(error), error)}".rstrip()
    return CoordinationError(text) if isinstance(error, LASTING) else CoordinationAway(text)
