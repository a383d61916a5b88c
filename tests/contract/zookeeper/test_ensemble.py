"""Three servers: the contract over them, and failures of some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from geventjob.clock import boottime
from geventjob.coordination.base import CoordinationAway
from tests.contract.coordination.conftest import fleet, member, other  # noqa: F401
from tests.contract.coordination.fleets import Fleet, ZooKeeperFleet
from tests.contract.coordination.test_elections import (  # noqa: F401
    test_those_who_stand_lead_in_the_order_in_which_they_came,
    test_what_is_remembered_is_recalled_by_all,
    test_who_waits_stands_again_in_the_next_session,
)
from tests.contract.coordination.test_inbox import test_messages_are_handled_in_order  # noqa: F401
from tests.contract.coordination.test_presence import (  # noqa: F401
    test_a_name_that_becomes_free_is_had,
    test_members_see_each_other_in_their_roles,
)
from tests.contract.coordination.test_queue import (  # noqa: F401
    test_a_look_shows_the_head_of_the_queue_and_who_holds_what,
    test_a_take_that_waits_gets_what_a_closed_member_held,
    test_an_end_that_is_told_twice_is_one,
    test_entries_are_taken_by_priority_and_then_in_the_order_of_their_putting,
    test_interrupts_and_kills_at_any_moment_lose_no_entry,
    test_members_that_take_at_once_share_the_queue_without_an_entry_twice,
    test_what_nobody_holds_can_be_removed,
)
from tests.contract.coordination.test_sessions import (  # noqa: F401
    test_who_is_cut_off_knows_that_its_session_is_over_before_anybody_is_given_its_claims,
    test_with_a_session_all_its_claims_are_lost_once_and_a_new_one_works,
)
from tests.contract.zookeeper.conftest import Member, Site, jobs
from tests.support.waiting import eventually
from tests.support.zookeeper import Ensemble, running


@pytest.fixture(scope="module")
def three() -> Iterator[Ensemble]:
    # A server that is cut off from the others goes on answering reads for `sync` ticks: 3 s.
    with running(Ensemble(3, sync=12)) as ensemble:
        yield ensemble


@pytest.fixture
def fleets(three: Ensemble, tmp_path: Path) -> Iterator[Callable[[], Fleet]]:
    """Yield fleets for the tests of the contract. Each member is at another server."""
    made: list[Fleet] = []

    def make() -> Fleet:
        made.append(ZooKeeperFleet(tmp_path, three))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def servers(three: Ensemble) -> Iterator[Site]:
    """Yield a root of its own. In the end all three servers work again."""
    made = Site(three)
    yield made
    for server in three.servers:
        if server.running:
            server.thaw()
        else:
            server.start()
    for server in three.servers:
        server.await_ready()
    made.close()


def busy(members: list[Member], done: list[str], total: int) -> list[gevent.Greenlet[..., Any]]:
    """Take and consume until all is done."""

    def work(one: Member) -> None:
        while len(done) < total:
            claims = one.take(3, timeout=0.2)
            done.extend(jobs(claims))
            gevent.sleep(0.02)
            while claims:
                try:
                    one.consume(claims)
                    break
                except CoordinationAway:
                    gevent.sleep(0.05)

    return [gevent.spawn(work, one) for one in members]


def test_servers_are_started_again_one_after_another_under_takes(servers: Site) -> None:
    members = [servers.member(timeout=20.0) for _ in range(2)]
    members[0].put([(f"job/{n}", 1) for n in range(600)])
    done: list[str] = []
    workers = busy(members, done, 600)
    for server in servers.ensemble.servers:
        before = len(done)
        server.kill()
        server.start()
        server.await_ready()
        eventually(lambda before=before: len(done) > before or len(done) == 600)
    gevent.joinall(workers, raise_error=True)
    assert sorted(done) == sorted(f"job/{n}" for n in range(600))
    assert members[0].stats().entries == 0
    assert [one.lost for one in members] == [[], []]
    assert [len(one.sessions) for one in members] == [1, 1]


def test_the_death_of_the_leader_loses_nothing(servers: Site) -> None:
    members = [servers.member(timeout=20.0) for _ in range(2)]
    members[0].put([(f"job/{n}", 1) for n in range(200)])
    done: list[str] = []
    workers = busy(members, done, 200)
    eventually(lambda: done)
    servers.ensemble.leader.kill()
    gevent.joinall(workers, raise_error=True)
    assert sorted(done) == sorted(f"job/{n}" for n in range(200))
    assert [one.lost for one in members] == [[], []]


def test_without_a_majority_the_lease_ends_and_with_it_all_goes_on(servers: Site) -> None:
    one = servers.member("one", timeout=2.0)
    one.put([("job/a", 1)])
    claims = one.take(1)
    first = one.session
    followers = [server for server in servers.ensemble.servers if not server.leads()]
    for server in followers:
        server.kill()
    since = boottime()
    eventually(lambda: one.lost == [claims])
    assert boottime() - since < 2.0
    with pytest.raises(CoordinationAway):
        one.put([("job/b", 1)])
    assert one.take(1, timeout=0) == []
    for server in followers:
        server.start()
    eventually(lambda: len(one.sessions) == 2, within=30)
    assert one.session is not first
    assert jobs(one.take(1, timeout=10)) == ["job/a"]


def test_a_majority_that_is_back_within_the_lease_loses_nothing(servers: Site) -> None:
    one = servers.member("one", timeout=60.0)
    one.put([("job/a", 1)])
    claims = one.take(1)
    followers = [server for server in servers.ensemble.servers if not server.leads()]
    for server in followers:
        server.kill()
    eventually(lambda: not one._ensemble.now().live.is_set())
    for server in followers:
        server.start()
    one.consume(claims)
    assert one.stats().entries == 0
    assert (one.lost, len(one.sessions)) == ([], 1)


def test_reads_from_a_server_that_is_cut_off_do_not_prolong_a_lease(servers: Site) -> None:
    """The other servers end the session of its client, and the server does not know."""
    alone = next(server for server in servers.ensemble.servers if not server.leads())
    hosts = f"127.0.0.1:{alone.port}"
    one = servers.member("one", timeout=2.5, hosts=hosts)
    one.put([("job/a", 1)])
    (claim,) = one.take(1)
    reader = servers.kazoo(hosts=hosts + servers.root)
    for server in servers.ensemble.servers:
        if server is not alone:
            server.freeze()
    since = boottime()
    eventually(lambda: claim.lost, within=5)
    assert boottime() - since < 2.5
    assert reader.get_children_async("/job/taken").get(timeout=5) == [claim.entry.rpartition("/")[2]]


def test_when_one_server_falls_silent_another_serves_within_the_lease(servers: Site) -> None:
    """There is always something to send, so that kazoo itself would never notice."""
    ways = [servers.proxy(number) for number in range(3)]
    one = servers.member("one", timeout=3.0, hosts=",".join(way.hosts for way in ways))
    paths = one.put([("job/a", 1)])
    claims = one.take(1)
    first = one.session

    def ask() -> None:
        while True:
            try:
                one.standing(paths)
            except CoordinationAway:
                gevent.sleep(0.01)
            gevent.sleep(0.05)

    asking = [gevent.spawn(ask) for _ in range(5)]
    used = max(ways, key=lambda way: sum(way.requests.values()))
    used.go_silent()
    gevent.sleep(3.0)
    gevent.killall(asking)
    one.consume(claims)
    assert one.session is first
    assert (one.lost, one.stats().entries) == ([], 0)
