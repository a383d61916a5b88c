"""Passwords: hashed with argon2 in native threads, so that the hub goes on meanwhile.

One hash takes some 30 ms of a core and 19 MB (OWASP's parameters), on purpose. Both are bounded by how many are under
way at once, which is also what limits the rate of log-ins.
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
    """Makes and checks hashes, at most `threads` at once; `waiting` more may queue up."""

    def __init__(self, threads: int = 2, waiting: int = 100) -> None:
        self._hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._nobodys = self._hasher.hash("")  # checked where there is no user, so that the time taken does not tell
        self._pool = ThreadPool(threads)
        self._room = threads + waiting

    def hash(self, password: str) -> str:
        """The hash to keep, parameters and salt included. Raises Problem 503 when too many wait."""
        return str(self._run(self._hasher.hash, password))

    def matches(self, hash: str | None, password: str) -> bool:
        """Whether this is the password; takes the same time and is never true without a hash."""
        return bool(self._run(self._verify, hash or self._nobodys, password)) and hash is not None

    def _verify(self, hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(hash, password)
        except VerifyMismatchError:
            return False

    def _run(self, function: Callable[..., Any], *args: str) -> Any:
        if self._room == 0:
            raise Problem(503, "too many log-ins at once", retry_after=1)
        self._room -= 1
        try:
            return self._pool.apply(function, args)
        finally:
            self._room += 1
