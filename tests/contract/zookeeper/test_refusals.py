"""Refusals of ZooKeeper that pass are waited out. An entry without permission is passed over."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.event import Event
from kazoo.client import KazooClient
from kazoo.security import OPEN_ACL_UNSAFE, make_digest_acl

from geventjob import backoff
from geventjob.coordination.member import announce, join
from geventjob.server.leaders.reconcile import Reconciler
from tests.contract.zookeeper.conftest import Member, Site, jobs
from tests.support.quota import Quota
from tests.support.waiting import eventually
from tests.support.zookeeper import Ensemble, running


@pytest.fixture(scope="module")
def bounded() -> Iterator[Ensemble]:
    """Yield a server that enforces quotas."""
    with running(Ensemble(enforceQuota="true")) as ensemble:
        yield ensemble


@pytest.fixture
def small(bounded: Ensemble) -> Iterator[Site]:
    made = Site(bounded)
    yield made
    made.close()


def quota_of(site: Site) -> Quota:
    return Quota(site.kazoo(hosts=site.ensemble.hosts), site.root)


def lines(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


def test_takes_that_a_full_quota_refuses_come_back_when_it_is_raised(
    small: Site, caplog: pytest.LogCaptureFixture
) -> None:
    server, executor = small.member("server"), small.member("executor")
    server.put([(f"job/{number}", 1) for number in range(10)])
    quota = quota_of(small)
    quota.leave(-2)  # the quota counts the nodes before the transaction
    assert executor.take(20, timeout=1.5) == []
    assert len(lines(caplog, "QuotaExceededError")) == 1
    quota.lift()
    assert jobs(executor.take(20, timeout=10)) == [f"job/{number}" for number in range(10)]
    assert lines(caplog, "recovered from: no entries can be taken")


def test_a_start_that_a_full_quota_refuses_waits_for_it_with_one_line(
    small: Site, caplog: pytest.LogCaptureFixture
) -> None:
    small.kazoo(hosts=small.ensemble.hosts).create(small.root)
    quota = quota_of(small)
    quota.leave(0)
    late, never = small.unstarted("late", timeout=2.0), Event()
    joining = gevent.spawn(lambda: join(late, never) and announce(late, "executors", {}, never))
    eventually(lambda: lines(caplog, "QuotaExceededError"))
    joining.join(2.5)
    assert not joining.ready()
    assert len(lines(caplog, "QuotaExceededError")) == 1
    quota.lift()
    assert joining.get(timeout=20) is True
    assert late.name in late.members("executors")


def test_announcing_waits_for_a_quota(small: Site) -> None:
    member = small.member("late")
    quota = quota_of(small)
    quota.leave(0)
    announcing = gevent.spawn(announce, member, "executors", {}, Event())
    announcing.join(0.5)
    assert not announcing.ready()
    quota.lift()
    assert announcing.get(timeout=10) is True


def test_a_reconciler_that_cannot_stand_for_election_waits(small: Site, caplog: pytest.LogCaptureFixture) -> None:
    member = small.member("server")
    quota = quota_of(small)
    quota.leave(0)
    compared = Event()
    keeper = Reconciler(SimpleNamespace(), member)  # type: ignore[arg-type]
    keeper.run = lambda **_: compared.set()  # type: ignore[method-assign,assignment]
    keeping = gevent.spawn(keeper.keep, 60)
    eventually(lambda: lines(caplog, "cannot stand for reconciler: QuotaExceededError"))
    keeping.join(1)
    assert not keeping.ready()
    assert len(lines(caplog, "QuotaExceededError")) == 1
    quota.lift()
    assert compared.wait(20)
    keeping.kill()


def test_a_reconciler_that_is_forbidden_the_election_lives_on(
    site: Site, member: Member, kazoo: KazooClient, caplog: pytest.LogCaptureFixture
) -> None:
    kazoo.set_acls("/election", [make_digest_acl("somebody", "else", all=True)])
    keeping = gevent.spawn(Reconciler(SimpleNamespace(), member).keep, 60)  # type: ignore[arg-type,call-overload]
    keeping.join(0.5)
    assert not keeping.ready()
    assert len(lines(caplog, "NoAuthError")) == 1
    keeping.kill()


def test_an_entry_that_is_not_for_us_is_left_alone_for_a_while(
    site: Site, member: Member, kazoo: KazooClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "FIRST_LEAVE", 0.2)
    theirs, _ = member.put([("job/theirs", 1), ("job/ours", 2)])
    kazoo.add_auth("digest", "somebody:else")
    kazoo.set_acls(theirs, [make_digest_acl("somebody", "else", all=True)])
    assert jobs(member.take(2)) == ["job/ours"]
    assert member.take(1, timeout=1) == []
    assert len(lines(caplog, "no permission; the entry is passed over")) == 1
    with caplog.at_level(logging.INFO):
        waiting = gevent.spawn(member.take, 1)
        gevent.sleep(0.1)
        kazoo.set_acls(theirs, OPEN_ACL_UNSAFE)
        assert jobs(waiting.get(timeout=10)) == ["job/theirs"]


# --- folders that are gone


@pytest.mark.parametrize("gone", ["/job", "/inbox", "/inbox/worker", "/election", "/takers", ""])
def test_folders_that_are_gone_are_made_anew_and_all_goes_on(
    site: Site, caplog: pytest.LogCaptureFixture, gone: str
) -> None:
    worker, other = site.member("worker", timeout=3.0), site.member("other", timeout=3.0)
    heard: list[dict[str, Any]] = []
    worker.listen(heard.append)
    other.send("worker", {"n": 1})
    eventually(lambda: heard)
    taking = gevent.spawn(worker.take, 1)
    gevent.sleep(0.1)
    delete(site.kazoo(hosts=site.ensemble.hosts), site.root + gone)

    assert sent(lambda: other.send("worker", {"n": 2}))
    eventually(lambda: {"n": 2} in heard)
    assert sent(lambda: other.put([("job/a", 1)]))
    assert jobs(taking.get(timeout=10)) == ["job/a"]
    assert other.lead("e", timeout=10)
    assert len(lines(caplog, "cannot be read: NoNodeError")) <= 1
    assert worker.session is not None
    assert not worker.session.over


def delete(client: KazooClient, path: str) -> None:
    """Delete nodes at once, with the nodes that are made meanwhile."""

    def below(path: str) -> list[str]:
        return [node for name in client.get_children(path) for node in below(f"{path}/{name}")] + [path]

    def gone() -> bool:
        transaction = client.transaction()
        for node in below(path):
            transaction.delete(node)
        return all(answer is True for answer in transaction.commit())

    eventually(gone)


def sent(call: Any) -> bool:
    """Call as a server does: again while coordination is away."""
    from geventjob.coordination.base import CoordinationAway

    def tried() -> bool:
        try:
            call()
        except CoordinationAway:
            return False
        return True

    return eventually(tried)
