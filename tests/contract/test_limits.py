"""Limits, over a real store and a real queue: who is let through, and who waits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import gevent
import pytest
from gevent.event import Event

from geventjob.clock import cimi_time, now
from geventjob.server.gate.limit import counts
from geventjob.server.gate.limit_schema import validate_limit
from geventjob.server.jobs.lifecycle import Edit, JobEdit, Owner
from geventjob.server.jobs.limits import LimitService
from geventjob.server.jobs.pauses import PauseService
from geventjob.server.leaders.promoter import ELECTION
from geventjob.server.life.changes import entry_of
from geventjob.server.life.failures import FailureReport, RetryWish
from geventjob.server.store.base import Update
from tests.contract.test_promoter import ADMIN, Site
from tests.contract.test_reconcile import Both, both  # noqa: F401  (a fixture)


class LedSite(Site):
    """A server that leads the promoter's election, and does rounds when it is told."""

    def __init__(self, both: Both) -> None:  # noqa: F811
        super().__init__(both)
        self.service = LimitService(both.store, self.promoter.book)
        self.lead()

    def lead(self) -> None:
        leadership = self.both.coordination.lead(ELECTION, 5)
        assert leadership is not None
        self.promoter._task._leadership = leadership

    def successor(self) -> LedSite:
        """Return another server, which leads after this one."""
        leadership = self.promoter._task.leadership
        assert leadership is not None
        leadership.resign()
        return LedSite(self.both)

    def limit(self, name: str = "l", **attributes: Any) -> None:
        self.service.set(validate_limit(name, {"action": "noop", **attributes}))

    def round(self) -> float:
        return self.promoter._round()

    def through(self, ids: list[str]) -> list[str]:
        """Return the jobs that were let through, and have an entry or run."""
        return [id for id in ids if "held" not in self.job(id)]

    def run(self, id: str, *, executor: str = "e") -> Owner:
        owner = Owner(entry_of(self.job(id)) or "", 10**15, executor)
        self.edit(id, Edit({"state": "RUNNING"}, owner=owner))
        return owner

    def end(self, id: str, state: str = "SUCCESS") -> None:
        owner = self.run(id)
        self.edit(id, Edit({"state": state}, owner=owner))
        self.both.coordination.discard([owner.entry])

    def edit(self, id: str, edit: Edit) -> None:
        [outcome] = self.jobs.edit([JobEdit(id, edit)], ADMIN)
        if isinstance(outcome, Exception):
            raise outcome


@pytest.fixture
def led(both: Both) -> LedSite:  # noqa: F811
    return LedSite(both)


def test_no_more_jobs_run_than_the_limit_says_and_an_end_lets_the_next_in(led: LedSite) -> None:
    led.limit(running=2)
    ids = [led.add() for _ in range(4)]
    other = led.add(action="other")
    assert led.queue() == [entry_of(led.job(other))]
    held = led.job(ids[0])["held"]
    assert (held["why"], held["detail"], "until" in held) == ("limit", "l: 2 of 2 run", False)
    led.round()
    assert led.through(ids) == ids[:2]
    assert led.state(ids[0]) == ("QUEUED", False, True)
    led.round()
    assert led.through(ids) == ids[:2]
    led.end(ids[1])
    led.round()
    assert led.through(ids) == [ids[0], ids[1], ids[2]]
    led.jobs.stop(ids[0], ADMIN)
    led.round()
    assert led.through(ids) == ids
    assert led.both.run().requeued == 0


def test_each_key_has_its_own_count_and_a_full_key_keeps_no_other_back(led: LedSite) -> None:
    led.limit(per="payload.account", running=1)
    first = [led.add(payload={"account": "acct_7"}) for _ in range(3)]
    second = [led.add(payload={"account": account}) for account in ("acct_8", 9, None)]
    assert led.job(first[0])["held"]["detail"] == "l acct_7: 1 of 1 run"
    led.round()
    assert led.through(first) == first[:1]
    assert led.through(second) == second


def test_the_keys_of_a_limit_take_turns(led: LedSite) -> None:
    led.limit(per="payload.n", running=100)
    ids = [led.add(payload={"n": n}) for n in (1, 1, 1, 2, 2, 3)]
    led.round()
    order = [waiting.job for waiting in led.both.coordination.stats(9).head]
    assert order == [ids[n] for n in (0, 3, 5, 1, 4, 2)]


def test_a_job_under_several_limits_needs_room_in_all(led: LedSite) -> None:
    led.limit("all", running=3)
    led.limit("one", per="payload.n", running=1)
    ids = [led.add(payload={"n": n}) for n in (1, 1, 2, 3, 4)]
    led.round()
    assert led.through(ids) == [ids[0], ids[2], ids[3]]
    assert [led.job(ids[n])["held"]["detail"] for n in (1, 4)] == ["one 1: 1 of 1 run", "all: 3 of 3 run"]
    led.end(ids[2])
    led.round()
    assert led.through(ids) == [ids[0], ids[2], ids[3], ids[4]]
    led.end(ids[0])
    led.round()
    assert led.through(ids) == ids


def test_by_priority_then_in_the_order_of_the_adds(led: LedSite) -> None:
    led.limit(running=1)
    ids = [led.add(priority=priority) for priority in (7, 5, 5, 3)]
    for n in (3, 1, 2, 0):
        led.round()
        running = [id for id in led.through(ids) if led.job(id)["state"] == "QUEUED"]
        assert running == [ids[n]]
        led.end(ids[n])


def test_starts_in_a_time(led: LedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    led.limit(starts=2, each=60)
    ids = [led.add() for _ in range(3)]
    assert led.job(ids[0])["held"]["why"] == "rate"
    assert led.job(ids[0])["held"]["detail"] == "l: 2 of 2 have started within 60 s"
    led.round()
    led.end(ids[0])
    led.jobs.stop(ids[1], ADMIN)
    assert led.round() <= 60
    assert led.through(ids) == ids[:2]
    after = led.successor()  # counts the starts from documents of jobs that have ended, too
    after.round()
    assert after.through(ids) == ids[:2]
    moment = cimi_time(now() - timedelta(seconds=61))
    for id in ids[:2]:
        led.both.store.write([Update(id, lambda job: job | {"admitted": moment})])
    last = after.successor()
    last.round()
    assert last.through(ids) == ids


def test_a_job_that_waits_for_another_try_makes_room_and_waits_for_its_turn_again(led: LedSite) -> None:
    led.limit(running=1)
    first, second = led.add(), led.add()
    led.round()
    owner = led.run(first)
    failed = Edit({"state": "FAILED"}, owner=owner, failure=FailureReport("E", "no"), retry=RetryWish(3600, 3))
    led.edit(first, failed)
    led.both.coordination.discard([owner.entry])
    led.round()
    assert led.through([first, second]) == [second]
    led.pass_time(first, 3600)
    led.promoter._must_look = True
    led.round()
    assert led.through([first, second]) == [second]
    assert led.job(first)["held"]["why"] == "limit"
    led.end(second)
    led.round()
    led.end(first)
    assert led.job(first)["attempts"] == 2


def test_a_limit_is_raised_lowered_and_deleted_while_jobs_wait(led: LedSite) -> None:
    led.limit(running=1)
    ids = [led.add() for _ in range(6)]
    led.round()
    assert led.through(ids) == ids[:1]
    led.limit(running=3)
    led.round()
    assert led.through(ids) == ids[:3]
    led.limit(running=2)
    led.end(ids[0])
    led.round()
    assert led.through(ids) == ids[:3]
    led.end(ids[1])
    led.round()
    assert led.through(ids) == ids[:4]
    led.service.delete("limit/l")
    led.round()
    assert led.through(ids) == ids
    assert led.both.run().requeued == 0


def test_a_limit_that_is_set_counts_what_runs_and_holds_what_waits_in_the_queue(led: LedSite) -> None:
    ids = [led.add(payload={"n": 1}) for _ in range(4)]
    led.run(ids[0])
    [claim] = [one for one in led.both.coordination.take(4) if one.job == ids[1]]  # taken, not yet begun
    led.limit(per="payload.n", running=2)
    led.round()
    assert led.through(ids)[:2] == ids[:2]
    held = [id for id in ids if "held" in led.job(id)]
    assert held in ([], ids[2:])  # the claims of the others are given back or not
    assert claim.job == ids[1]


def test_entries_that_nobody_holds_leave_the_queue_when_a_limit_is_set(led: LedSite) -> None:
    ids = [led.add() for _ in range(3)]
    led.run(ids[0])
    led.both.coordination.discard([entry_of(led.job(ids[0])) or ""])
    led.limit(running=2)
    led.round()
    assert len(led.through(ids)) == 2
    assert led.through(ids)[0] == ids[0]
    assert len(led.queue()) == 1


def test_another_key_for_a_limit_sorts_all_that_wait_anew(led: LedSite) -> None:
    led.limit(running=1)
    ids = [led.add(payload={"n": n}) for n in (1, 2, 2)]
    led.round()
    led.limit(per="payload.n", running=1)
    led.round()
    assert led.through(ids) == ids[:2]
    assert led.job(ids[2])["held"]["detail"] == "l 2: 1 of 1 run"


def test_a_successor_counts_what_runs_and_takes_up_all_that_wait(led: LedSite) -> None:
    led.limit(per="payload.n", running=2)
    ids = [led.add(payload={"n": n}) for n in (1, 1, 1, 2)]
    led.round()
    after = led.successor()
    after.round()
    assert after.through(ids) == [ids[0], ids[1], ids[3]]
    led.end(ids[0])
    after.promoter._limiter._check_at = 0.0  # the notice went to the first server
    after.round()
    assert after.through(ids) == ids


STEPS = ["_marked", "confirm", "_let", "put", "promoted"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("before", [True, False])
def test_a_leader_that_freezes_at_a_step_lets_none_too_many_through_when_it_goes_on(
    led: LedSite, step: str, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    led.limit(running=1)
    first, *_ = ids = [led.add() for _ in range(3)]
    led.round()
    led.end(first)
    frozen = Freeze(led, step, before, monkeypatch)
    stopped = gevent.spawn(led.promoter._round)
    frozen.reached.wait(5)
    ids.append(led.add(priority=1))  # the successor lets another one through, if it may
    after = led.successor()
    after.round()
    frozen.go_on.set()
    stopped.join(10)
    for _ in range(2):
        after.promoter._limiter._check_at = 0.0
        after.round()
        counted = [id for id in ids if is_through(led.job(id))]
        assert len(counted) == 1, (step, before)
        assert [id for id in ids[1:] if "held" not in led.job(id)] == counted
    for _ in ids[1:]:
        [id] = [id for id in ids if is_through(led.job(id))]
        after.both.run()
        after.end(id)
        after.promoter._limiter._check_at = 0.0
        after.round()
    assert {led.job(id)["state"] for id in ids} == {"SUCCESS"}


def is_through(job: dict[str, Any]) -> bool:
    """Return whether the job counts, and not by a mark alone, which may be too late and is then put by nobody."""
    return counts(job) and "until" in job.get("held", {"until": ""})


class Freeze:
    """A leader that stops before or after one of its steps, until it is told to go on."""

    def __init__(self, led: LedSite, step: str, before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go_on = Event(), Event()
        leadership = led.promoter._task.leadership
        assert leadership is not None
        store = led.promoter._store
        if step == "confirm":
            monkeypatch.setattr(leadership, "confirm", self.around(leadership.confirm, before))
        elif step == "put":
            fake = Wrapped(led.both.coordination, put=self.around(led.both.coordination.put, before))
            monkeypatch.setattr(led.promoter, "_coordination", fake)
        else:
            write = self.around(store.write, before, lambda items: name_of(items) == step)
            wrapped = Wrapped(store, write=write)
            monkeypatch.setattr(led.promoter, "_store", wrapped)
            monkeypatch.setattr(led.promoter._limiter, "_store", wrapped)

    def around(
        self, call: Callable[..., Any], before: bool, when: Callable[[Any], bool] = lambda _: True
    ) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            if arguments and not when(arguments[0]):
                return call(*arguments, **named)
            if before:
                self.stop()
                return call(*arguments, **named)
            result = call(*arguments, **named)
            self.stop()
            return result

        return wrapped

    def stop(self) -> None:
        self.reached.set()
        self.go_on.wait()


class Wrapped:
    """An object with some other methods."""

    def __init__(self, inner: Any, **methods: Any) -> None:
        self._inner = inner
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def name_of(items: list[Any]) -> str:
    return getattr(getattr(items[0].change, "func", None), "__name__", "") if items else ""


def test_a_job_whose_other_wait_is_over_waits_for_its_turn(led: LedSite) -> None:
    led.limit(running=1)
    first, before = led.add(), led.add(action="other")
    led.round()
    chained = led.add(after={"jobs": [before]})
    later = led.add(notBefore="+1h")
    led.end(before)
    led.pass_time(later, 3600)
    led.promoter._must_look = True
    led.round()
    assert [led.job(id)["held"]["why"] for id in (chained, later)] == ["limit", "limit"]
    assert led.through([first, chained, later]) == [first]
    for ended, following in ((first, chained), (chained, later)):
        led.end(ended)
        led.round()
        led.round()
        assert led.through([first, chained, later])[-1] == following


def test_a_pause_frees_the_places_of_jobs_that_wait_in_the_queue(led: LedSite) -> None:
    led.limit(running=1)
    ids = [led.add() for _ in range(3)]
    led.round()
    pauses = PauseService(led.both.store, led.promoter.book)
    pauses.pause("noop", "super", None, None)
    for _ in range(2):
        led.round()
    assert [led.job(id)["held"]["why"] for id in ids] == ["paused", "limit", "limit"]
    assert led.queue() == []
    pauses.resume("noop")
    for _ in range(3):
        led.round()
    assert led.through(ids) == ids[:1]
    for n in (0, 1, 2):
        assert led.through(ids)[-1] == ids[n]
        led.end(ids[n])
        led.round()
