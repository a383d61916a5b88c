"""Who has just written: what a session searches for must be what it has written, if that costs the store nothing else.

A store over several machines shows a write to searches after a moment, or at some cost at once (`Query.fresh`). The
cost is paid where it is noticed: for searches of a session that wrote a moment ago, through this server.
"""

from __future__ import annotations

from collections import OrderedDict

from geventjob.clock import boottime
from geventjob.server.accounts.caller import Caller

MOMENT = 10.0
"""Seconds, many times what a store takes to show a write by itself (one second, unless it is overloaded)."""


class RecentWriters:
    """The callers that wrote within the last MOMENT. The roles of a caller tell his session."""

    def __init__(self) -> None:
        self._last: OrderedDict[frozenset[str], float] = OrderedDict()

    def note(self, caller: Caller) -> None:
        """He writes."""
        now = boottime()
        self._last[caller.roles] = now
        self._last.move_to_end(caller.roles)
        while next(iter(self._last.values())) < now - MOMENT:
            self._last.popitem(last=False)

    def wrote(self, caller: Caller) -> bool:
        """Whether he did, within the last MOMENT."""
        return self._last.get(caller.roles, 0.0) > boottime() - MOMENT
