"""`node` and `queue`: the fleet, for operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import falcon

from geventjob.coordination.base import Coordination, Waiting
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.http.decode import decode_as
from geventjob.server.http.request_body import read_body
from geventjob.server.http.response import set_json
from geventjob.server.jobs import promoter, reconcile, rescue
from geventjob.server.jobs.reconcile import Reconciler
from geventjob.server.resources.bodies import ReconcileBody

ROLES = ("executor", "distributor", "server")


class NodeResource:
    """The live processes of the fleet, for callers who see everything."""

    def __init__(self, coordination: Coordination, sessions: Sessions) -> None:
        self._coordination = coordination
        self._sessions = sessions

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Respond with the processes, their jobs in progress and their leaderships."""
        self._sessions.caller_of(req).require_sees_all()
        nodes = [
            {"role": role, "name": name, **info}
            for role in ROLES
            for name, info in sorted(self._coordination.members(f"{role}s").items())
        ]
        self._add_running(nodes)
        self._add_leading(nodes)
        set_json(resp, {"nodes": nodes})

    def _add_running(self, nodes: list[dict[str, Any]]) -> None:
        holders = self._coordination.stats(0).holders
        for node in nodes:
            if node["role"] == "executor":
                node["running"] = holders.get(node["name"], 0)

    def _add_leading(self, nodes: list[dict[str, Any]]) -> None:
        """Add to each distributor process the distributors that it leads, and to each server the work that it does."""
        elections = sorted({election for node in nodes for election in _elections(node).values()})
        leaders = self._coordination.leaders(elections) if elections else {}
        for node in nodes:
            if node["role"] != "executor":
                mine = _elections(node)
                node["leads"] = [name for name in mine if leaders.get(mine[name]) == node["name"]]


def _elections(node: dict[str, Any]) -> dict[str, str]:
    """Return the election of each distributor of a process; by default an election has the distributor's name.

    A server takes part in the elections of the work that one server does for all.
    """
    if node["role"] == "server":
        return {name: name for name in (promoter.ELECTION, reconcile.ELECTION, rescue.ELECTION)}
    told = node.get("elections", {})
    return {name: told.get(name, name) for name in node.get("distributors", ())}


class QueueResource:
    """Statistics of the queue, for callers who see everything."""

    def __init__(self, coordination: Coordination, sessions: Sessions) -> None:
        self._coordination = coordination
        self._sessions = sessions

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Respond with counts, the first entries, and the first entries without an owner."""
        self._sessions.caller_of(req).require_sees_all()
        stats = self._coordination.stats()
        counts = {"entries": stats.entries, "taken": stats.taken, "oldest": stats.oldest, "numbers": stats.numbers}
        set_json(resp, {**counts, "head": _entries(stats.head), "next": _entries(stats.next)})


def _entries(waiting: Sequence[Waiting]) -> list[dict[str, Any]]:
    return [
        {"entry": item.entry, "priority": item.priority, "job": item.job, "takenBy": item.taken_by} for item in waiting
    ]


class ReconcileResource:
    """`queue/reconcile`: make store and queue agree now, which takes some seconds. For administrators."""

    def __init__(self, reconciler: Reconciler, sessions: Sessions) -> None:
        self._reconciler = reconciler
        self._sessions = sessions

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Reconcile, and respond with the counts of changes."""
        self._sessions.caller_of(req).require_role("ADMIN")
        dry = decode_as(ReconcileBody, read_body(req)).dry_run
        set_json(resp, {**asdict(self._reconciler.run(dry=dry)), "dryRun": dry})
