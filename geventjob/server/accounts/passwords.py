"""Passwords: hashed with argon2 in native threads, so that the event loop goes on.

One hash takes some 30 ms of a core and 19 MB, on purpose (parameters of OWASP's Password Storage Cheat Sheet). The
number of hashes at once bounds both costs, and also the rate of log-ins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import argon2
from argon2.exceptions import VerifyMismatchError
from gevent.threadpool import ThreadPool

from geventjob.server.problem import Problem

MIN_LENGTH = 8
"""Characters of a new password."""


class Passwords:
    """Makes and verifies hashes, at most `threads` at once; `waiting` more calls may queue."""

    def __init__(self, threads: int = 2, waiting: int = 100) -> None:
        self._hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._dummy_hash = self._hasher.hash("")
        """Verified for an unknown user, so that the time of a log-in does not tell which users exist."""
        self._pool = ThreadPool(threads)
        self._places = threads + waiting

    def hash(self, password: str) -> str:
        """Return the hash to store, with its parameters and salt. Raises Problem 503 when too many calls wait."""
        return str(self._run(self._hasher.hash, password))

    def matches(self, hash: str | None, password: str) -> bool:
        """Return whether the hash is of this password. Without a hash, take the same time and return False.

        Raises Problem 503 when too many calls wait.
        """
        return bool(self._run(self._verify, hash or self._dummy_hash, password)) and hash is not None

    def _verify(self, hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(hash, password)
        except VerifyMismatchError:
            return False

    def _run(self, function: Callable[..., Any], *args: str) -> Any:
        if self._places == 0:
            raise Problem(503, "too many log-ins at once", retry_after=1)
        self._places -= 1
        try:
            return self._pool.apply(function, args)
        finally:
            self._places += 1
