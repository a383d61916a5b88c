"""The small rules of an executor: limits, calls on a job, excluded entries, unknown actions."""

from __future__ import annotations

from typing import Any

import pytest

from geventjob import Client, backoff
from geventjob.clock import boottime
from geventjob.coordination.base import Claim, CoordinationAway, Session
from geventjob.executor import claims as claims_module
from geventjob.executor import unknown as unknown_module
from geventjob.executor.claims import HeldClaims
from geventjob.executor.job import Job
from geventjob.executor.limits import JobLimits
from geventjob.executor.unknown import UnknownActions
from geventjob.plugins import ActionSpec


class Clock:
    """A `boottime` that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.step = 0.0
        """Seconds that pass with each reading."""

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (claims_module, backoff, unknown_module):
        monkeypatch.setattr(module, "boottime", made)
    return made


def job_of(written: list[dict[str, Any]]) -> Job:
    return Job({"id": "job/1"}, lambda edit: written.append(edit) or {"id": "job/1", **edit}, Client("http://x"))


def test_progress_is_rounded() -> None:
    written: list[dict[str, Any]] = []
    job = job_of(written)
    job.set_progress(33.3)
    job.set_progress(100.0)
    assert written == [{"progress": 33}, {"progress": 100}]
    for wrong in (-1, 100.5, float("nan"), True, "50"):
        with pytest.raises(ValueError, match="progress is a number from 0 to 100"):
            job.set_progress(wrong)  # type: ignore[arg-type]


def test_what_an_action_writes_is_plain_and_can_be_encoded() -> None:
    """`os.fsdecode(b"caf\\xe9")`, and a dict that is read while the edit is made, and not later."""
    written: list[dict[str, Any]] = []
    job = job_of(written)
    job.set_status_message("caf\udce9")
    job.add_affected_resource("file/caf\udce9")
    given = {"caf\udce9": ["\udce9"]}
    job.edit(properties=given)
    given.clear()
    assert [edit.popitem()[1] for edit in written] == [
        "caf\ufffd",
        [{"href": "file/caf\ufffd"}],
        {"caf\ufffd": ["\ufffd"]},
    ]
    with pytest.raises(TypeError):
        job.edit(properties=object())


def test_an_attribute_that_is_assigned_is_an_error_that_names_the_call() -> None:
    job = job_of([])
    with pytest.raises(AttributeError, match=r"job\.statusMessage cannot be assigned: call job\.set_status_message"):
        job.statusMessage = "x"
    with pytest.raises(AttributeError, match=r"job\.anything cannot be assigned"):
        job.anything = 1
    job.set_status_message("told")
    assert (job.said, job.statusMessage) == (True, "told")


@pytest.mark.parametrize(
    ("job", "ini", "decorator", "default", "most", "expected"),
    [
        (None, None, None, None, None, None),
        (5, 6, 7, 8, None, 5),
        (None, 6, 7, 8, None, 6),
        (None, None, 7, 8, None, 7),
        (None, None, None, 8, None, 8),
        (50, None, None, None, 9, 9),
        (None, None, None, None, 9, 9),
        (5, None, None, None, 9, 5),
    ],
)
def test_the_timeout_is_the_first_that_is_set(
    job: float | None,
    ini: float | None,
    decorator: float | None,
    default: float | None,
    most: float | None,
    expected: float | None,
) -> None:
    timeouts = {} if ini is None else {"name": ini}
    limits = JobLimits(action_timeout=default, max_timeout=most, timeouts=timeouts)
    spec = ActionSpec("name", target=lambda job: None, timeout=decorator, preempt=True, source="x")
    assert limits.timeout({} if job is None else {"timeout": job}, spec) == expected


def test_suspects_are_spread_ever_thinner() -> None:
    limits = JobLimits(threads=1000)
    assert [limits.suspects(n) for n in (2, 3, 4, 5)] == [125, 15, 1, 1]


class Queue:
    """A coordination that notes the released claims, and may be away."""

    def __init__(self) -> None:
        self.released: list[Claim] = []
        self.away = 0
        self.interrupted = 0

    def release(self, claims: list[Claim]) -> None:
        if self.away:
            self.away -= 1
            raise CoordinationAway("no answer")
        self.released += claims

    consume = release

    def interrupt(self) -> None:
        self.interrupted += 1


def claim(entry: str = "/job/entries/entry-999-0000000001") -> Claim:
    session = Session("s", 10)
    session.renew(boottime(), 1)
    return Claim(entry, "job/1", 1, 0.0, session)


def test_an_entry_is_excluded_for_five_seconds_then_ten_up_to_a_minute(clock: Clock) -> None:
    claims = HeldClaims(Queue())  # type: ignore[arg-type]
    times = []
    for _ in range(6):
        claims.leave_alone(claim())
        entries, until = claims.excluded()
        assert entries == {claim().entry}
        assert until is not None
        times.append(until)
        clock.now += until
        assert claims.excluded() == (set(), None)
    assert times == [5, 10, 20, 40, 60, 60]
    clock.now += 500
    claims.excluded()
    claims.leave_alone(claim())
    assert claims.excluded()[1] == 5


def test_an_excluded_entry_has_a_due_time_though_its_time_may_end_while_it_is_read(clock: Clock) -> None:
    claims = HeldClaims(Queue())  # type: ignore[arg-type]
    claims.leave_alone(claim())
    begun = clock.now
    clock.step = 0.5
    for readings in range(12):
        clock.now = begun + readings / 2
        entries, until = claims.excluded()
        assert (until is None) == (not entries)
        assert until is None or until <= 5


def test_an_entry_that_is_passed_on_is_taken_again_after_a_moment_or_when_it_is_readmitted(clock: Clock) -> None:
    queue = Queue()
    claims = HeldClaims(queue)  # type: ignore[arg-type]
    claims.readmit()
    assert queue.interrupted == 0, "nothing was passed on"
    claims.leave_alone(claim("unknown"))
    assert queue.interrupted == 1, "a take that waits would take it again"
    for entry in ("one", "two"):
        claims.pass_on(claim(entry))
    assert claims.excluded() == ({"unknown", "one", "two"}, 0.5)
    clock.now += 0.5
    assert claims.excluded() == ({"unknown"}, 4.5)
    claims.pass_on(claim("one"))
    claims.readmit()
    assert claims.excluded()[0] == {"unknown"}
    assert queue.interrupted == 5
    assert [claim.entry for claim in queue.released] == ["unknown", "one", "two", "one"]


def test_a_release_is_tried_again_while_coordination_is_away() -> None:
    queue = Queue()
    queue.away = 2
    mine = claim()
    HeldClaims(queue).release(mine)  # type: ignore[arg-type]
    assert queue.released == [mine]


def test_a_lost_claim_is_not_released() -> None:
    queue = Queue()
    lost = claim()
    lost.session.end()
    HeldClaims(queue).release(lost)  # type: ignore[arg-type]
    assert queue.released == []


def test_an_action_is_hopeless_once_nobody_had_it_for_the_grace(clock: Clock) -> None:
    members: dict[str, dict[str, Any]] = {"a": {"actions": ["known"]}}
    limits = JobLimits(unknown_grace=60)
    unknown = UnknownActions(lambda: members, limits)
    assert not unknown.hopeless("lost")
    clock.now += 59
    assert not unknown.hopeless("lost")
    members["b"] = {"actions": ["lost"]}
    clock.now += 2
    assert not unknown.hopeless("lost"), "somebody has it now"
    del members["b"]
    clock.now += 2
    assert not unknown.hopeless("lost"), "the grace begins anew"
    clock.now += 60
    assert unknown.hopeless("lost")
    assert not unknown.hopeless("other"), "each action has a grace of its own"
    limits.renew(JobLimits(unknown_grace=0))
    assert unknown.hopeless("other"), "a grace that SIGHUP has shortened counts at once"
