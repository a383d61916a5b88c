"""Callers that have just written, so that a session's searches see its own writes.

A store over several machines shows a write to searches after a moment, or at once at some cost (`Query.fresh`). The
server pays the cost only for searches of a session that wrote through this server a moment ago.
"""

from __future__ import annotations

from collections import OrderedDict

from geventjob.clock import boottime
from geventjob.server.accounts.caller import Caller

MOMENT = 10.0
"""Seconds, many times the delay of a store (one second, unless the store is overloaded)."""


class RecentWriters:
    """The callers that wrote within the last MOMENT. The roles of a caller identify the session."""

    def __init__(self) -> None:
        self._last: OrderedDict[frozenset[str], float] = OrderedDict()

    def note(self, caller: Caller) -> None:
        """Record that this caller has just written."""
        now = boottime()
        self._last[caller.roles] = now
        self._last.move_to_end(caller.roles)
        while next(iter(self._last.values())) < now - MOMENT:
            self._last.popitem(last=False)

    def wrote(self, caller: Caller) -> bool:
        """Return whether this caller wrote within the last MOMENT."""
        return self._last.get(caller.roles, 0.0) > boottime() - MOMENT
