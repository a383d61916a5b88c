"""Jobs of executors that have gone are QUEUED again, over a real store and a real queue."""

from __future__ import annotations

from typing import Any

import pytest

from geventjob.clock import now
from geventjob.coordination.base import Claim
from geventjob.server.jobs.lifecycle import Edit, Owner
from geventjob.server.jobs.stops import stopped
from geventjob.server.leaders.rescue import Rescue
from geventjob.server.store.base import Update
from tests.contract.test_reconcile import Both, both  # noqa: F401  (a fixture)
from tests.support.waiting import eventually


@pytest.fixture
def site(both: Both) -> Both:  # noqa: F811
    return both


def begin(site: Both, name: str, executor: str = "server") -> Claim:
    """Take a job, and write RUNNING for this executor."""
    site.add(name)
    [claim] = site.coordination.take(1)
    site.edit(name, Edit({"state": "RUNNING"}, owner=Owner(claim.entry, claim.fence, executor)))
    return claim


def rescued(site: Both) -> int:
    """Run once all writes are visible to searches; return the number of orphaned jobs."""
    found: list[int] = []

    def run() -> bool:
        found.append(Rescue(site.store, site.coordination).run())
        return bool(found[-1])

    eventually(run, within=5)
    return found[-1]


def seen(job: dict[str, Any]) -> tuple[str, int, int, str]:
    return job["state"], job["attempts"], job["interruptions"], job["executor"]


def test_a_job_whose_executor_has_gone_waits_and_was_interrupted(site: Both) -> None:
    claim = begin(site, "a", "dead")
    site.coordination.release([claim])
    assert rescued(site) == 1
    assert seen(site.job("a")) == ("QUEUED", 1, 1, "dead")
    assert site.queue() == ["a"]
    told = site.edit("a", Edit({"state": "QUEUED"}, owner=Owner(claim.entry, claim.fence, "dead")))
    assert told["interruptions"] == 0, "the executor lives after all"
    [again] = site.coordination.take(1)
    job = site.edit("a", Edit({"state": "RUNNING"}, owner=Owner(again.entry, again.fence, "heir")))
    assert seen(job) == ("RUNNING", 2, 0, "heir")


def test_what_is_not_orphaned_is_left_alone(site: Both) -> None:
    held = begin(site, "held")
    others = [begin(site, name, "dead") for name in ("old", "stopping", "orphan")]
    site.edit("old", Edit({"state": "RUNNING"}, force=True))  # an old engine leaves no name
    site.store.write([Update("job/stopping", lambda job: stopped(job, now=now()))])
    site.coordination.release(others)
    assert rescued(site) == 1
    states = {name: site.job(name)["state"] for name in ("held", "old", "stopping", "orphan")}
    assert states == {"held": "RUNNING", "old": "RUNNING", "stopping": "STOPPING", "orphan": "QUEUED"}
    site.coordination.announce("executors", {})
    site.coordination.release([held])
    assert Rescue(site.store, site.coordination).run() == 0, "the executor lives"
    assert site.job("held")["state"] == "RUNNING"


def test_a_late_look_changes_no_later_attempt(site: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search found the job, its executor went, and another executor took the job."""
    claim = begin(site, "a", "dead")
    site.coordination.release([claim])
    stats = site.coordination.stats

    def slow(head: int = 20) -> Any:
        seen = stats(head)
        [again] = site.coordination.take(1)
        site.edit("a", Edit({"state": "RUNNING"}, owner=Owner(again.entry, again.fence, "heir")))
        return seen

    monkeypatch.setattr(site.coordination, "stats", slow)
    eventually(lambda: Rescue(site.store, site.coordination).run() or site.job("a")["executor"] == "heir", within=5)
    assert seen(site.job("a")) == ("RUNNING", 2, 1, "heir")
