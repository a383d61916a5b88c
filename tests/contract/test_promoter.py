"""The gate before the queue, over a real store and a real queue: held jobs, their promotion, and jobs that expire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import gevent
import pytest

from geventjob.clock import cimi_time, now
from geventjob.coordination.base import CoordinationAway
from geventjob.server.accounts.caller import Caller
from geventjob.server.gate import gate
from geventjob.server.gate.gate import stale_entry
from geventjob.server.jobs.lifecycle import Edit, JobEdit, Owner, edited
from geventjob.server.jobs.service import Jobs
from geventjob.server.jobs.stops import stopped
from geventjob.server.leaders.promoter import LONGEST, Promoter
from geventjob.server.life.changes import entry_of
from geventjob.server.life.conflicts import Refusal
from geventjob.server.life.wait import Hold, hold
from geventjob.server.store.base import StoreAway, Update
from tests.contract.test_reconcile import Both, both  # noqa: F401  (a fixture)
from tests.support.waiting import eventually, kill

ADMIN = Caller("super", frozenset({"super", "ADMIN", "USER", "ANON"}))


class Site:
    """A server without HTTP: its jobs, and its promoter, which runs only when it is called."""

    def __init__(self, both: Both) -> None:  # noqa: F811
        self.both = both
        self.promoter = Promoter(both.store, both.coordination)
        self.jobs = Jobs(both.store, both.coordination, promoter=self.promoter)

    def add(self, **attributes: Any) -> str:
        [id] = self.jobs.add([{"action": "noop", **attributes}], ADMIN)
        assert isinstance(id, str), id
        return id

    def job(self, id: str) -> dict[str, Any]:
        return self.jobs.get(id, ADMIN)

    def state(self, id: str) -> tuple[str, bool, bool]:
        """Return the state of a job, whether the job is held, and whether the queue has its entry."""
        job = self.job(id)
        return job["state"], "held" in job, entry_of(job) in self.queue()

    def queue(self) -> list[str]:
        return [waiting.entry for waiting in self.both.coordination.stats(2000).head]

    def pass_time(self, id: str, seconds: float) -> None:
        """Let the times of this job be earlier by so many seconds."""

        def earlier(time: str) -> str:
            return cimi_time(datetime.fromisoformat(time.replace("Z", "+00:00")) - timedelta(seconds=seconds))

        def change(job: dict[str, Any]) -> dict[str, Any]:
            if "held" in job:
                job["held"] = {**job["held"], "until": earlier(job["held"]["until"])}
            return {name: earlier(value) if name in ("notBefore", "expires") else value for name, value in job.items()}

        self.both.store.write([Update(id, change)])

    def pass_expiry(self, id: str) -> None:
        """Let the job expire now, whatever else it waits for."""
        past = cimi_time(now() - timedelta(seconds=1))
        self.both.store.write([Update(id, lambda job: {**job, "expires": past})])

    def begin(self, id: str, entry: str, fence: int = 1, executor: str = "e") -> dict[str, Any]:
        edit = Edit({"state": "RUNNING"}, owner=Owner(entry, fence, executor))
        [result] = self.both.store.write([Update(id, lambda job: edited(job, edit, now=now()))])
        if isinstance(result, Exception):
            raise result
        assert result
        return result


@pytest.fixture
def site(both: Both) -> Site:  # noqa: F811
    return Site(both)


def test_a_job_for_later_has_no_entry_until_it_is_due(site: Site) -> None:
    id = site.add(notBefore="+1h")
    assert site.state(id) == ("QUEUED", True, False)
    job = site.job(id)
    assert job["held"] == {
        "why": "notBefore",
        "until": job["notBefore"],
        "detail": "added to run at this time or later",
    }
    assert 0 < site.promoter.run() <= LONGEST
    assert site.state(id) == ("QUEUED", True, False)
    site.pass_time(id, 3600)
    site.promoter.run()
    assert site.state(id) == ("QUEUED", False, True)
    assert site.both.run().requeued == 0
    [claim] = site.both.coordination.take(1)
    assert site.begin(id, claim.entry)["state"] == "RUNNING"


def test_a_time_that_is_past_holds_nothing(site: Site) -> None:
    assert site.state(site.add(notBefore="2020-01-01T00:00:00+01:00")) == ("QUEUED", False, True)
    assert site.state(site.add(notBefore="+0s")) == ("QUEUED", False, True)


def test_jobs_of_one_add_wait_each_for_itself(site: Site) -> None:
    ids = site.jobs.add([{"action": "a"}, {"action": "a", "notBefore": "+1d"}, {"action": "a"}], ADMIN)
    assert [site.state(str(id)) for id in ids] == [
        ("QUEUED", False, True), ("QUEUED", True, False), ("QUEUED", False, True),
    ]  # fmt: skip


def test_the_reconciler_puts_no_held_job(site: Site) -> None:
    site.add(notBefore="+1h")
    runs = site.add()
    report = site.both.run()
    assert (report.jobs, report.requeued, report.removed) == (1, 0, 0)
    assert site.queue() == [entry_of(site.job(runs))]


def test_the_next_round_is_at_the_earliest_time_of_all_jobs(site: Site) -> None:
    assert LONGEST - 1 < site.promoter.run() <= LONGEST
    site.add(notBefore="+20s")
    site.add(expires="+10s")
    assert 9 < site.promoter.run() <= 10
    site.add(notBefore="+5s")
    assert 4 < site.promoter.run() <= 5


def test_more_jobs_than_a_page_in_one_round(site: Site) -> None:
    bodies = [{"action": "a", "notBefore": "+1h", "priority": n % 10} for n in range(1000)]
    ids = [str(id) for _ in range(3) for id in site.jobs.add(bodies, ADMIN)]
    until = cimi_time(now())

    def change(job: dict[str, Any]) -> dict[str, Any]:
        return {**job, "held": {**job["held"], "until": until}}

    for first in range(0, len(ids), 1000):
        site.both.store.write([Update(id, change) for id in ids[first : first + 1000]])
    site.promoter.run()
    assert site.both.coordination.stats(1).entries == 3000
    jobs = site.both.store.get(ids)
    assert all(job and "held" not in job and entry_of(job) for job in jobs)


@pytest.mark.parametrize("end", ["stop", "delete", "edit"])
def test_a_held_job_is_edited_stopped_and_deleted_like_any_other(site: Site, end: str) -> None:
    id = site.add(notBefore="+1h")
    if end == "stop":
        assert site.jobs.stop(id, ADMIN)["state"] == "STOPPED"
        assert "held" not in site.job(id)
    elif end == "delete":
        site.jobs.delete(id, ADMIN)
    else:
        edited = site.both.edit(id.removeprefix("job/"), Edit({"name": "later"}))
        assert (edited["name"], edited["held"]["why"]) == ("later", "notBefore")
    site.promoter.run()
    assert site.queue() == []


@pytest.mark.parametrize("end", ["stopped", "deleted", "begun"])
def test_an_end_between_put_and_store_leaves_no_entry_that_counts_twice(
    site: Site, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    id = site.add(notBefore="+1h")
    site.pass_time(id, 3600)
    put = site.both.coordination.put

    def put_and_end(items: Sequence[tuple[str, int]], *_: object) -> list[str]:
        [earlier] = put(items) if end == "begun" else [""]
        entries = put(items)
        if end == "begun":
            assert site.begin(id, earlier)["state"] == "RUNNING"
        else:
            change: Callable[[Any], Any] = (lambda job: stopped(job, now=now())) if end == "stopped" else lambda _: None
            site.both.store.write([Update(id, change)])
        return entries

    monkeypatch.setattr(site.both.coordination, "put", put_and_end)
    site.promoter.run()
    if end == "begun":
        assert site.queue() == [entry_of(site.job(id))]
    else:
        assert site.queue() == []


def test_an_entry_may_begin_its_due_job_before_the_job_is_stored_with_it(site: Site) -> None:
    """The promoter died after its put: the next one puts again, and the job decides which entry counts."""
    id = site.add(notBefore="+1h")
    [early] = site.both.coordination.put([(id, 999)])
    with pytest.raises(Refusal, match="waits until") as refusal:
        site.begin(id, early)
    assert refusal.value.reason == "entry"
    site.pass_time(id, 3600)
    site.promoter.run()
    job = site.job(id)
    assert len(site.queue()) == 2
    with pytest.raises(Refusal, match="is queued as"):
        site.begin(id, early)
    assert site.begin(id, str(entry_of(job)))["state"] == "RUNNING"


@pytest.mark.parametrize("error", [CoordinationAway("away"), StoreAway("away")])
def test_a_promotion_that_fails_is_made_again(site: Site, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    id = site.add(notBefore="+1h")
    site.pass_time(id, 3600)

    def fail(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        where: Any = site.both.coordination if isinstance(error, CoordinationAway) else site.both.store
        patch.setattr(where, "put" if isinstance(error, CoordinationAway) else "write", fail)
        with pytest.raises(type(error)):
            site.promoter.run()
    assert site.state(id)[:2] == ("QUEUED", True)
    site.promoter.run()
    assert site.state(id) == ("QUEUED", False, True)


def test_a_clock_that_is_stepped_by_hours_neither_loses_nor_doubles_a_job(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, half = site.add(notBefore="+1h"), site.add(notBefore="+1h")

    def ahead() -> datetime:
        return now() + timedelta(hours=2)

    with monkeypatch.context() as clock:  # the clock is put forward; the store fails after the put
        clock.setattr("geventjob.server.leaders.promoter.now", ahead)
        with monkeypatch.context() as patch:
            write = site.both.store.write
            patch.setattr(site.both.store, "write", lambda items: write(items[:1]) and _away())
            with pytest.raises(StoreAway):
                site.promoter.run()
    stored = [id for id in (early, half) if "held" not in site.job(id)]
    assert len(stored) == 1
    (other,) = {early, half} - set(stored)
    stray = next(waiting.entry for waiting in site.both.coordination.stats(10).head if waiting.job == other)
    # The clock is put back: the job with an entry runs once, the other one waits, and its stray entry begins nothing.
    assert site.begin(stored[0], str(entry_of(site.job(stored[0]))))["attempts"] == 1
    with pytest.raises(Refusal, match="waits until"):
        site.begin(other, stray)
    site.both.coordination.discard([stray])  # as the executor does after the refusal
    site.promoter.run()
    assert site.state(other)[:2] == ("QUEUED", True)
    site.pass_time(other, 3600)
    site.promoter.run()
    assert site.begin(other, str(entry_of(site.job(other))))["attempts"] == 1
    assert len(site.queue()) == 2


def _away() -> Any:
    raise StoreAway("away")


def test_an_expired_job_is_stopped_and_its_entry_removed(site: Site) -> None:
    waits, held, runs = site.add(expires="+1h"), site.add(notBefore="+2h", expires="+1h"), site.add(expires="+1h")
    site.begin(runs, str(entry_of(site.job(runs))))
    for id in (waits, held, runs):
        site.pass_time(id, 3600)
    site.promoter.run()
    assert [site.job(id)["state"] for id in (waits, held, runs)] == ["STOPPED", "STOPPED", "RUNNING"]
    assert site.job(waits)["statusMessage"] == gate.EXPIRED
    assert site.queue() == [entry_of(site.job(runs))]


def test_an_expired_job_does_not_begin(site: Site) -> None:
    id = site.add(expires="+1h")
    entry = str(entry_of(site.job(id)))
    site.pass_time(id, 3600)
    with pytest.raises(Refusal, match="has expired") as refusal:
        site.begin(id, entry)
    assert refusal.value.reason == "final"
    old = site.both.edit(id.removeprefix("job/"), Edit({"state": "RUNNING"}))
    assert (old["state"], old["statusMessage"]) == ("STOPPED", gate.EXPIRED), "an old engine takes the state it is told"


def test_an_operator_lets_a_held_job_go(site: Site) -> None:
    id = site.add(notBefore="+1h")
    assert site.jobs.release(id, ADMIN)["held"]["until"] <= cimi_time(now())
    site.promoter.run()
    assert site.state(id) == ("QUEUED", False, True)
    before = site.job(id)
    assert site.jobs.release(id, ADMIN) == before


def test_a_job_is_due_within_a_moment_of_its_time(site: Site) -> None:
    """The promoter sleeps until an add names an earlier time."""
    keeper = gevent.spawn(site.promoter.keep)
    try:
        eventually(lambda: site.promoter._task.leads)
        id = site.add(notBefore=cimi_time(now() + timedelta(seconds=0.3)))
        eventually(lambda: site.state(id) == ("QUEUED", False, True), within=5)
        held = site.add(notBefore="+1h")
        site.jobs.release(held, ADMIN)
        eventually(lambda: len(site.queue()) == 2, within=5)
    finally:
        kill(keeper)


def test_another_server_wakes_the_promoter(site: Site) -> None:
    """Two servers share a store and a queue: an add on one server reaches the promoter of the other."""
    other = Promoter(site.both.store, site.both.coordination)
    leader = gevent.spawn(site.promoter.keep)
    try:
        eventually(lambda: site.promoter._task.leads)
        jobs = Jobs(site.both.store, site.both.coordination, promoter=other)
        jobs.add([{"action": "noop", "notBefore": cimi_time(now() + timedelta(seconds=0.3))}], ADMIN)
        eventually(lambda: site.queue(), within=LONGEST / 3)
    finally:
        kill(leader)


def test_a_held_job_keeps_the_entry_of_its_last_run_for_a_late_claim(site: Site) -> None:
    id = site.add()
    entry = str(entry_of(site.job(id)))

    def held(job: dict[str, Any]) -> dict[str, Any]:
        hold(job, Hold("retry", "", cimi_time(now())))
        return job

    site.both.store.write([Update(id, held)])
    assert stale_entry(site.job(id)) == entry
    with pytest.raises(Refusal, match="waits until"):
        site.begin(id, entry)
    [result] = site.jobs.edit([_foreign(id)], ADMIN)
    assert isinstance(result, dict), "due: another engine that holds an entry of it may begin"


def _foreign(id: str) -> JobEdit:
    return JobEdit(id, Edit({"state": "RUNNING"}))


def test_the_last_entry_of_a_held_job_is_taken_from_another_engine(site: Site) -> None:
    id = site.add()
    [claim] = site.both.coordination.take(1)

    def held(job: dict[str, Any]) -> dict[str, Any]:
        hold(job, Hold("retry", "", cimi_time(now() + timedelta(hours=1))))
        return job

    site.both.store.write([Update(id, held)])
    [result] = site.jobs.edit([_foreign(id)], ADMIN)
    assert isinstance(result, Refusal)
    assert site.queue() == [], "else the engine would take the entry again and again"
    site.both.coordination.release([claim])
