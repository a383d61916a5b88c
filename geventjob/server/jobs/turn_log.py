"""Log who added, stopped, released or deleted jobs: one line for each request, with ids beside the count."""

from __future__ import annotations

from collections.abc import Sequence

from geventjob.log import turn
from geventjob.server.accounts.caller import Caller

NAMED = 20
"""Most jobs that a line names."""


def log_turn(verb: str, ids: Sequence[str], caller: Caller) -> None:
    """Log that a caller has done something to jobs, where there are any. `verb`: such as `added`."""
    if not ids:
        return
    named, user = list(ids[:NAMED]), caller.username
    many = f"{len(ids)} jobs: " if len(ids) > 1 else ""
    more = ", …" if len(ids) > NAMED else ""
    turn(verb, "%s %s %s%s%s", user, verb, many, ", ".join(named), more, user=user, count=len(ids), jobs=named)
