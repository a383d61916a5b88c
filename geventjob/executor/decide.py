"""The rules that decide about a claim in hand: after a run, after a refusal of the server, after interruptions.

docs/how-to/write-safe-actions.md, "How an action ends", and docs/job-lifecycle.md, "Refusals", list the rules.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from geventjob.cimi.errors import Conflict, Forbidden, NotFound, Refused
from geventjob.ends import JobLost
from geventjob.executor.decision import Decision, Discard, Fail, GiveBack, LetGo, Stop, Succeed, To, TryAgain
from geventjob.executor.ending import Ending, ForeignValue, Raised, RaisedApart, Returned, Stopped, TimedOut
from geventjob.executor.job import Job, cut
from geventjob.executor.unknown import UnknownActions, describe
from geventjob.executor.work import Work
from geventjob.masking import mask_logins, mask_values
from geventjob.plugins import Actions
from geventjob.plugins.retries import NO_RETRIES, RetryPolicy

log = logging.getLogger(__name__)

LONGEST_TEXT = 1 << 17
"""Characters of the text of an exception, and of its traceback; no log or message shows as many."""


class Decider:
    """Decides what becomes of a claim and its job. Writes nothing, and logs what a refusal says."""

    def __init__(self, actions: Actions, unknown: UnknownActions) -> None:
        self._actions = actions
        self._unknown = unknown

    def after_run(self, work: Work, ending: Ending) -> Decision:
        """Decide about a claim whose action has ended so."""
        assert work.job
        spec = self._actions.get(work.job["action"])
        decided = after_code(ending, work.job, spec.retry if spec else NO_RETRIES)
        if decided:
            return decided
        if work.refusal:
            return self.after_refusal(work.claim.job, work.refusal)
        if work.giving_up:
            return GiveBack(running=True)
        return LetGo() if work.claim.lost else Fail("JobLost: raised by the action itself")

    def after_refusal(self, job_id: str, refusal: Refused) -> Decision:
        """Decide about a claim whose write was refused."""
        if isinstance(refusal, Conflict):
            return self._after_conflict(job_id, refusal)
        if isinstance(refusal, Forbidden):
            log.error("%s: the server forbids this executor to work on the job: %s", job_id, refusal)
            return GiveBack(To.OTHERS)
        if isinstance(refusal, NotFound):
            log.warning("%s does not exist (any more): its entry is removed", job_id)
            return Discard()
        log.error("%s: the server refused the write: %s", job_id, refusal)
        return Fail(cut(refusal.message), refusal=refusal)

    def _after_conflict(self, job_id: str, conflict: Conflict) -> Decision:
        job = conflict.job or {}
        if conflict.reason == "fence":  # a later claim owns the job: even its stop is not this executor's to write
            log.warning("%s belongs to another executor: %s", job_id, conflict)
            return GiveBack(To.OTHERS)
        if conflict.reason == "stopping" or (job.get("state") == "STOPPING" and conflict.reason != "entry"):
            return Stop(refusal=conflict)
        if conflict.reason == "action":
            return self._after_unknown(job_id, str(job.get("action")), conflict)
        if conflict.reason not in ("final", "entry"):
            log.error("%s: %s", job_id, conflict)
        return Discard()

    def _after_unknown(self, job_id: str, action: str, conflict: Conflict) -> Decision:
        if not self._unknown.hopeless(action):
            return GiveBack(To.OTHERS)
        log.error("%s: no executor knows the action %r", job_id, action)
        return Fail(cut(describe(action, self._actions)), refusal=conflict)


def after_code(ending: Ending, job: Job, policy: RetryPolicy) -> Decision | None:
    """Decide by the end of an action's code; None for a job that was lost, whose end the code does not decide.

    `policy`: the rule of the action about its failures. A return code and a stop are not tried again.
    """
    if isinstance(ending, Returned):
        return _after_return(ending.value, job)
    if isinstance(ending, Raised):
        if isinstance(ending.error, JobLost):
            return None
        return _after_exception(ending, job, policy)
    if isinstance(ending, TimedOut):
        text = f"timed out after {ending.seconds:g} s" + (f"; {ending.note}" if ending.note else "")
        return _again(Fail(text, kind="Timeout"), policy.pause(None, job.get("retried", 0)), policy.limit(None), job)
    return Stop() if isinstance(ending, Stopped) else None


def _after_exception(raised: Raised, job: Job, policy: RetryPolicy) -> Fail | TryAgain:
    """Decide about an exception of the code, by the rule of the action about the exception.

    The texts go to logs and errors, so they lose the secrets of the payload that they repeat.
    """
    text, trace = (mask_logins(mask_values(shown[:LONGEST_TEXT], job.payload)) for shown in (raised.text, raised.trace))
    if isinstance(raised, RaisedApart):
        return _again(Fail(cut(text), trace=trace, kind=raised.kind), raised.pause, raised.limit, job)
    error = raised.error
    failure = Fail(cut(text), trace=trace, kind=type(error).__name__)
    return _again(failure, policy.pause(error, job.get("retried", 0)), policy.limit(error), job)


def _again(failure: Fail, pause: float | None, limit: int, job: Job) -> Fail | TryAgain:
    """Return the decision about a failure; the server knows whether retries are left."""
    limit = job.get("retries", limit)
    return TryAgain(failure, pause, limit) if limit and pause is not None else failure


def after_interruptions(count: int, last: str | None) -> Fail:
    """Decide about a job that was interrupted too often; `last` is its last message."""
    return Fail(cut(f"gave up: interrupted {count} times" + (f"; {last}" if last else "")))


def _after_return(value: object, job: Job) -> Decision:
    """Decide by the return value of an action: a code, or an output as a dict or list.

    None stands for the code that the action has set. The state that the action has set counts for code 0 and None.
    """
    if value is None:
        return _well(job, job.get("returnCode", 0))
    if type(value) in (dict, list):
        decided = _well(job, job.get("returnCode", 0))
        return replace(decided, output=value) if isinstance(decided, Succeed) else decided
    if type(value) is bool or not issubclass(type(value), int):
        name = value.type if type(value) is ForeignValue else type(value).__name__
        shown = repr(value) if type(value) is bool else name
        return Fail(
            f"TypeError: the action returned {shown}, expected an int, a dict, a list or None", kind="TypeError"
        )
    number = int.__int__(value)  # type: ignore[arg-type]  # a subclass of int runs no code of its own here
    if number == 0:
        return _well(job, 0)
    return Fail(None if job.said else f"return code {number}", number, kind="ReturnCode")


def _well(job: Job, code: int) -> Decision:
    if job.end == "FAILED":
        return Fail(code=code)
    return Stop(code) if job.end == "STOPPED" else Succeed(code)
