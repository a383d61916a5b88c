"""A ZooKeeper that was restored from an older copy: clients connect again, and jobs come back under new entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from geventjob.clock import now
from geventjob.coordination.base import Claim, CoordinationAway
from geventjob.server.jobs.lifecycle import Edit, Owner
from geventjob.server.jobs.stops import stopped
from geventjob.server.leaders.reconcile import Report
from geventjob.server.life.changes import entry_of
from geventjob.server.store.base import Update
from geventjob.server.store.sqlite import SqliteStore
from tests.contract.test_reconcile import Both
from tests.contract.zookeeper.conftest import Site
from tests.support.waiting import eventually
from tests.support.zookeeper import Ensemble, running


@pytest.fixture(params=[1, 3])
def own(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Yield servers for one test alone."""
    with running(Ensemble(request.param)) as ensemble:
        made = Site(ensemble)
        yield made
        made.close()


def test_clients_of_a_restored_zookeeper_get_in_and_jobs_come_back(
    own: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    member = own.unstarted("member", timeout=3.0)
    both = Both(SqliteStore(tmp_path / "store.db"), member)
    old = {name: both.add(name) for name in ("waits", "runs", "stops")}
    copy = own.ensemble.copy_data()
    entries = again(lambda: member.put([("job/later", 1)]))
    for _ in range(60):  # changes that the copy lacks
        again(lambda: member.remove(entries))
    begun = take(member, 3)
    for name in ("runs", "stops"):
        begin(both, name, begun[name])
    both.store.write([Update("job/stops", lambda job: stopped(job, now=now()))])

    own.ensemble.restore_data(copy)
    taken = take(member, 3)
    assert eventually(lambda: caplog.text.count("ZooKeeper has gone back from change")) == 1
    assert {name: claim.entry for name, claim in taken.items()} == old
    assert taken["runs"].fence < begun["runs"].fence
    with pytest.raises(AssertionError, match="not, or no longer, owned"):
        begin(both, "runs", taken["runs"])

    assert both.run() == Report(jobs=3, requeued=2)
    assert both.run() == Report(jobs=3)
    assert caplog.text.count("have entries older than their last claim") == 1
    for name in ("runs", "stops"):
        with pytest.raises(AssertionError, match="is queued as"):
            begin(both, name, taken[name])
        with pytest.raises(AssertionError, match=r"is queued as|no longer, owned"):
            both.edit(name, Edit({"state": "SUCCESS"}, owner=owner(begun[name])))
        assert entry_of(both.job(name)) != old[name]
    member.consume(list(taken.values()))
    fresh = take(member, 2)
    assert begin(both, "runs", fresh["runs"])["attempts"] == 2
    assert both.edit("stops", Edit({"state": "STOPPED"}, owner=owner(fresh["stops"])))["state"] == "STOPPED"
    both.store.close()


def test_the_entry_of_a_job_that_nobody_holds_is_replaced_at_once(site: Site, tmp_path: Path) -> None:
    """An entry that its owner began in good order, or that no copy has made older, stays."""
    both = Both(SqliteStore(tmp_path / "store.db"), site.unstarted(timeout=1.0))
    for name in ("older", "owned", "new"):
        both.add(name)
    claims = take(both.coordination, 2)
    begin(both, "owned", claims["owned"])
    later = Owner(claims["older"].entry, claims["older"].fence + 1_000_000, "lost")  # as before the restore
    both.edit("older", Edit({"state": "RUNNING"}, owner=later))
    both.coordination.release([claims["older"]])
    assert both.run(dry=True) == Report(jobs=3, requeued=1)
    assert both.run() == Report(jobs=3, requeued=1)
    assert sorted(both.queue()) == ["new", "older", "owned"]
    assert both.run() == Report(jobs=3)
    both.store.close()


def owner(claim: Claim) -> Owner:
    return Owner(claim.entry, claim.fence, "member")


def begin(both: Both, name: str, claim: Claim) -> dict[str, Any]:
    return both.edit(name, Edit({"state": "RUNNING"}, owner=owner(claim)))


def again(call: Callable[[], list[Any]]) -> list[Any]:
    """Call as a server does: again while coordination is away."""

    def tried() -> list[Any]:
        try:
            return call()
        except CoordinationAway:
            return []

    return eventually(tried, within=30)


def take(member: Any, count: int) -> dict[str, Claim]:
    """Take a number of entries in one session. Return the claims by the names of their jobs."""
    claims: list[Claim] = []
    with gevent.Timeout(60):
        while len(claims) < count:
            claims = [claim for claim in claims if not claim.lost] + member.take(count - len(claims), timeout=1)
    return {claim.job.removeprefix("job/"): claim for claim in claims}
