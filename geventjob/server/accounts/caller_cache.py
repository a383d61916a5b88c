"""Callers that were found recently, so that not every request asks the store."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from geventjob.clock import boottime
from geventjob.server.accounts.caller import ANONYMOUS, Caller

SECONDS = 2.0
"""Time for which a caller is taken from the cache. Another server's log-out or deletion takes effect after it."""
ENTRIES = 10_000


class _Entry(NamedTuple):
    caller: Caller
    until: float
    """Boot time in seconds."""


class CallerCache:
    """Callers by the cookie or the API key of their requests."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._revocations = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, token: str, find: Callable[[], Caller]) -> Caller:
        """Return the caller of this token: from the cache, else from `find`, which asks the store.

        A caller that is revoked during `find` is returned and not cached.
        """
        entry = self._entries.get(token)
        if entry is not None and boottime() < entry.until:
            return entry.caller
        revocations = self._revocations
        caller = find()
        if caller is ANONYMOUS:
            self._entries.pop(token, None)
        elif revocations == self._revocations:
            self._entries[token] = _Entry(caller, boottime() + SECONDS)
            self._entries.move_to_end(token)
            if len(self._entries) > ENTRIES:
                self._entries.popitem(last=False)
        return caller

    def revoke(self, is_revoked: Callable[[Caller], bool]) -> None:
        """Remove the callers for which `is_revoked` returns True."""
        self._revocations += 1
        for token, entry in list(self._entries.items()):
            if is_revoked(entry.caller):
                del self._entries[token]
