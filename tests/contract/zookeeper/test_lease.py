"""A session is ours until its lease ends, and the lease ends before the ensemble gives away what the session owns."""

from __future__ import annotations

from collections.abc import Callable

import gevent
import pytest
from kazoo.client import KazooClient

from geventjob.clock import boottime
from geventjob.coordination.base import CoordinationAway
from tests.contract.zookeeper.conftest import Member, Site, jobs
from tests.support.waiting import eventually
from tests.support.zookeeper_proxy import ZooKeeperProxy


@pytest.fixture
def way(site: Site) -> ZooKeeperProxy:
    return site.proxy()


def lease_and_gift(held: Member, kazoo: KazooClient, since: float, entry: str) -> tuple[float, float]:
    """Return the seconds until the holder knows that its claim is lost, and until the server gives the entry away."""
    node = entry.replace("entries", "taken")
    gone = gevent.spawn(lambda: (eventually(lambda: kazoo.exists(node) is None, within=15), boottime())[1])
    eventually(lambda: held.lost, within=15)
    lost = boottime()
    return lost - since, gone.get() - since


@pytest.mark.parametrize("timeout", [1.5, 2.5])
def test_when_the_server_falls_silent_the_lease_ends_before_the_claim_is_given_away(
    site: Site, way: ZooKeeperProxy, kazoo: KazooClient, record_property: Callable[[str, object], None], timeout: float
) -> None:
    remote = site.member("remote", timeout, way.hosts)
    (path,) = remote.put([("job/a", 1)])
    (claim,) = remote.take(1)
    gevent.sleep(0.3)
    since = boottime()
    way.go_silent()
    lost, given = lease_and_gift(remote, kazoo, since, path)
    record_property("lease over after", lost)
    record_property("claim given away after", given)
    print(f"timeout {timeout:g} s: lease over after {lost:.2f} s, claim given away after {given:.2f} s")
    assert timeout / 2 < lost < 0.75 * timeout + 0.25
    assert lost < given <= timeout + 1
    assert claim.lost
    assert remote.lost == [[claim]]
    assert remote.session is not None
    assert remote.session.over


def test_a_session_whose_lease_ended_is_never_used_again(site: Site, way: ZooKeeperProxy, member: Member) -> None:
    """The server has not ended the session yet. Requests in it are refused, and a new session begins."""
    remote = site.member("remote", 2.0, way.hosts)
    remote.put([("job/a", 1), ("job/b", 1)])
    claims = remote.take(2)
    first = remote.session
    way.go_silent()
    asking = [gevent.spawn(remote.consume, claims[:1]), gevent.spawn(remote.release, claims[1:])]
    eventually(lambda: remote.lost == [claims])
    for one in asking:
        with pytest.raises(CoordinationAway):
            one.get(timeout=5)
    with pytest.raises(CoordinationAway):
        remote.put([("job/c", 1)])
    remote.consume(claims)
    remote.release(claims)
    way.speak()
    eventually(lambda: remote.session is not first and len(remote.sessions) == 2)
    assert remote.session is remote.sessions[1]
    assert not remote.session.over
    assert first is not None
    assert first.over
    assert sorted(jobs(member.take(5, timeout=5))) == ["job/a", "job/b"]
    assert remote.lost == [claims]


def test_a_session_that_ended_at_the_server_is_known_within_a_probe(site: Site, member: Member) -> None:
    member.put([("job/a", 1)])
    claims = member.take(1)
    since = boottime()
    site.expire(member)
    eventually(lambda: member.lost == [claims])
    assert boottime() - since < 3  # a probe is sent each second, and the lease has 7.5
    eventually(lambda: len(member.sessions) == 2)
    assert jobs(member.take(1)) == ["job/a"]


def test_a_session_outlives_cuts_and_loses_nothing(site: Site, way: ZooKeeperProxy) -> None:
    remote = site.member("remote", 2.0, way.hosts)
    remote.put([("job/a", 1)])
    claims = remote.take(1)
    first = remote.session
    end = boottime() + 2.2
    while boottime() < end:
        way.cut()
        gevent.sleep(0.3)
    remote.consume(claims)
    assert remote.stats().entries == 0
    assert remote.session is first
    assert remote.lost == []


def test_a_silence_that_is_shorter_than_the_lease_loses_nothing(site: Site, way: ZooKeeperProxy) -> None:
    remote = site.member("remote", 6.0, way.hosts)  # kazoo gives up the connection after 2.4 s
    remote.put([("job/a", 1)])
    claims = remote.take(1)
    first = remote.session
    way.go_silent()
    gevent.sleep(1.2)
    way.speak()
    remote.consume(claims)
    assert remote.stats().entries == 0
    assert remote.session is first
    assert remote.lost == []


def test_a_slow_ensemble_is_no_reason_to_lose_a_session(site: Site, way: ZooKeeperProxy) -> None:
    """Each answer is 200 ms late, a tenth of the session timeout."""
    way.delay = 0.2
    remote = site.member("remote", 2.0, way.hosts)
    first = remote.session
    done: list[str] = []
    remote.put([(f"job/{n}", 1) for n in range(40)])
    end = boottime() + 4
    while len(done) < 40 and boottime() < end:
        claims = remote.take(20, timeout=2)
        done += jobs(claims)
        remote.consume(claims)
    assert sorted(done) == sorted(f"job/{n}" for n in range(40))
    assert remote.session is first
    assert remote.lost == []


def test_the_lease_is_counted_from_when_a_probe_was_sent_and_not_from_its_answer(
    site: Site, way: ZooKeeperProxy
) -> None:
    way.delay = 0.4
    remote = site.member("remote", 4.0, way.hosts)
    session = remote.session
    assert session is not None
    assert (
        session.lease <= boottime() - 3 * 0.4 + 0.75 * session.timeout
    )  # the handshake was the first of three requests
    for _ in range(20):
        assert session.lease <= boottime() - 0.4 + 0.75 * session.timeout
        gevent.sleep(0.05)


def test_the_timeout_is_the_one_that_the_server_grants(site: Site) -> None:
    short = site.unstarted(timeout=0.1)

    def started() -> bool:
        try:
            short.start()
        except CoordinationAway:  # a busy machine does not connect within 0.1 s; a later start works
            return False
        return True

    eventually(started)
    assert short.session is not None
    assert short.session.timeout == 0.5  # the shortest timeout of the server


def test_no_server_at_all_is_told_within_the_timeout(site: Site, way: ZooKeeperProxy) -> None:
    way.close()
    alone = site.unstarted("alone", 1.0, way.hosts)
    since = boottime()
    with pytest.raises(CoordinationAway, match=f"{way.hosts}: .*Connection refused"):
        alone.start()
    assert boottime() - since < 2


def test_a_silent_server_is_told_within_the_timeout_and_a_later_start_works(site: Site, way: ZooKeeperProxy) -> None:
    way.go_silent()
    late = site.unstarted("late", 1.0, way.hosts)
    since = boottime()
    with pytest.raises(CoordinationAway):
        late.start()
    assert boottime() - since < 3
    way.speak()
    late.start()
    assert late.session is not None
    assert not late.session.over


def test_to_close_takes_no_time_though_the_server_is_silent(site: Site, way: ZooKeeperProxy) -> None:
    remote = site.member("remote", 4.0, way.hosts)
    remote.put([("job/a", 1)])
    (claim,) = remote.take(1)
    way.go_silent()
    since = boottime()
    remote.close()
    assert boottime() - since < 2
    assert claim.lost
    assert remote.lost == []  # a close calls no listener
    with pytest.raises(CoordinationAway):
        remote.put([("job/a", 1)])
