"""Reconciling the queue with the store, over real implementations of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import gevent
import pytest

from geventjob.clock import now
from geventjob.coordination.base import Coordination
from geventjob.server.jobs.lifecycle import Edit, Owner, edited
from geventjob.server.jobs.stops import stopped
from geventjob.server.leaders.reconcile import Reconciler, Report
from geventjob.server.life.changes import added, entry_of
from geventjob.server.life.requeue import requeued
from geventjob.server.store.base import Insert, Query, Store, Update
from geventjob.server.store.sqlite import SqliteStore
from tests.contract.coordination.fleets import connect
from tests.support.elastic_stores import elasticsearch_store
from tests.support.zookeeper import shared as zookeeper

ACL = {"owner": {"principal": "ADMIN", "type": "ROLE"}, "rules": []}


class Both:
    """A store and a queue, and jobs in them."""

    def __init__(self, store: Store, coordination: Coordination) -> None:
        self.store = store
        self.coordination = coordination
        self.store.start()
        self.coordination.start()
        self.reconciler = Reconciler(store, coordination)

    def close(self) -> None:
        self.coordination.close()
        self.store.close()

    def add(self, name: str, **attributes: Any) -> str:
        """Add a job as the server does, and return its entry."""
        job = added({"action": "noop", **attributes}, id=f"job/{name}", now=now(), acl=ACL)
        [entry] = self.coordination.put([(job["id"], job["priority"])])
        job["properties"] = {"zookeeper-path": entry}
        self.store.write([Insert(job)])
        return entry

    def edit(self, name: str, edit: Edit) -> dict[str, Any]:
        [result] = self.store.write([Update(f"job/{name}", lambda job: edited(job, edit, now=now()))])
        assert isinstance(result, dict), result
        return result

    def edit_entry(self, name: str, entry: str) -> None:
        self.store.write([Update(f"job/{name}", lambda job: requeued(job, entry, now=now()))])

    def lose(self, *entries: str) -> None:
        assert self.coordination.remove(entries) == [True] * len(entries)

    def job(self, name: str) -> dict[str, Any]:
        [job] = self.store.get([f"job/{name}"])
        assert job
        return job

    def queue(self) -> list[str]:
        return [waiting.job.removeprefix("job/") for waiting in self.coordination.stats(100).head]

    def run(self, **options: Any) -> Report:
        return self.reconciler.run(grace=0.1, **options)


@pytest.fixture(params=["sqlite", "elasticsearch and zookeeper"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Both]:
    if request.param == "sqlite":
        store: Store = SqliteStore(tmp_path / "store.db")
        where = {"path": str(tmp_path / "coordination.db")}
    else:
        store = elasticsearch_store(tmp_path)
        where = {"hosts": zookeeper().hosts, "root": f"/{uuid4().hex}"}
    made = Both(store, connect(where, "server", 10))
    yield made
    made.close()


def test_where_all_is_well_nothing_is_done(both: Both) -> None:
    for name in ("a", "b"):
        both.add(name)
    assert both.run() == Report(jobs=2)
    assert both.queue() == ["a", "b"]


def test_jobs_whose_entries_are_gone_come_back_by_priority(both: Both) -> None:
    entries = [both.add("low"), both.add("first", priority=1), both.add("second", priority=5)]
    both.lose(*entries)
    assert both.run() == Report(jobs=3, requeued=3)
    assert both.queue() == ["first", "second", "low"]
    assert {entry_of(both.job(name)) for name in ("low", "first", "second")}.isdisjoint(entries)
    assert both.run() == Report(jobs=3)


def test_a_dry_run_only_counts(both: Both) -> None:
    both.lose(both.add("a"))
    both.coordination.put([("job/missing", 999)])
    assert both.run(dry=True) == Report(jobs=1, requeued=1, removed=1)
    assert both.queue() == ["missing"]


def test_an_entry_without_a_job_is_removed_and_junk_left_to_the_executors(both: Both) -> None:
    both.coordination.put([("job/missing", 999), ("no id at all", 999)])
    both.add("present")
    assert both.run() == Report(jobs=1, removed=1)
    assert both.queue() == ["no id at all", "present"]


def test_an_entry_that_is_held_is_left_to_its_holder(both: Both) -> None:
    both.coordination.put([("job/missing", 999)])
    [claim] = both.coordination.take(1)
    assert both.run() == Report()
    both.coordination.consume([claim])


def test_a_job_that_ran_is_run_again_and_its_old_owner_reaches_nothing(both: Both) -> None:
    entry = both.add("a")
    old = Owner(entry, 1_000_000, "old")
    both.edit("a", Edit({"state": "RUNNING"}, owner=old))
    both.lose(entry)
    both.run()
    job = both.job("a")
    assert (job["state"], job["attempts"]) == ("RUNNING", 1)
    [claim] = both.coordination.take(1)
    with pytest.raises(AssertionError, match="no longer, owned by old"):
        both.edit("a", Edit({"state": "SUCCESS"}, owner=old))
    taken = both.edit("a", Edit({"state": "RUNNING"}, owner=Owner(claim.entry, 1, "new")))
    assert (taken["attempts"], taken["interruptions"], taken["executor"]) == (2, 1, "new")


def test_a_job_that_was_being_stopped_comes_back_for_whoever_ends_it(both: Both) -> None:
    entry = both.add("a")
    both.edit("a", Edit({"state": "RUNNING"}, owner=Owner(entry, 1, "old")))
    both.store.write([Update("job/a", lambda job: stopped(job, now=now()))])
    both.lose(entry)
    assert both.run() == Report(jobs=1, requeued=1)
    assert (both.job("a")["state"], both.queue()) == ("STOPPING", ["a"])
    [claim] = both.coordination.take(1)
    ended = both.edit("a", Edit({"state": "STOPPED"}, owner=Owner(claim.entry, 1, "new")))
    assert ended["state"] == "STOPPED"


def test_final_jobs_stay_out_of_the_queue(both: Both) -> None:
    entry = both.add("a")
    both.edit("a", Edit({"state": "SUCCESS"}))
    both.lose(entry)
    assert both.run() == Report()
    assert both.queue() == []


def test_a_job_that_ends_within_the_grace_is_left_alone(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = both.add("a")
    both.lose(entry)

    def sleep(grace: float) -> None:
        both.edit("a", Edit({"state": "FAILED"}))

    monkeypatch.setattr("geventjob.server.leaders.reconcile.gevent", SimpleNamespace(sleep=sleep))
    assert both.run() == Report(jobs=1)
    assert both.job("a")["state"] == "FAILED"
    assert both.queue() == []


def test_a_name_that_another_job_has_by_now_is_no_entry_of_ones_own(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new ZooKeeper counts from 0 again, so the first entries that are put have names of lost entries."""
    monkeypatch.setattr("geventjob.server.leaders.pages.PAGE", 3)
    entries = [both.add(f"n{n}") for n in range(7)]
    both.lose(*entries)
    fresh = [both.add("new"), *[both.add(f"m{n}") for n in range(6)]]
    for n, entry in enumerate(fresh):  # n0 … n6 name the entries that new, m0 … m5 have
        both.edit_entry(f"n{n}", entry)
    assert both.run() == Report(jobs=14, requeued=7)
    assert sorted(both.queue()) == sorted(["new", *[f"m{n}" for n in range(6)], *[f"n{n}" for n in range(7)]])


def test_two_reconcilers_at_once_leave_one_entry_a_job(both: Both) -> None:
    both.lose(*[both.add(f"n{n}") for n in range(50)])
    reports = gevent.joinall([gevent.spawn(both.run) for _ in range(3)], raise_error=True)
    assert sum(greenlet.value.requeued for greenlet in reports) == 50
    assert sorted(both.queue()) == sorted(f"n{n}" for n in range(50))
    stands = both.coordination.standing([entry_of(job) or "" for job in both.store.search("job", Query()).documents])
    assert stands == [True] * 50


def test_many_pages(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geventjob.server.leaders.pages.PAGE", 7)
    both.lose(*[both.add(f"n{n}") for n in range(30)])
    assert both.run() == Report(jobs=30, requeued=30)


def test_entries_of_final_jobs_are_removed_whoever_holds_them(both: Both) -> None:
    held, free = both.add("held", priority=1), both.add("free", priority=2)
    runs = both.add("runs", priority=3)
    claims = both.coordination.take(1)
    for name in ("held", "free"):
        both.edit(name, Edit({"state": "SUCCESS"}))
    assert [claim.entry for claim in claims] == [held]
    assert both.run(dry=True) == Report(jobs=1, removed=2)
    assert both.run() == Report(jobs=1, removed=2)
    assert both.coordination.standing([held, free, runs]) == [False, False, True]
    both.coordination.release(claims)
    assert both.run() == Report(jobs=1)
