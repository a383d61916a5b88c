"""The live processes and the queue, as operators see them."""

from __future__ import annotations

from typing import Any

from geventjob.coordination.base import Coordination, QueueStats
from geventjob.server.leaders import promoter, reconcile, rescue

ROLES = ("executor", "distributor", "server")
LONG_LISTS = frozenset({"actions", "payloads", "timing", "elections", "leftOut"})
"""Facts that a process announces at its start once for all, and events leave out."""
ELECTIONS = (promoter.ELECTION, reconcile.ELECTION, rescue.ELECTION)
"""The elections of the work that one server does for all."""


def nodes_of(coordination: Coordination, stats: QueueStats) -> list[dict[str, Any]]:
    """Return the processes, their jobs in progress and their leaderships. Raises CoordinationError."""
    nodes = [
        {"role": role, "name": name, **info}
        for role in ROLES
        for name, info in sorted(coordination.members(f"{role}s").items())
    ]
    for node in nodes:
        if node["role"] == "executor":
            node["running"] = stats.holders.get(node["name"], 0)
    _add_leading(coordination, nodes)
    return nodes


def counts_of(stats: QueueStats) -> dict[str, Any]:
    """Return the number of entries, of those taken, and the age in seconds of the oldest."""
    return {"entries": stats.entries, "taken": stats.taken, "oldest": stats.oldest}


def _add_leading(coordination: Coordination, nodes: list[dict[str, Any]]) -> None:
    """Add to each distributor process the distributors that it leads, and to each server the work that it does."""
    elections = sorted({election for node in nodes for election in _elections(node).values()})
    leaders = coordination.leaders(elections) if elections else {}
    for node in nodes:
        if node["role"] != "executor":
            mine = _elections(node)
            node["leads"] = [name for name in mine if leaders.get(mine[name]) == node["name"]]


def _elections(node: dict[str, Any]) -> dict[str, str]:
    """Return the election of each distributor of a process; by default an election has the distributor's name.

    A server takes part in the elections of the work that one server does for all.
    """
    if node["role"] == "server":
        return {name: name for name in ELECTIONS}
    told = node.get("elections", {})
    return {name: told.get(name, name) for name in node.get("distributors", ())}
