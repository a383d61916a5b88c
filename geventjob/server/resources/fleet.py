"""`node`, `queue` and `/healthz`: the fleet, for its operators."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import falcon
import gevent

from geventjob.clock import boottime, cimi_time, now
from geventjob.coordination.base import Coordination, Waiting
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.http.answer import give
from geventjob.server.http.receive import read
from geventjob.server.jobs.reconcile import Reconciler
from geventjob.server.resources.bodies import Reconcile, body_of
from geventjob.server.store.base import Insert, Store, StoreError, Taken, Update

log = logging.getLogger(__name__)

ROLES = ("executor", "distributor", "server")
PATIENCE = 5.0
"""Seconds in which a healthy store has written a line."""
EVERY = 2.0
"""Seconds from one such line to the next."""
LINE = "secret/health"


class Nodes:
    """The live processes, for who sees everything."""

    def __init__(self, coordination: Coordination, sessions: Sessions) -> None:
        self._coordination = coordination
        self._sessions = sessions

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        self._sessions.caller_of(req).need_all()
        nodes = [
            {"role": role, "name": name, **info}
            for role in ROLES
            for name, info in sorted(self._coordination.members(f"{role}s").items())
        ]
        self._add_running(nodes)
        self._add_leading(nodes)
        give(resp, {"nodes": nodes})

    def _add_running(self, nodes: list[dict[str, Any]]) -> None:
        holders = self._coordination.stats(0).holders
        for node in nodes:
            if node["role"] == "executor":
                node["running"] = holders.get(node["name"], 0)

    def _add_leading(self, nodes: list[dict[str, Any]]) -> None:
        """Tell of each distributor process which of its distributors it leads; `elections` has their elections."""
        elections = sorted({election for node in nodes for election in _elections(node).values()})
        leaders = self._coordination.leaders(elections) if elections else {}
        for node in nodes:
            if node["role"] == "distributor":
                mine = _elections(node)
                node["leads"] = [name for name in mine if leaders.get(mine[name]) == node["name"]]


def _elections(node: dict[str, Any]) -> dict[str, str]:
    """Return distributor → election, of one process; a distributor stands under its own name unless it says so."""
    told = node.get("elections", {})
    return {name: told.get(name, name) for name in node.get("distributors", ())}


class Queue:
    """The queue at a glance, for who sees everything."""

    def __init__(self, coordination: Coordination, sessions: Sessions) -> None:
        self._coordination = coordination
        self._sessions = sessions

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        self._sessions.caller_of(req).need_all()
        stats = self._coordination.stats()
        counts = {"entries": stats.entries, "taken": stats.taken, "oldest": stats.oldest, "numbers": stats.numbers}
        give(resp, {**counts, "head": _entries(stats.head), "next": _entries(stats.next)})


def _entries(waiting: Sequence[Waiting]) -> list[dict[str, Any]]:
    return [
        {"entry": item.entry, "priority": item.priority, "job": item.job, "takenBy": item.taken_by} for item in waiting
    ]


class ReconcileQueue:
    """`queue/reconcile`: the store and the queue made to agree now, in some seconds. For administrators."""

    def __init__(self, reconciler: Reconciler, sessions: Sessions) -> None:
        self._reconciler = reconciler
        self._sessions = sessions

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        self._sessions.caller_of(req).need_role("ADMIN")
        dry = body_of(Reconcile, read(req)).dry_run
        give(resp, {**asdict(self._reconciler.run(dry=dry)), "dryRun": dry})


class Health:
    """Whether this server can do its work, for everybody.

    A server that reads and cannot write (a full disk, a store that was made read-only) is of no use: the store is asked
    to write a line of its own, in the background and at most every EVERY seconds, and what it said last is answered.
    """

    def __init__(self, store: Store, coordination: Coordination, queue_refuses: Callable[[], bool]) -> None:
        """`queue_refuses`: whether the queue takes no jobs though there is a session (Jobs.queue_refuses)."""
        self._store = store
        self._coordination = coordination
        self._queue_refuses = queue_refuses
        self._why: str | None = None
        self._asking: gevent.Greenlet[[], None] | None = None
        self._asked = -EVERY

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        why = self._why_not()
        resp.status = 503 if why else 200
        resp.content_type = "text/plain"
        resp.text = why or "ok"

    on_head = on_get

    def _why_not(self) -> str | None:
        session = self._coordination.session
        if session is None or session.over:
            return "the queue is out of reach"
        if self._queue_refuses():
            return "the queue takes no jobs"
        is_first = self._asking is None
        if is_first or (self._asking is not None and self._asking.ready() and boottime() > self._asked + EVERY):
            self._asked = boottime()
            self._asking = gevent.spawn(self._ask)
        assert self._asking is not None
        if is_first or self._why is not None:
            self._asking.join(PATIENCE)
        if not self._asking.ready() and boottime() > self._asked + PATIENCE:
            return f"the store does not answer within {PATIENCE:g} s"
        return self._why

    def _ask(self) -> None:
        try:
            [result] = self._store.write([Insert({"id": LINE, "checked": cimi_time(now())})])
            if isinstance(result, Taken):
                moment = {"checked": cimi_time(now())}
                [result] = self._store.write([Update(LINE, lambda line: line | moment)])
        except StoreError as error:
            self._why = f"the store is out of reach: {error}"
        except Exception as error:
            log.error("unexpected error", exc_info=error)
            self._why = f"the store cannot be asked: {type(error).__name__}"
        else:
            self._why = f"the store does not write: {result}" if isinstance(result, Exception) else None
