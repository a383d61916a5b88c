"""Explain why a job does not run: one sentence, and the facts behind it.

docs/reference/api.md, "Why a job does not run", lists the facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time, moment_of
from geventjob.coordination.base import Coordination, CoordinationError
from geventjob.job.states import FINAL
from geventjob.server.leaders.promoter import ELECTION
from geventjob.server.life.changes import entry_of

NAMED = 20
"""Most actions or executors that a sentence or an answer names."""
QUIET = 10.0
"""Seconds without a write of the executor after which the sentence says so."""


@dataclass(frozen=True)
class Facts:
    """The facts of queue and fleet about a job. `trouble`: coordination could not be asked, in words."""

    trouble: str | None = None
    ahead: int | None = None
    """Entries before the job's; None: the job has no entry in the queue."""
    holder: str | None = None
    """The process that holds the entry."""
    executors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The announcement of each executor, by name."""
    running: Mapping[str, int] = field(default_factory=dict)
    """Name of an executor → entries that the executor holds."""
    promoter: str | None = None
    """The server that puts held jobs into the queue."""
    others: bool = True
    """Whether the sentence may count other jobs: for callers who see them all."""
    turn: str | None = None
    """For a job that waits for its turn under a limit: the limit, and how many wait before the job, in words."""

    def able(self, action: str) -> dict[str, Mapping[str, Any]]:
        """Return the executors that have an action."""
        return {name: info for name, info in self.executors.items() if action in info.get("actions", ())}

    def taking(self, action: str) -> dict[str, Mapping[str, Any]]:
        """Return the executors that have an action, and are neither quiet nor draining."""
        return {name: info for name, info in self.able(action).items() if not info.get("quiet")}


def gathered(coordination: Coordination, job: Document) -> Facts:
    """Ask coordination for the facts about a job that is not final."""
    try:
        entry = entry_of(job)
        if "held" in job or entry is None:
            return Facts(promoter=coordination.leaders([ELECTION]).get(ELECTION))
        (holder,) = coordination.holders([entry])
        return Facts(
            ahead=coordination.ahead(entry),
            holder=holder,
            executors=coordination.members("executors"),
            running=coordination.stats(0).holders,
        )
    except CoordinationError as error:
        return Facts(trouble=str(error))


def explained(job: Document, facts: Facts, now: datetime) -> str:
    """Return one sentence about the job, for people."""
    state = job["state"]
    if state in FINAL:
        return f"The job is {state} since {_end(job)}{_told(job)}."
    if "held" in job:
        return _held(job, facts, now)
    if facts.trouble is not None:
        return f"The job is {state}, and the queue is out of reach: {facts.trouble}."
    if state == "QUEUED":
        return _queued(job, facts)
    return _running(job, facts, now)


def details(job: Document, facts: Facts, *, whole: bool) -> Document:
    """Return the facts as a JSON object. `whole`: with the executors, for callers who see the fleet."""
    known = {"ahead": facts.ahead if whole else None, "holder": facts.holder, "trouble": facts.trouble}
    found: Document = {name: value for name, value in known.items() if value is not None}
    if "held" in job:
        found["held"] = job["held"]
    if whole and facts.executors:
        found["executors"] = [
            {
                "name": name,
                "hasAction": job["action"] in info.get("actions", ()),
                "running": facts.running.get(name, 0),
                "slots": info.get("slots"),
                **{key: info[key] for key in ("away", "quiet") if info.get(key)},
            }
            for name, info in sorted(facts.executors.items())[:NAMED]
        ]
    return found


def _held(job: Document, facts: Facts, now: datetime) -> str:
    held = job["held"]
    if "until" not in held:
        stalled = facts.trouble is None and facts.promoter is None
        leaderless = f"; no server leads the election {ELECTION}" if stalled else ""
        return f"The job waits: {facts.turn or held['detail']}{leaderless}."
    until = moment_of(held["until"])
    if held["why"] == "retry":
        cause = f"run {job.get('attempts', 0)} failed ({held['detail']}), and the job is tried again"
    else:
        cause = held["detail"]
    if until > now:
        return f"The job waits until {held['until']}, {_span(until - now)} from now: {cause}."
    if facts.trouble is not None:
        return f"The job is due since {held['until']}, and the queue is out of reach: {facts.trouble}."
    if facts.promoter is None:
        return f"The job is due since {held['until']}, and no server leads the election {ELECTION}."
    return f"The job is due since {held['until']}: the server {facts.promoter} puts it into the queue."


def _queued(job: Document, facts: Facts) -> str:
    if facts.ahead is None:
        return "The job has no entry in the queue: a server puts the entry back at its next reconcile."
    if facts.holder is not None:
        if away := facts.executors.get(facts.holder, {}).get("away"):
            return f"The executor {facts.holder} has taken the job and cannot reach the server: {away}."
        interruptions = job.get("interruptions", 0)
        apart = f": it was interrupted {interruptions} times, and suspects run few at once" if interruptions > 1 else ""
        return f"The executor {facts.holder} has taken the job and has not begun it{apart}."
    if not facts.executors:
        return f"No executor is connected; {_before(facts)}."
    able = facts.able(job["action"])
    if not able:
        known = sorted({action for info in facts.executors.values() for action in info.get("actions", ())})
        more = f" and {len(known) - NAMED} more" if len(known) > NAMED else ""
        return f"No executor has the action {job['action']}; they have {', '.join(known[:NAMED])}{more}."
    quiet = [f"{name} ({info['quiet'].get('why')})" for name, info in sorted(able.items()) if info.get("quiet")]
    able = facts.taking(job["action"])
    if not able:
        return f"Each executor with the action takes no more jobs: {', '.join(quiet[:NAMED])}."
    away = [f"{name} ({info['away']})" for name, info in sorted(able.items()) if info.get("away")]
    if len(away) == len(able):
        return f"No executor with the action reaches the server: {', '.join(away[:NAMED])}."
    slots, taken = _slots(able, facts)
    if taken >= slots:
        busy = (
            f"All {slots} slots of the executors with the action are taken"
            if facts.others
            else "The executors are busy"
        )
        return f"{busy}; {_before(facts)}."
    return f"An executor takes the job in a moment; {_before(facts)}."


def _running(job: Document, facts: Facts, now: datetime) -> str:
    name = job.get("executor")
    verb = "is being stopped" if job["state"] == "STOPPING" else "runs"
    if name is None:
        return f"The job {verb} on an executor of another engine, since {job.get('started')}."
    quiet = now - moment_of(job["updated"])
    silence = f", which has written nothing for {_span(quiet)}" if quiet.total_seconds() >= QUIET else ""
    if name not in facts.executors:
        return f"The executor {name}, which ran the job, is connected no more: the job goes back to the queue."
    if facts.holder != name:
        return f"The executor {name} has lost the job: another one takes it."
    return f"The job {verb} on {name}, attempt {job.get('attempts', 1)}, since {job.get('started')}{silence}."


def _before(facts: Facts) -> str:
    ahead = facts.ahead
    if not facts.others:
        return "the jobs before it come first"
    if ahead == 0:
        return "the job is the first in the queue"
    return f"{ahead} {'job is' if ahead == 1 else 'jobs are'} before it in the queue"


def _slots(able: Mapping[str, Mapping[str, Any]], facts: Facts) -> tuple[int, int]:
    """Return the number of slots of these executors, and how many are taken."""
    slots = {name: int(info.get("slots", 0)) for name, info in able.items() if not info.get("away")}
    return sum(slots.values()), sum(min(count, facts.running.get(name, 0)) for name, count in slots.items())


def _end(job: Document) -> str:
    """Return the time of the end, to the second; the last change of a job that never ran."""
    if "started" not in job or job.get("duration") is None:
        return str(job["updated"])
    return cimi_time(moment_of(job["started"]) + timedelta(seconds=job["duration"]))


def _told(job: Document) -> str:
    message = job.get("statusMessage")
    return f": {message.rstrip('.')}" if message else ""


def _span(span: timedelta) -> str:
    """Return a span in one unit, or two: `40 s`, `5 min`, `2 h 5 min`, `3 d 2 h`."""
    seconds = int(span.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if hours < 1:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days < 1 else f"{days} d {hours % 24} h"
