"""`node` and `queue`: the fleet, for operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import falcon

from geventjob.coordination.base import Coordination, Waiting
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.document import public
from geventjob.server.http.decode import decode_as
from geventjob.server.http.request_body import read_body
from geventjob.server.http.response import set_json
from geventjob.server.jobs.pauses import PauseService
from geventjob.server.leaders.reconcile import Reconciler
from geventjob.server.resources.bodies import ReconcileBody
from geventjob.server.watch.fleet import counts_of, nodes_of


class NodeResource:
    """The live processes of the fleet, for callers who see everything."""

    def __init__(self, coordination: Coordination, sessions: Sessions) -> None:
        self._coordination = coordination
        self._sessions = sessions

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Respond with the processes, their jobs in progress and their leaderships."""
        self._sessions.reader_of(req)
        set_json(resp, {"nodes": nodes_of(self._coordination, self._coordination.stats(0))})


class QueueResource:
    """Statistics of the queue, for callers who see everything."""

    def __init__(self, coordination: Coordination, pauses: PauseService, sessions: Sessions) -> None:
        self._coordination = coordination
        self._pauses = pauses
        self._sessions = sessions

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Respond with counts, the first entries, the first entries without an owner, and the pauses."""
        self._sessions.reader_of(req)
        stats = self._coordination.stats()
        answer = {
            **counts_of(stats),
            "numbers": stats.numbers,
            "head": _entries(stats.head),
            "next": _entries(stats.next),
            "pauses": [public(pause) for pause in self._pauses.all()],
        }
        set_json(resp, answer)


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
        self._sessions.admin_of(req)
        dry = decode_as(ReconcileBody, read_body(req)).dry_run
        set_json(resp, {**asdict(self._reconciler.run(dry=dry)), "dryRun": dry})
