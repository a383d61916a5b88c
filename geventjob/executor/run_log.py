"""The hooks that log the start and the end of each run."""

from __future__ import annotations

import logging
from typing import Any

from geventjob.clock import boottime
from geventjob.executor.decision import Decision, Discard, Fail, GiveBack, LetGo, Stop, Succeed, TryAgain
from geventjob.executor.work import Work
from geventjob.log import turn


def started(work: Work) -> None:
    """Log the start of a run."""
    assert work.job
    attempt = work.job.attempt
    turn("started", "%s started, attempt %d", work.claim.job, attempt, run=_run(work), attempt=attempt)


def ended(work: Work, decision: Decision) -> None:
    """Log the end of a run: of a failed one with the traceback of its action."""
    if isinstance(decision, (Succeed, Stop)):
        state = "SUCCESS" if isinstance(decision, Succeed) else "STOPPED"
        _ended(work, "ended", f"ended: {state}", state=state, code=decision.code)
    elif isinstance(decision, Fail):
        _failed(work, "ended", "ended: FAILED", decision, logging.ERROR, state="FAILED")
    elif isinstance(decision, TryAgain):
        again = f"failed; if retries are left, it is tried again in {decision.after:.3g} s"
        _failed(work, "failed", again, decision.failure, logging.WARNING, after=round(decision.after, 3))
    elif isinstance(decision, GiveBack):
        _ended(work, "given-back", "given back to the queue")
    elif isinstance(decision, LetGo):
        _ended(work, "lost", "lost: another executor may run it", level=logging.WARNING)
    elif isinstance(decision, Discard):
        _ended(work, "discarded", "over: its entry is removed")


def _failed(work: Work, event: str, text: str, failure: Fail, level: int, **fields: Any) -> None:
    fields.update(code=failure.code, error=failure.kind or None, message=failure.message)
    known = {name: value for name, value in fields.items() if value is not None}
    _ended(work, event, text, failure.trace and f"\n{failure.trace}", level=level, **known)


def _ended(work: Work, event: str, text: str, trace: str = "", level: int = logging.INFO, **fields: Any) -> None:
    """Log an end, with the seconds of the run and the number of the attempt."""
    assert work.job
    fields["attempt"] = work.job.attempt
    told = f"attempt {work.job.attempt}"
    if work.running:
        fields["seconds"] = round(boottime() - work.running.started, 3)
        told = f"{fields['seconds']:.3f} s, {told}"
    if "code" in fields:
        told = f"code {fields['code']}, {told}"
    if message := fields.pop("message", ""):
        message = f": {message}"
    turn(event, "%s %s (%s)%s%s", work.claim.job, text, told, message, trace, level=level, run=_run(work), **fields)


def _run(work: Work) -> str:
    """Return the job and the action of a run: the hooks are called outside the greenlet of the action."""
    assert work.job
    return f"{work.claim.job} {work.job['action']}"
