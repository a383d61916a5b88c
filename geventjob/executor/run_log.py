"""The hooks that log the start and the end of each run."""

from __future__ import annotations

import logging

from geventjob.executor.decision import Decision, Fail, TryAgain
from geventjob.executor.work import Work

log = logging.getLogger(__name__)


def started(work: Work) -> None:
    """Log the start of a run, at level DEBUG."""
    assert work.job
    log.debug("%s starts, attempt %d", work.claim.job, work.job.attempt, extra=_run(work))


def ended(work: Work, decision: Decision) -> None:
    """Log the end of a run: an exception of the action with its traceback, the decision at level DEBUG."""
    again = decision.after if isinstance(decision, TryAgain) else None
    failure = decision.failure if isinstance(decision, TryAgain) else decision
    if again is not None and isinstance(failure, Fail):
        level, more = logging.WARNING, f"; if retries are left, it is tried again in {again:.3g} s"
    else:
        level, more = logging.ERROR, ""
    if isinstance(failure, Fail) and failure.trace:
        log.log(level, "the action of %s failed%s\n%s", work.claim.job, more, failure.trace, extra=_run(work))
    else:
        log.debug("%s ends: %r", work.claim.job, decision, extra=_run(work))


def _run(work: Work) -> dict[str, str]:
    """Return what makes a line one of this run: the hooks are called outside the greenlet of the action."""
    assert work.job
    return {"run": f"{work.claim.job} {work.job['action']}"}
