"""The effect of each end of a run, and of each refusal of the server, on the job and on its claim."""

from __future__ import annotations

from typing import Any

import pytest

from geventjob.cimi.errors import Conflict, Forbidden, Invalid, NotFound, Refused
from geventjob.clock import boottime
from geventjob.coordination.base import Claim, Session
from geventjob.ends import JobLost
from geventjob.executor.decide import Decider, after_code
from geventjob.executor.decision import (
    Decision,
    Discard,
    Fail,
    GiveBack,
    LetGo,
    Stop,
    Succeed,
    To,
    TryAgain,
    attributes,
    beside,
)
from geventjob.executor.ending import Ending, Lost, Raised, Returned, Stopped, TimedOut
from geventjob.executor.exception_text import with_text, without_text
from geventjob.executor.finish import Finisher
from geventjob.executor.job import Job
from geventjob.executor.quarantine import Quarantine
from geventjob.executor.work import Work
from geventjob.plugins import find_actions
from geventjob.plugins.retries import NO_RETRIES, Backoff, GiveUp, Retry, RetryPolicy


def job_of(**attributes: Any) -> Job:
    """Return a job with these attributes, whose edits reach no server."""
    return Job({"id": "job/1", **attributes}, lambda edit: {"id": "job/1", **attributes, **edit}, None)  # type: ignore[arg-type]


def written(ending: Ending, job: Job | None = None) -> dict[str, Any] | None:
    """Return the attributes that the end of an action's code writes; None if the code decides nothing."""
    decision = after_code(ending, job or job_of(), NO_RETRIES)
    return None if decision is None else attributes(decision)


# --- the end of an action's code


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise SystemExit


def raised(error: BaseException) -> Raised:
    return with_text(without_text(error))


class Odd(int):
    """A return code whose own methods are not to be asked."""

    def __eq__(self, other: object) -> bool:
        raise SystemExit

    __hash__ = __int__ = __bool__ = __repr__ = __eq__  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Returned(None), {"state": "SUCCESS", "returnCode": 0}),
        (Returned(0), {"state": "SUCCESS", "returnCode": 0}),
        (Returned(3), {"state": "FAILED", "returnCode": 3, "statusMessage": "return code 3"}),
        (Returned(Odd(3)), {"state": "FAILED", "returnCode": 3, "statusMessage": "return code 3"}),
        (Returned(-1), {"state": "FAILED", "returnCode": -1, "statusMessage": "return code -1"}),
        (
            Returned(True),
            {
                "state": "FAILED",
                "statusMessage": "TypeError: the action returned True, expected an int, a dict, a list or None",
            },
        ),
        (
            Returned("x"),
            {
                "state": "FAILED",
                "statusMessage": "TypeError: the action returned str, expected an int, a dict, a list or None",
            },
        ),
        (raised(ValueError("no")), {"state": "FAILED", "statusMessage": "ValueError: no"}),
        (raised(SystemExit()), {"state": "FAILED", "statusMessage": "SystemExit"}),
        (
            raised(Unspeakable()),
            {"state": "FAILED", "statusMessage": "Unspeakable: (its text cannot be had)"},
        ),
        (TimedOut(1.5), {"state": "FAILED", "statusMessage": "timed out after 1.5 s"}),
        (Stopped(), {"state": "STOPPED"}),
        (Lost(), None),
    ],
)
def test_each_end_of_the_code(ending: Ending, expected: dict[str, Any] | None) -> None:
    assert written(ending) == expected


def test_an_action_that_set_a_code_and_returns_none_keeps_it() -> None:
    assert written(Returned(None), job_of(returnCode=7)) == {"state": "SUCCESS", "returnCode": 7}


def test_a_return_code_leaves_the_message_that_the_action_has_set() -> None:
    job = job_of()
    job.set_status_message("mine")
    assert written(Returned(3), job) == {"state": "FAILED", "returnCode": 3}


@pytest.mark.parametrize(("state", "kind"), [("SUCCESS", Succeed), ("FAILED", Fail), ("STOPPED", Stop)])
def test_the_state_that_the_action_has_set_counts_for_a_return_in_good_order(state: str, kind: type[Decision]) -> None:
    job = job_of()
    job.set_state(state)
    for value in (None, 0):
        decision = after_code(Returned(value), job, NO_RETRIES)
        assert decision == kind(code=0)  # type: ignore[call-arg]
        assert attributes(decision) == {"state": state, "returnCode": 0}
    assert (written(Returned(3), job) or {})["state"] == "FAILED"


def test_a_message_is_cut_between_two_characters() -> None:
    end = written(raised(ValueError("é" * 40_000)))
    assert end is not None
    assert len(end["statusMessage"].encode()) in (31_999, 32_000)


def test_an_exception_of_the_action_is_kept_for_the_log() -> None:
    decision = after_code(raised(ValueError("no")), job_of(), NO_RETRIES)
    assert isinstance(decision, Fail)
    assert decision.trace.endswith("ValueError: no")


def test_the_texts_of_an_exception_are_without_the_secrets_of_the_payload() -> None:
    job = job_of(payload={"token": "hunter2"})
    decision = after_code(raised(OSError("hunter2 at https://me:it@here")), job, NO_RETRIES)
    assert isinstance(decision, Fail)
    assert decision.message == "OSError: *** at https://***@here"
    assert decision.trace.endswith("OSError: *** at https://***@here")


# --- retries

STEADY = Backoff(first=7, jitter=0)
TWICE = RetryPolicy(2, STEADY, retry_on=(OSError,), give_up_on=(FileNotFoundError,))


@pytest.mark.parametrize(
    ("error", "after"),
    [
        (OSError("away"), 7),
        (ConnectionError("away"), 7),
        (FileNotFoundError("gone"), None),
        (ValueError("no"), None),
        (Retry("busy", after=30), 30),
        (Retry("busy"), 7),
        (GiveUp("no such account"), None),
        (SystemExit(), None),
    ],
)
def test_an_exception_is_tried_again_by_its_class(error: BaseException, after: float | None) -> None:
    decision = after_code(raised(error), job_of(), TWICE)
    if after is None:
        assert isinstance(decision, Fail)
    else:
        assert isinstance(decision, TryAgain)
        assert (decision.after, decision.limit) == (after, 2)
        assert decision.failure.kind == type(error).__name__


def test_a_time_out_is_tried_again_and_a_return_code_and_a_stop_are_not() -> None:
    decision = after_code(TimedOut(5), job_of(retried=1), TWICE)
    assert isinstance(decision, TryAgain)
    assert (decision.after, decision.failure.kind) == (14, "Timeout")
    assert isinstance(after_code(Returned(3), job_of(), TWICE), Fail)
    assert isinstance(after_code(Stopped(), job_of(), TWICE), Stop)


def test_the_job_s_own_number_of_retries_counts() -> None:
    decision = after_code(raised(OSError()), job_of(retries=9), TWICE)
    assert isinstance(decision, TryAgain)
    assert decision.limit == 9
    assert isinstance(after_code(raised(OSError()), job_of(retries=0), TWICE), Fail)


def test_without_a_number_only_retry_is_tried_again() -> None:
    assert isinstance(after_code(raised(OSError()), job_of(), NO_RETRIES), Fail)
    assert isinstance(after_code(raised(Retry()), job_of(), NO_RETRIES), TryAgain)


def test_what_an_edit_carries_of_a_failure() -> None:
    decision = after_code(raised(OSError("away")), job_of(), TWICE)
    assert decision
    carried = beside(decision)
    assert carried["retry"] == {"after": 7, "limit": 2}
    assert (carried["failure"]["type"], carried["failure"]["message"]) == ("OSError", "OSError: away")
    assert carried["failure"]["traceback"].endswith("OSError: away")
    assert attributes(decision) == {"state": "FAILED", "statusMessage": "OSError: away"}


def test_a_dict_or_a_list_is_the_output() -> None:
    assert written(Returned({"rows": 3})) == {"state": "SUCCESS", "returnCode": 0, "output": {"rows": 3}}
    assert written(Returned([])) == {"state": "SUCCESS", "returnCode": 0, "output": []}


# --- the end of a run


class Parts:
    """Writes, claims and unknown actions at once: notes what is asked of them."""

    def __init__(self) -> None:
        self.did: list[Any] = []
        self.refuses: Refused | None = None
        """The answer to each write."""
        self.known = True

    def write(self, claim: Claim, set: dict[str, Any], patience: float | None, beside: dict[str, Any]) -> None:
        self.did.append(set)
        if self.refuses:
            raise self.refuses

    def consume(self, claim: Claim, patience: float | None = None) -> None:
        self.did.append("consume")

    def release(self, claim: Claim, patience: float | None = None) -> None:
        self.did.append("release")

    def pass_on(self, claim: Claim, patience: float | None = None) -> None:
        self.did.append("pass on")

    def leave_alone(self, claim: Claim, patience: float | None = None) -> None:
        self.did.append("leave alone")

    def hopeless(self, action: str) -> bool:
        return not self.known


def work() -> Work:
    """Return a claim whose session holds for as long as the test runs, with its job."""
    session = Session("s", 10)
    session.renew(boottime(), 1)
    return Work(Claim("/job/entries/x", "job/1", 1, 0.0, session), job=job_of(action="dummy_test_action"))


def conflict(reason: str, state: str = "RUNNING") -> Conflict:
    return Conflict(409, "no", reason=reason, job={"state": state, "action": "other"})


def decider(parts: Parts | None = None) -> Decider:
    return Decider(find_actions(), parts or Parts())  # type: ignore[arg-type]


LOST = [Lost(), Raised(JobLost(), "JobLost", "")]


@pytest.mark.parametrize("ending", LOST)
def test_a_run_that_the_executor_ends_is_given_back(ending: Ending) -> None:
    mine = work()
    mine.giving_up = True
    assert decider().after_run(mine, ending) == GiveBack(running=True)


@pytest.mark.parametrize("ending", LOST)
def test_a_run_whose_claim_is_lost_is_let_go(ending: Ending) -> None:
    mine = work()
    mine.claim.session.end()
    assert decider().after_run(mine, ending) == LetGo()


@pytest.mark.parametrize("ending", LOST)
def test_a_run_that_a_refusal_ended_is_decided_by_the_refusal(ending: Ending) -> None:
    mine = work()
    mine.refusal = conflict("final", "STOPPED")
    assert decider().after_run(mine, ending) == Discard()


@pytest.mark.parametrize("ending", LOST)
def test_an_action_that_raises_job_lost_by_itself_has_failed(ending: Ending) -> None:
    assert decider().after_run(work(), ending) == Fail("JobLost: raised by the action itself")


def test_an_end_of_its_own_counts_though_the_executor_gives_up() -> None:
    mine = work()
    mine.giving_up = True
    assert decider().after_run(mine, Returned(0)) == Succeed(0)


# --- carried out


def carried_out(decision: Decision | Refused, parts: Parts | None = None) -> list[Any]:
    """Return the calls that a decision, or the one that follows from a refusal, makes."""
    parts = parts or Parts()
    fake: Any = parts
    finisher = Finisher(fake, fake, decider(parts), Quarantine(fake, lambda count: 1))
    (finisher.settle if isinstance(decision, Refused) else finisher.finish)(work(), decision)  # type: ignore[arg-type]
    return parts.did


@pytest.mark.parametrize(
    ("decision", "did"),
    [
        (Succeed(0), [{"state": "SUCCESS", "returnCode": 0}, "consume"]),
        (Fail("why", 3), [{"state": "FAILED", "returnCode": 3, "statusMessage": "why"}, "consume"]),
        (Stop(), [{"state": "STOPPED"}, "consume"]),
        (GiveBack(running=True), [{"state": "QUEUED"}, "release"]),
        (GiveBack(), ["release"]),
        (GiveBack(To.OTHERS_FIRST), ["pass on"]),
        (GiveBack(To.OTHERS), ["leave alone"]),
        (Discard(), ["consume"]),
        (LetGo(), []),
    ],
)
def test_each_decision(decision: Decision, did: list[Any]) -> None:
    assert carried_out(decision) == did


@pytest.mark.parametrize(
    ("refusal", "did"),
    [
        (conflict("final", "SUCCESS"), ["consume"]),
        (conflict("entry"), ["consume"]),
        (conflict("transition"), ["consume"]),
        (conflict("fence"), ["leave alone"]),
        (conflict("stopping"), [{"state": "STOPPED"}, "consume"]),
        (conflict("fence", "STOPPING"), ["leave alone"]),
        (conflict("transition", "STOPPING"), [{"state": "STOPPED"}, "consume"]),
        (conflict("entry", "STOPPING"), ["consume"]),
        (conflict("action"), ["leave alone"]),
        (NotFound(404, "no"), ["consume"]),
        (Forbidden(403, "no"), ["leave alone"]),
        (Invalid(400, "no good"), [{"state": "FAILED", "statusMessage": "no good"}, "consume"]),
    ],
)
def test_each_refusal(refusal: Refused, did: list[Any]) -> None:
    assert carried_out(refusal) == did


@pytest.mark.parametrize(
    ("decision", "attempt"), [(Succeed(0), False), (GiveBack(running=True), False), (LetGo(), True)]
)
def test_an_attempt_whose_end_is_written_is_over(decision: Decision, attempt: bool) -> None:
    """A claim that is lost after that, before its entry is consumed, has nothing to report."""
    fake: Any = Parts()
    mine = work()
    mine.attempt = True
    Finisher(fake, fake, decider(), Quarantine(fake, lambda count: 1)).finish(mine, decision)
    assert mine.attempt is attempt


def test_a_decision_that_is_refused_is_replaced_by_the_one_that_follows_from_the_refusal() -> None:
    parts = Parts()
    parts.refuses = Conflict(409, "no", reason="final")
    assert carried_out(Succeed(0), parts) == [{"state": "SUCCESS", "returnCode": 0}, "consume"]


def test_a_server_that_refuses_every_write_is_asked_twice() -> None:
    parts = Parts()
    parts.refuses = Invalid(400, "no good")
    failed = {"state": "FAILED", "statusMessage": "no good"}
    assert carried_out(Succeed(0), parts) == [{"state": "SUCCESS", "returnCode": 0}, failed, "consume"]


def test_an_end_that_is_refused_too_ends_with_the_entry() -> None:
    parts = Parts()
    parts.refuses = Conflict(409, "no", reason="final")
    assert carried_out(conflict("stopping"), parts) == [{"state": "STOPPED"}, "consume"]


def test_an_action_that_nobody_knows_fails() -> None:
    parts = Parts()
    parts.known = False
    end, consumed = carried_out(conflict("action"), parts)
    assert (end["state"], consumed) == ("FAILED", "consume")
    assert "other" in end["statusMessage"]
