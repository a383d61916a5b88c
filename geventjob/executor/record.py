"""The record of a run that was ended or asked: what it was doing (docs/reference/api.md, "Records")."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from gevent import Timeout

from geventjob.clock import boottime
from geventjob.coordination.base import Claim
from geventjob.ends import JobLost, JobStopped
from geventjob.executor import stacks
from geventjob.executor.decision import Decision
from geventjob.executor.stacks import Stack
from geventjob.executor.work import Work

log = logging.getLogger(__name__)

STACK, LINES = 16_000, 6_000
"""Characters of a stack and of the last lines that are sent; the server keeps 32 KB of all records of a job."""
WHY = ((Timeout, "timeout"), (JobStopped, "stop"), (JobLost, "loss"))


class Recorder:
    """Makes records of runs."""

    def __init__(self, held: Callable[[float], float]) -> None:
        """Make no record yet. `held(since)`: the longest time for which the hub did not run since then, in seconds."""
        self._held = held

    def ended(self, work: Work, decision: Decision) -> None:
        """Leave a record with the claim of a run that the engine has ended: the hook of an end."""
        running = work.running
        if running is None or running.thrown is None:
            return
        why = next(word for kind, word in WHY if isinstance(running.thrown, kind))
        if running.is_abandoned:
            why = "abandonment"
        elif work.giving_up and why == "loss":
            why = "shutdown"
        work.record = self._record(work, why, running.seen)

    def asked(self, work: Work, request: str) -> dict[str, Any]:
        """Return the record of a run as it is now, which answers a request."""
        assert work.running
        process = work.running.process
        seen = [("", process.ask_stack())] if process else stacks.taken(work.running)
        return self._record(work, "asked", seen) | {"request": request}

    def _record(self, work: Work, why: str, seen: Sequence[Stack]) -> dict[str, Any]:
        assert work.job
        assert work.running
        record: dict[str, Any] = {
            "why": why,
            "attempt": work.job.attempt,
            "ran": round(boottime() - work.running.started, 3),
            "hubHeld": round(self._held(work.running.started), 3),
            "session": session_in_words(work.claim),
            "stack": stacks.in_words(seen)[-STACK:],
        }
        if work.lines:
            record["lines"] = work.lines.tail()[-LINES:]
        if isinstance(progress := work.job.get("progress"), (int, float)):
            record["progress"] = progress
        return record


def session_in_words(claim: Claim) -> str:
    """Return the state of the claim's session."""
    if claim.revoked:
        return "alive, the claim was taken away"
    left = claim.session.lease - boottime()
    if claim.session.over:
        return "over" if claim.session.lease < 0 else f"over for {-left:.1f} s"
    return f"alive, lease for {left:.1f} s"
