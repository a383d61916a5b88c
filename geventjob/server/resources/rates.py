"""`rate`, `failure` and `attention`: what comes in, goes out and fails, and what an operator should look at."""

from __future__ import annotations

from typing import Any

import falcon

from geventjob.cimi.document import Document
from geventjob.coordination.base import Coordination
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.http.response import set_json
from geventjob.server.problem import Problem
from geventjob.server.resources.health import HealthResource
from geventjob.server.resources.search_parameters import number, parameters
from geventjob.server.store.base import Store
from geventjob.server.watch.attention import gathered, notices
from geventjob.server.watch.failure_groups import FailureGroups
from geventjob.server.watch.rates import MOST_ACTIONS, OTHERS, Rates, by_action, percentile, summed

SHOWN_GROUPS, MOST_GROUPS = 200, 1_000
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class RateResource:
    """The counts of the last hour, for callers who see everything."""

    def __init__(self, rates: Rates, sessions: Sessions) -> None:
        self._rates = rates
        self._sessions = sessions

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Respond with the counts of each minute, and of each action over all of them."""
        self._sessions.reader_of(req)
        minutes = self._rates.minutes()
        actions = by_action(minutes)
        shown = {name: counts for name, counts in list(actions.items())[:MOST_ACTIONS] if name != OTHERS}
        if rest := [counts for name, counts in actions.items() if name not in shown]:
            shown[OTHERS] = summed(rest)
        answer = {"minutes": list(map(_minute, minutes)), "actions": [_action(*pair) for pair in shown.items()]}
        set_json(resp, answer)


class FailureResource:
    """The groups of failures, for callers who see everything."""

    def __init__(self, groups: FailureGroups, sessions: Sessions) -> None:
        self._groups = groups
        self._sessions = sessions

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Respond with the groups that failed last, the newest first."""
        self._sessions.reader_of(req)
        last = number(parameters(req), "$last", SHOWN_GROUPS) or 0
        if last > MOST_GROUPS:
            raise Problem(400, f"$last is {last}: {MOST_GROUPS} at most")
        count, groups = self._groups.newest(max(0, last))
        set_json(resp, {"count": count, "failures": list(map(_group, groups))})


class AttentionResource:
    """The notices that need attention, for callers who see everything."""

    def __init__(
        self, store: Store, coordination: Coordination, rates: Rates, health: HealthResource, sessions: Sessions
    ) -> None:
        self._parts = store, coordination, rates, health.store_trouble
        self._sessions = sessions

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Respond with sentences and facts, the worst first; with none when all is well."""
        self._sessions.reader_of(req)
        set_json(resp, {"attention": notices(gathered(*self._parts))})


def _minute(minute: Document) -> dict[str, Any]:
    counts = {name: minute["counts"][name] for name in ("in", "out", "failed")}
    sampled = {name: minute[name] for name in ("depth", "oldest") if minute.get(name) is not None}
    return {"at": minute["at"], **counts, **sampled}


def _action(name: str, counts: dict[str, Any]) -> dict[str, Any]:
    found = {key: percentile(counts, share) for key, share in PERCENTILES.items()}
    known = {key: value for key, value in found.items() if value is not None}
    return {"action": name, **{key: counts[key] for key in ("in", "out", "failed")}, **known}


def _group(group: Document) -> dict[str, Any]:
    hours = [{"at": at, "count": count} for at, count in sorted(group["_hours"].items())]
    named = {name: group.get(name, "") for name in ("id", "action", "type", "place", "message", "count", "job")}
    return {**named, "first": group["created"], "last": group["updated"], "hours": hours}
