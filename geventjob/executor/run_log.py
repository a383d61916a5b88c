"""The hooks that log the start and the end of each run."""

from __future__ import annotations

import logging

from geventjob.executor.decision import Decision, Fail
from geventjob.executor.work import Work

log = logging.getLogger(__name__)


def started(work: Work) -> None:
    """Log the start of a run, at level DEBUG."""
    assert work.job
    log.debug("%s starts, attempt %d", work.claim.job, work.job.attempt)


def ended(work: Work, decision: Decision) -> None:
    """Log the end of a run: an exception of the action with its traceback, the decision at level DEBUG."""
    if isinstance(decision, Fail) and decision.trace:
        log.error("the action of %s failed\n%s", work.claim.job, decision.trace)
    else:
        log.debug("%s ends: %r", work.claim.job, decision)
