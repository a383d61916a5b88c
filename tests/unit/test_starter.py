"""The beginning of a claim: which suspects may run, which wait without a slot, which are passed on.

The server here says how often a job was interrupted: a real one would count that over minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import gevent
import pytest
from gevent.event import Event
from gevent.lock import Semaphore

from geventjob.clock import boottime
from geventjob.coordination.base import Claim, Session
from geventjob.executor import quarantine
from geventjob.executor.culprits import Culprits
from geventjob.executor.ending import Ending, Returned
from geventjob.executor.hooks import Hooks
from geventjob.executor.limits import JobLimits
from geventjob.executor.runner import Runner
from geventjob.executor.writes import ClaimLost
from geventjob.plugins import find_actions

SLOTS = 8


class Parts:
    """The server, the queue and the watch of a runner, in one."""

    client = None

    @property
    def culprits(self) -> Culprits:
        """Return the notes of a folder that cannot be used: none."""
        return Culprits("/dev/null/none")

    def __init__(self) -> None:
        self.interruptions: dict[str, int] = {}
        self.did: list[tuple[str, str]] = []
        """Pairs of a job and what was written of it, or done with its claim."""
        self.act: Callable[[Claim, Callable[[Ending], None]], Ending | None] = lambda claim, abandoned: Returned(0)

    # --- writes

    def write(
        self,
        claim: Claim,
        set: dict[str, Any],
        patience: float | None = None,
        beside: Mapping[str, Any] = MappingProxyType({}),
    ) -> dict[str, Any]:
        if claim.lost:
            raise ClaimLost
        gevent.sleep(0)
        counted = self.interruptions.get(claim.job, 0)
        most = beside.get("maxInterruptions")
        state = "QUEUED" if most is not None and counted > most else set["state"]
        self.did.append((claim.job, state))
        return {"id": claim.job, "action": "dummy_test_action", "state": state, "interruptions": counted, **set} | {
            "state": state
        }

    def report_end(self, claim: Claim, patience: float | None = None) -> None:
        self.did.append((claim.job, "told"))

    # --- claims

    def consume(self, claim: Claim, patience: float | None = None) -> None:
        self.did.append((claim.job, "consumed"))

    def release(self, claim: Claim, patience: float | None = None) -> None:
        self.did.append((claim.job, "released"))

    def leave_alone(self, claim: Claim, patience: float | None = None) -> None:
        self.did.append((claim.job, "left alone"))

    def pass_on(self, claim: Claim, patience: float | None = None) -> None:
        self.did.append((claim.job, "passed on"))

    def readmit(self) -> None:
        self.did.append(("", "readmitted"))

    # --- watch

    def run(self, body: Any, *, claim: Claim, abandoned: Callable[[Ending], None], **_: Any) -> Ending | None:
        return self.act(claim, abandoned)

    def of(self, job: str) -> list[str]:
        return [what for id, what in self.did if id == job]


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def slots() -> Semaphore:
    return Semaphore(SLOTS)


@pytest.fixture
def runner(parts: Parts, slots: Semaphore) -> Runner:
    p: Any = parts
    limits = JobLimits(threads=SLOTS)
    return Runner(p, find_actions(), limits, writes=p, claims=p, watch=p, slots=slots, unknown=p, hooks=Hooks())


def claim(job: str = "job/1") -> Claim:
    session = Session("s", 10)
    session.renew(boottime(), 1)
    return Claim(f"/job/entries/{job[4:]}", job, 1, 0.0, session)


def begin(runner: Runner, slots: Semaphore, one: Claim) -> gevent.Greenlet[..., None]:
    slots.acquire()
    return gevent.spawn(runner.run, one)


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "HOLD", 0.2)


def test_a_suspect_waits_without_a_slot_and_begins_when_the_place_is_free(
    runner: Runner, slots: Semaphore, parts: Parts
) -> None:
    parts.interruptions = {"job/1": 2, "job/2": 2}
    ends = Event()
    parts.act = lambda one, _: ends.wait() and Returned(0)
    both = [begin(runner, slots, claim(job)) for job in ("job/1", "job/2")]
    gevent.sleep(0.05)
    assert parts.of("job/1") == ["QUEUED", "RUNNING"]
    assert parts.of("job/2") == ["QUEUED"], "no attempt of it was counted"
    assert slots.counter == SLOTS - 1
    ends.set()
    gevent.joinall(both, timeout=1, raise_error=True)
    assert parts.of("job/2") == ["QUEUED", "RUNNING", "SUCCESS", "consumed"]
    assert parts.of("") == ["readmitted"], "the last one left a place that nobody here waits for"
    assert slots.counter == SLOTS


@pytest.mark.usefixtures("hold")
def test_a_suspect_that_waits_for_long_is_passed_on(runner: Runner, slots: Semaphore, parts: Parts) -> None:
    parts.interruptions = {"job/1": 2, "job/2": 2}
    ends = Event()
    parts.act = lambda one, _: ends.wait() and Returned(0)
    first = begin(runner, slots, claim("job/1"))
    begin(runner, slots, claim("job/2")).get(timeout=1)
    assert parts.of("job/2") == ["QUEUED", "passed on"]
    ends.set()
    first.get(timeout=1)
    assert slots.counter == SLOTS


def test_suspects_that_wait_are_given_back_when_the_executor_is_to_stop(
    runner: Runner, slots: Semaphore, parts: Parts
) -> None:
    parts.interruptions = {"job/1": 2, "job/2": 2}
    ends = Event()
    parts.act = lambda one, _: ends.wait() and Returned(0)
    first = begin(runner, slots, claim("job/1"))
    second = begin(runner, slots, claim("job/2"))
    gevent.sleep(0.05)
    runner.drain()
    second.get(timeout=0.1)
    assert parts.of("job/2") == ["QUEUED", "passed on"]
    ends.set()
    first.get(timeout=1)


def test_a_suspect_begins_after_those_that_were_taken_with_it(runner: Runner, slots: Semaphore, parts: Parts) -> None:
    """Its first instruction may end the process."""
    parts.interruptions = {"job/1": 2}
    order: list[str] = []

    def act(one: Claim, _: Any) -> Ending:
        order.append(one.job)
        return Returned(0)

    parts.act = act
    jobs = ["job/1", *(f"job/{n}" for n in range(2, SLOTS + 1))]
    gevent.joinall([begin(runner, slots, claim(job)) for job in jobs], timeout=2, raise_error=True)
    assert order == [*jobs[1:], "job/1"]


def test_a_job_that_was_interrupted_too_often_fails(runner: Runner, slots: Semaphore, parts: Parts) -> None:
    parts.interruptions = {"job/1": 5}
    begin(runner, slots, claim()).get(timeout=1)
    assert parts.of("job/1") == ["QUEUED", "FAILED", "consumed"]
