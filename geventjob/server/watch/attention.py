"""Notices for an operator, in sentences, each with the facts behind it.

`gathered` asks store and coordination; every other function looks at `Observed` alone, and returns notices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from geventjob.cimi.document import Document
from geventjob.coordination.base import Coordination, CoordinationError
from geventjob.job.states import FINAL
from geventjob.server.filter import And, Compare, Filter
from geventjob.server.store.base import Query, SearchTooLong, Store, StoreError
from geventjob.server.watch.fleet import ELECTIONS
from geventjob.server.watch.rates import OTHERS, Rates, by_action

Notice = Document
"""`kind`, `text` and further facts."""

GROWING = 10
"""Minutes for which the queue must have grown."""
GROWN = 10
"""Entries by which it must have grown at least: a queue of a few entries is none to worry about."""
RECENT = 10
"""Minutes whose failures are compared with those of the minutes before."""
FEWEST = 5
"""Fewest jobs of an action that must have ended in these minutes."""
RATE, JUMP = 0.2, 3.0
"""Share of failures from which a rate is high, and the factor by which it must have grown."""
NAMED = 20
"""Most actions that are looked for, and jobs that a notice names."""


@dataclass(frozen=True)
class Observed:
    """The known state of the fleet."""

    executors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The announcement of each executor, by name."""
    entries: int = 0
    """Entries in the queue."""
    waiting: Mapping[str, str] = field(default_factory=dict)
    """Actions that no executor announces, with the time of the add of the oldest job that waits for it."""
    leaders: Mapping[str, str] = field(default_factory=dict)
    """Election → leading server."""
    minutes: Sequence[Document] = ()
    """The last minutes (`Rates.minutes`)."""
    interrupted: Sequence[Document] = ()
    """Jobs that are not over and were interrupted twice or more often in the last hour."""
    store_trouble: str | None = None
    """Why the store takes no writes."""
    trouble: str | None = None
    """Why the queue, or the store, cannot be asked."""


def gathered(
    store: Store, coordination: Coordination, rates: Rates, store_trouble: Callable[[], str | None]
) -> Observed:
    """Ask store and coordination."""
    trouble = store_trouble()
    try:
        executors = coordination.members("executors")
        entries = coordination.stats(0).entries
        leaders = coordination.leaders(ELECTIONS)
        minutes = rates.minutes()
        waiting = _unannounced(store, executors, minutes)
        return Observed(executors, entries, waiting, leaders, minutes, _interrupted(store, minutes), trouble)
    except StoreError as error:
        return Observed(store_trouble=trouble, trouble=error.told)
    except CoordinationError as error:
        return Observed(store_trouble=trouble, trouble=f"the queue is out of reach: {error}")


def _unannounced(store: Store, executors: Mapping[str, Any], minutes: Sequence[Document]) -> dict[str, str]:
    """Return the actions of the last hour that no executor announces and for which a job waits."""
    known = {action for info in executors.values() for action in info.get("actions", ())}
    missing = [action for action in by_action(minutes) if action not in known and action != OTHERS]
    found: dict[str, str] = {}
    for action in missing[:NAMED] if executors else ():
        asked: Filter = And((Compare(("action",), "=", action), Compare(("state",), "=", "QUEUED")))
        query = Query(asked, last=1, orderby=[("created", False)], select=("created",), counted=False, fresh=False)
        try:
            jobs = store.search("job", query).documents
        except SearchTooLong:
            continue
        if jobs:
            found[action] = jobs[0]["created"]
    return found


def _interrupted(store: Store, minutes: Sequence[Document]) -> list[Document]:
    """Return the jobs that were interrupted more than once in these minutes, and are not over."""
    ids = list(dict.fromkeys(id for minute in minutes for id in minute["interrupted"]))[-NAMED:]
    return [job for job in store.get(ids) if job is not None and job["state"] not in FINAL] if ids else []


# --- the notices


def out_of_reach(observed: Observed) -> list[Notice]:
    """Notice that the fleet cannot be looked at."""
    if observed.trouble is None:
        return []
    return [{"kind": "out-of-reach", "text": f"The fleet cannot be looked at: {observed.trouble}."}]


def read_only_store(observed: Observed) -> list[Notice]:
    """Notice that nothing can be stored."""
    why = observed.store_trouble
    return [{"kind": "read-only-store", "text": f"Nothing can be stored: {why}.", "why": why}] if why else []


def no_executor(observed: Observed) -> list[Notice]:
    """Notice that nobody runs jobs."""
    if observed.executors or observed.trouble:
        return []
    waits = f"{observed.entries} {'job waits' if observed.entries == 1 else 'jobs wait'} in the queue"
    return [{"kind": "no-executor", "text": f"No executor is alive; {waits}.", "waiting": observed.entries}]


def no_leader(observed: Observed) -> list[Notice]:
    """Notice the work of the servers that no server does."""
    if observed.trouble:
        return []
    return [
        {"kind": "no-leader", "text": f"No server leads the election {election}.", "election": election}
        for election in ELECTIONS
        if election not in observed.leaders
    ]


def unannounced_action(observed: Observed) -> list[Notice]:
    """Notice the actions that no executor has, while jobs wait for them."""
    return [
        {
            "kind": "unannounced-action",
            "text": f"No executor has the action {action}; jobs wait for one since {since}.",
            "action": action,
            "since": since,
        }
        for action, since in observed.waiting.items()
    ]


def growing_queue(observed: Observed) -> list[Notice]:
    """Notice a queue that has grown from minute to minute."""
    sampled = [minute["depth"] for minute in observed.minutes[-GROWING - 1 :] if "depth" in minute]
    if len(sampled) < GROWING or any(after < before for before, after in pairwise(sampled)):
        return []
    before, depth = sampled[0], sampled[-1]
    if depth - before < GROWN:
        return []
    text = f"The queue has grown for {GROWING} minutes, from {before} to {depth} jobs."
    return [{"kind": "growing-queue", "text": text, "before": before, "depth": depth, "minutes": GROWING}]


def interrupted_jobs(observed: Observed) -> list[Notice]:
    """Notice jobs whose executors keep dying."""
    jobs = observed.interrupted
    if not jobs:
        return []
    ids = [job["id"] for job in jobs]
    what = (
        f"The job {ids[0]} was interrupted {jobs[0]['interruptions']} times"
        if len(ids) == 1
        else f"{len(ids)} jobs were interrupted more than once"
    )
    text = f"{what}: the executor died each time, perhaps because of the job."
    return [{"kind": "interrupted", "text": text, "jobs": ids, "count": len(ids)}]


def failure_rate(observed: Observed) -> list[Notice]:
    """Notice actions that fail far more often than before."""
    recent, earlier = by_action(observed.minutes[-RECENT:]), by_action(observed.minutes[:-RECENT])
    found = []
    for action, counts in recent.items():
        present, past = _share(counts), _share(earlier.get(action))
        if counts["out"] < FEWEST or present < RATE or present < JUMP * past:
            continue
        text = (
            f"{counts['failed']} of {counts['out']} jobs of {action} have failed in {RECENT} minutes, "
            f"{_percent(present)} instead of {_percent(past)}."
        )
        facts = {"action": action, "now": present, "before": past, "failed": counts["failed"], "ended": counts["out"]}
        found.append({"kind": "failure-rate", "text": text, **facts})
    return found


def _share(counts: Mapping[str, Any] | None) -> float:
    """Return the share of the ended jobs that have failed, rounded."""
    return round(counts["failed"] / counts["out"], 3) if counts and counts["out"] else 0.0


def _percent(share: float) -> str:
    """Return a share as the page and the commands write it: `20 %`."""
    return f"{100 * share:.0f} %"


NOTICES = (
    out_of_reach, read_only_store, no_executor, no_leader, unannounced_action, interrupted_jobs, failure_rate,
    growing_queue,
)  # fmt: skip
"""The worst first."""


def notices(observed: Observed) -> list[Notice]:
    """Return what needs attention, the worst first; nothing when all is well."""
    return [notice for look in NOTICES for notice in look(observed)]
