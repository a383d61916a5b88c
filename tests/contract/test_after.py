"""Jobs that come after others, over real stores and queues: none is early, none is forgotten."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
import pytest
from gevent.event import Event

from geventjob.server.accounts.caller import Caller
from geventjob.server.gate import after
from geventjob.server.jobs.lifecycle import Edit, JobEdit, Owner
from geventjob.server.jobs.pauses import PauseService
from geventjob.server.leaders.promoter import Promoter
from geventjob.server.leaders.reconcile import Reconciler
from geventjob.server.life.changes import entry_of
from geventjob.server.life.conflicts import Refusal
from geventjob.server.life.failures import FailureReport, RetryWish
from geventjob.server.problem import Problem
from geventjob.server.store.base import StoreAway
from geventjob.server.store.sqlite import SqliteStore
from tests.contract.test_promoter import ADMIN, Site, site  # noqa: F401  (a fixture)
from tests.contract.test_reconcile import both  # noqa: F401  (a fixture)
from tests.support.waiting import eventually

ALICE = Caller("alice", frozenset({"alice", "SUBMITTER", "USER"}))
HELD, RUNS = ("QUEUED", True, False), ("QUEUED", False, True)


@pytest.fixture
def line(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:  # noqa: F811
    """Return a site whose promoter hears what its own server tells, and acts when it is called."""
    monkeypatch.setattr(site.promoter, "_notify", site.promoter._heed)
    site.both.reconciler = Reconciler(site.both.store, site.both.coordination, site.promoter)
    return site


def end(line: Site, id: str, state: str = "SUCCESS") -> None:
    """End a job in this state, without an executor; or delete it."""
    if state == "deleted":
        line.jobs.delete(id, ADMIN)
    elif state == "STOPPED":
        line.jobs.stop(id, ADMIN)
    else:
        [outcome] = line.jobs.edit([JobEdit(id, Edit({"state": state}))], ADMIN)
        assert isinstance(outcome, dict), outcome


def add(line: Site, *jobs: str, when_failed: str | None = None, **more: Any) -> str:
    comes = {"jobs": list(jobs)} | ({"whenFailed": when_failed} if when_failed else {})
    return line.add(after=comes, **more)


def told(line: Site, id: str) -> tuple[str, str | None]:
    job = line.job(id)
    return job["state"], job.get("statusMessage")


def test_a_job_waits_without_an_entry_until_its_predecessor_is_over(line: Site) -> None:
    first = line.add()
    second = add(line, first)
    assert line.state(second) == HELD
    held = line.job(second)["held"]
    assert {name: held.get(name) for name in ("why", "on", "detail", "until")} == {
        "why": "after", "on": first, "detail": f"comes after {first}", "until": None,
    }  # fmt: skip
    line.promoter.run()
    assert line.both.run().requeued == 0
    assert line.state(second) == HELD
    end(line, first)
    line.promoter.run()
    assert line.state(second) == RUNS
    assert line.jobs.why(second, ADMIN)["why"].startswith("No executor is connected")


@pytest.mark.parametrize("state", ["FAILED", "STOPPED", "deleted"])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_job_does_as_it_says_when_a_predecessor_does_not_succeed(line: Site, state: str, at_once: bool) -> None:
    """Where the predecessor is over `at_once`, it is over before the add."""
    if at_once and state == "deleted":
        pytest.skip("a job that does not exist cannot be named")
    first = line.add()
    if at_once:
        end(line, first, state)
    ids = {wish: add(line, first, when_failed=wish) for wish in ("fail", "stop", "run")} | {"": add(line, first)}
    if not at_once:
        end(line, first, state)
    line.promoter.run()
    why = f"{first} {'was deleted' if state == 'deleted' else f'is {state}'}, and this job comes after it"
    assert {wish: told(line, id) for wish, id in ids.items()} == {
        "fail": ("FAILED", why), "stop": ("STOPPED", why), "run": ("QUEUED", None), "": ("FAILED", why),
    }  # fmt: skip
    assert line.state(ids["run"]) == RUNS


def test_a_job_waits_for_all_of_its_predecessors_and_names_the_first_that_failed(line: Site) -> None:
    ids = [line.add() for _ in range(4)]
    last = add(line, *ids)
    assert line.job(last)["held"]["detail"] == f"comes after {ids[0]} and 3 more"
    for number, state in ((2, "FAILED"), (0, "SUCCESS"), (1, "STOPPED")):
        end(line, ids[number], state)
        line.promoter.run()
        assert line.state(last) == HELD
    assert line.job(last)["held"]["on"] == ids[3]
    end(line, ids[3])
    line.promoter.run()
    assert told(line, last) == ("FAILED", f"{ids[1]} is STOPPED, and this job comes after it")


def test_a_job_whose_predecessors_are_over_does_not_wait(line: Site) -> None:
    good, bad = line.add(), line.add()
    end(line, good)
    end(line, bad, "FAILED")
    assert line.state(add(line, good)) == RUNS
    assert line.state(add(line, bad, good, when_failed="run")) == RUNS


def test_a_failure_that_is_tried_again_is_no_end(line: Site) -> None:
    first = line.add()
    second = add(line, first)
    [claim] = line.both.coordination.take(1)
    owner = Owner(claim.entry, claim.fence, "e")
    begun = JobEdit(first, Edit({"state": "RUNNING"}, owner=owner))
    failed = Edit({"state": "FAILED"}, owner=owner, failure=FailureReport("OSError", "no"), retry=RetryWish(60, 3))
    line.jobs.edit([begun], ADMIN)
    line.jobs.edit([JobEdit(first, failed)], ADMIN)
    assert line.job(first)["held"]["why"] == "retry"
    line.promoter.run()
    assert line.state(second) == HELD


def test_the_end_of_a_predecessor_in_the_middle_of_the_add_is_not_missed(
    line: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = line.add()
    watch = line.promoter.successors.watch

    def ends_before(jobs: Any) -> Any:
        end(line, first)
        line.promoter.run()
        return watch(jobs)

    monkeypatch.setattr(line.promoter.successors, "watch", ends_before)
    second = add(line, first)
    monkeypatch.undo()
    line.promoter._waiters = {second}  # the notice, which the patch above would have sent
    line.promoter.run()
    assert line.state(second) == RUNS


def test_a_server_that_dies_in_the_middle_of_the_add_leaves_a_job_that_the_reconciler_finds(
    line: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = line.add()

    def dies(jobs: Any) -> Any:
        raise StoreAway("of the test")

    monkeypatch.setattr(line.promoter.successors, "watch", dies)
    second, third = add(line, first), add(line, first)
    monkeypatch.undo()
    line.both.run()  # marks the predecessor
    monkeypatch.setattr(line.promoter, "_notify", line.promoter._heed)
    end(line, first)
    line.promoter.run()
    assert [line.state(id) for id in (second, third)] == [RUNS] * 2


def test_a_notice_that_is_lost_is_made_up_for_by_the_reconciler(line: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    first = line.add()
    second = add(line, first)
    monkeypatch.setattr(line.promoter, "_notify", lambda notice: None)
    end(line, first)
    line.promoter.run()
    assert line.state(second) == HELD
    line.both.run(dry=True)
    line.promoter.run()
    assert line.state(second) == HELD
    line.both.run()
    line.promoter.run()
    assert line.state(second) == RUNS


def test_a_new_leader_looks_at_all_that_wait(line: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    first = line.add()
    second = add(line, first)
    monkeypatch.setattr(line.promoter, "_notify", lambda notice: None)
    end(line, first)
    line.promoter.run()
    line.promoter._task._leadership = line.both.coordination.lead("promoter", 10)
    eventually(lambda: line.promoter.run() and line.state(second) == RUNS)


def test_more_jobs_wait_on_one_than_the_one_can_name(line: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(after, "MOST_WAITERS", 2)
    first = line.add()
    ids = [add(line, first) for _ in range(5)]
    [found] = line.both.store.get([first])
    assert found
    assert found["_awaited"] == ids[:3]
    end(line, first)
    line.promoter.run()
    assert [line.state(id) for id in ids] == [RUNS] * 5


@pytest.mark.parametrize("how", ["expires", "stop", "delete"])
def test_the_end_of_a_job_that_waits_reaches_the_jobs_after_it(line: Site, how: str) -> None:
    first = line.add()
    second = add(line, first, **({"expires": "+1h"} if how == "expires" else {}))
    third = add(line, second)
    fourth = add(line, third, when_failed="stop")
    ends: dict[str, Callable[[], Any]] = {
        "expires": lambda: line.pass_expiry(second),
        "stop": lambda: end(line, second, "STOPPED"),
        "delete": lambda: end(line, second, "deleted"),
    }
    ends[how]()
    for _ in range(2):
        line.promoter.run()
    assert line.job(third)["state"] == "FAILED"
    assert line.job(fourth)["state"] == "STOPPED"
    assert line.state(first) == RUNS


def test_only_jobs_that_exist_and_that_the_caller_may_see_are_named(line: Site) -> None:
    line.jobs._adder._rights.actions = {"alice": ["noop"]}
    hidden, own = line.add(), str(line.jobs.add([{"action": "noop"}], ALICE)[0])
    missing = "job/00000000-0000-4000-8000-000000000000"
    bodies = [{"action": "noop", "after": {"jobs": [own, id]}} for id in (hidden, missing)]
    refused = line.jobs.add([*bodies, {"action": "noop", "after": {"jobs": [own]}}, {"action": "noop"}], ALICE)
    for refusal, id in zip(refused, (hidden, missing), strict=False):
        assert isinstance(refusal, Problem)
        assert (refusal.status, refusal.job) == (400, None)
        assert refusal.message.endswith(f"after.jobs: {id} does not exist, or you may not see it")
    assert [line.state(str(id)) for id in refused[2:]] == [HELD, RUNS]


def test_a_repeated_add_is_answered_though_a_predecessor_was_deleted(line: Site) -> None:
    first = line.add()
    second = add(line, first, idempotencyKey="k")
    end(line, first, "deleted")
    assert add(line, first, idempotencyKey="k") == second


def test_a_time_counts_once_the_predecessors_are_over(line: Site) -> None:
    first = line.add()
    second = add(line, first, notBefore="+1h")
    assert line.job(second)["held"]["why"] == "after"
    line.jobs.release(second, ADMIN)
    end(line, first)
    line.promoter.run()
    assert line.job(second)["held"]["why"] == "notBefore"
    line.jobs.release(second, ADMIN)
    line.promoter.run()
    assert line.state(second) == RUNS


def test_a_pause_counts_once_the_predecessors_are_over(line: Site) -> None:
    pauses = PauseService(line.both.store, line.promoter.book)
    first = line.add(action="other")
    second = add(line, first)
    pauses.pause("noop", "alice", None, None)
    line.promoter.run()
    assert line.job(second)["held"]["why"] == "after"
    end(line, first)
    line.promoter.run()
    assert line.job(second)["held"]["on"] == "pause/noop"
    pauses.resume("noop")
    line.promoter.run()
    assert line.state(second) == RUNS


def test_a_unique_job_waits_for_its_predecessors(line: Site) -> None:
    first = line.add()
    second = add(line, first, unique={"by": ["action"], "while": "active"}, action="once")
    assert line.job(second)["held"]["why"] == "after"
    [refusal] = line.jobs.add([{"action": "once", "unique": {"by": ["action"], "while": "active"}}], ADMIN)
    assert isinstance(refusal, Problem)
    assert refusal.reason == "unique"
    end(line, first)
    line.promoter.run()
    assert line.state(second) == RUNS


def test_the_ends_of_many_predecessors_read_each_a_few_times(line: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [str(id) for id in line.jobs.add([{"action": "noop"}] * 120, ADMIN)]
    last = add(line, *ids)
    read: list[str] = []
    get = line.both.store.get

    def noted(wanted: Any) -> Any:
        read.extend(wanted)
        return get(wanted)

    monkeypatch.setattr(line.both.store, "get", noted)
    for id in ids[:20]:
        end(line, id)
        line.promoter.run()
    assert len(read) < 20 * 10
    line.jobs.edit([JobEdit(id, Edit({"state": "SUCCESS"})) for id in ids[20:]], ADMIN)
    line.promoter.run()
    assert line.state(last) == RUNS


def test_a_plain_add_reads_no_job(line: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line.both.store, "get", lambda ids: pytest.fail("a read"))
    monkeypatch.setattr(line.promoter, "watch", lambda jobs: pytest.fail("a mark"))
    [id] = line.jobs.add([{"action": "noop"}], ADMIN)
    assert isinstance(id, str)


# --- a promoter that dies or freezes at each step


class Killed(BaseException):
    """The end of a promoter."""


class Steps:
    """The requests of a promoter to store and queue: something happens before or after one of them."""

    def __init__(self, happens: Callable[[], None]) -> None:
        self.left = 0
        self.happens = happens

    def reach(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.happens()


class Stepping:
    """A store or a queue whose requests are steps."""

    def __init__(self, inner: Any, steps: Steps) -> None:
        self.inner = inner
        self.steps = steps

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.inner, name)
        if name not in ("get", "write", "search", "put", "remove"):
            return value

        def call(*args: Any, **more: Any) -> Any:
            self.steps.reach()
            result = value(*args, **more)
            self.steps.reach()
            return result

        return call


def stepping(line: Site, at: int, happens: Callable[[], None]) -> Promoter:
    """Return another promoter, which was told the same, and to which something happens at a step."""
    steps = Steps(happens)
    store: Any = Stepping(line.both.store, steps)
    queue: Any = Stepping(line.both.coordination, steps)
    made = Promoter(store, queue)
    made.rules()
    steps.left = at
    made._notify = made._heed  # type: ignore[method-assign]
    made._ended = set(line.promoter._ended)
    line.promoter._ended.clear()
    return made


def stride(line: Site) -> int:
    """Return 1 for a store that is quick, so that a test stops at each step; else stop at each fifth."""
    return 1 if isinstance(line.both.store, SqliteStore) else 5


class Family:
    """Jobs after a good one and after a bad one; the good one and the bad one have just ended."""

    def __init__(self, line: Site) -> None:
        self.line = line
        good, bad = line.add(), line.add()
        self.next = add(line, good)
        self.failed = add(line, bad)
        self.anyway = add(line, self.failed, good, when_failed="run")
        self.later = add(line, self.next)
        end(line, good)
        end(line, bad, "FAILED")
        line.both.coordination.discard([entry_of(line.job(id)) or "" for id in (good, bad)])

    def check(self) -> None:
        """Let another promoter and the reconciler do what is left, then begin all that can be begun."""
        line = self.line
        line.promoter.run()
        line.both.run()
        line.promoter.run()
        claims = line.both.coordination.take(9, timeout=0)
        begun = []
        for claim in claims:
            with suppress(Refusal):
                line.begin(claim.job, claim.entry, claim.fence)
                begun.append(claim.job)
        line.both.coordination.consume(claims)
        assert sorted(begun) == sorted([self.next, self.anyway])
        assert line.job(self.failed)["state"] == "FAILED"
        assert line.state(self.later) == HELD
        for id in begun:
            end(line, id)
        line.promoter.run()
        assert line.state(self.later) == RUNS
        line.both.coordination.discard([entry_of(line.job(self.later)) or ""])
        end(line, self.later)


def test_a_promoter_that_is_killed_at_any_step_leaves_none_behind_and_lets_none_through_twice(line: Site) -> None:
    def kill() -> None:
        raise Killed

    for at in itertools.count(1, stride(line)):
        family = Family(line)
        doomed = stepping(line, at, kill)
        with suppress(Killed):
            doomed.run()
            break
        family.check()
    assert at > 15


def test_a_promoter_that_is_frozen_at_any_step_does_no_harm_when_it_goes_on(line: Site) -> None:
    for at in itertools.count(1, stride(line)):
        family, frozen, thawed = Family(line), Event(), Event()

        def freeze(frozen: Event = frozen, thawed: Event = thawed) -> None:
            frozen.set()
            thawed.wait()

        slow = gevent.spawn(stepping(line, at, freeze).run)
        either: list[Any] = [slow, frozen]
        gevent.wait(either, count=1)
        if not frozen.is_set():
            slow.get()
            break
        line.both.run()
        line.promoter.run()
        thawed.set()
        slow.get(timeout=20)
        family.check()
    assert at > 15
