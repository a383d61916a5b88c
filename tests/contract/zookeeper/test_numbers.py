"""Sequence numbers near their end: the queue goes on, in order, also for old engines."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from kazoo.client import KazooClient
from kazoo.security import make_digest_acl

from geventjob.coordination.zookeeper.numbers import NUMBERS, OWN, RENEW, WARN
from tests.contract.zookeeper.conftest import Site, jobs
from tests.support.waiting import eventually
from tests.support.zookeeper import Ensemble, running

UNCHECKED: dict[str, Any] = {"digest.enabled": "false"}

BEGINNINGS = {
    "a quarter": RENEW,
    "half": WARN + 1,
    "nearly ours": OWN - 3,
    "ours": OWN,
    "nearly the end": NUMBERS - 2,
    "the end": NUMBERS - 1,
}


@pytest.fixture(scope="module")
def prepared() -> Iterator[dict[str, Site]]:
    """Yield a server with a root for each of the BEGINNINGS, the numbers of used sequences."""
    with running(Ensemble(**UNCHECKED)) as ensemble:
        sites = {name: Site(ensemble) for name in BEGINNINGS}
        used = {}
        for name, site in sites.items():
            member = site.member()
            member.send("worker", {})
            used[f"{site.root}/job/entries"] = BEGINNINGS[name]
            used[f"{site.root}/inbox/worker"] = BEGINNINGS[name]
            used[f"{site.root}/job/taken"] = used[f"{site.root}/takers"] = NUMBERS - 1  # nodes there need no number
            for message in site.kazoo().get_children("/inbox/worker"):
                site.kazoo().delete(f"/inbox/worker/{message}")
            site.close()
        ensemble.set_numbers(used)
        yield sites


@pytest.fixture
def site(prepared: dict[str, Site], request: pytest.FixtureRequest) -> Iterator[Site]:
    made = Site(prepared["half"].ensemble)
    made.root = prepared[request.param].root
    yield made
    made.close()


def numbers(paths: list[str]) -> list[int]:
    return [int(path[-10:]) for path in paths]


@pytest.mark.parametrize("site", ["a quarter"], indirect=True)
def test_an_empty_folder_is_made_anew_and_old_engines_that_wait_go_on(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    server, kazoo = site.member("server"), site.kazoo()
    acl = [*kazoo.get_acls("/job/entries")[0], make_digest_acl("somebody", "else", read=True)]
    kazoo.set_acls("/job/entries", acl)
    queue = site.kazoo().LockingQueue("/job")
    waiting = gevent.spawn(queue.get, 30)
    eventually(lambda: "zk_watch_count\t2" in site.ensemble.servers[0].ask("mntr"))  # one watch on each folder
    executor = site.member("executor")
    taking = gevent.spawn(executor.take, 1)
    assert eventually(lambda: "was made anew" in caplog.text)
    assert kazoo.get_acls("/job/entries")[0] == acl

    one, two = server.put([("job/a", 1), ("job/b", 1)])
    assert numbers([one, two]) == [0, 1]
    got = {waiting.get(timeout=10).decode(), *jobs(taking.get(timeout=10))}
    assert got == {"job/a", "job/b"}
    assert queue.consume()
    queue.put(b"job/c", 1)  # as SlipStream's server does
    assert jobs(executor.take(1, timeout=10)) == ["job/c"]


@pytest.mark.parametrize("site", ["half"], indirect=True)
def test_half_of_the_numbers_is_warned_of_once_a_day_and_shown(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    server = site.member()
    for _ in range(3):
        server.put([("job/a", 1)])
    assert caplog.text.count("50 % of the sequence numbers of /job/entries are used") == 1
    assert server.stats().numbers == pytest.approx(0.5, abs=0.01)
    caplog.set_level(logging.INFO)
    executor = site.member()
    executor.consume(executor.take(3, timeout=0))
    assert "was made anew" not in caplog.text  # no process has seen an empty queue
    executor.take(1, timeout=0)
    assert "was made anew" in caplog.text
    assert server.stats().numbers == 0.0


@pytest.mark.parametrize("site", ["nearly ours", "ours", "nearly the end", "the end"], indirect=True)
def test_a_queue_that_is_never_empty_goes_on_in_order(site: Site) -> None:
    one, two, old = site.member("one"), site.member("two"), site.kazoo()
    paths = []
    for number in range(12):
        paths += (one, two)[number % 2].put([(f"job/{number}", 5)])
    paths += two.put([(f"job/{number}", 5) for number in range(12, 300)])
    assert len(set(paths)) == 300
    expected = [f"job/{number}" for number in range(300)]
    assert [
        old.get(f"/job/entries/{name}")[0].decode() for name in sorted(old.get_children("/job/entries"))
    ] == expected
    assert one.jobs(paths) == expected
    assert [waiting.job for waiting in one.stats(300).head] == expected
    assert one.remove(paths[-1:]) == [True]
    assert old.LockingQueue("/job").get(10) == b"job/0"
    executor = site.member("executor")
    claims = executor.take(298, timeout=0)
    assert jobs(claims) == expected[1:-1]
    executor.consume(claims)


@pytest.mark.parametrize("site", ["ours"], indirect=True)
def test_servers_that_put_at_once_get_numbers_of_their_own_each(site: Site) -> None:
    servers = [site.member() for _ in range(3)]
    puts = [gevent.spawn(server.put, [(f"job/{n}", 1) for n in range(5)]) for server in servers for _ in range(4)]
    paths = [path for put in gevent.joinall(puts, raise_error=True) for path in put.value]
    assert len(set(paths)) == 60
    assert servers[0].stats().entries >= 60
    empty(site.kazoo())
    executor = site.member("executor")
    executor.take(1, timeout=0)
    assert numbers(servers[0].put([("job/a", 1)])) == [0]
    assert numbers(servers[1].put([("job/b", 1)])) == [1]


def empty(client: KazooClient) -> None:
    for folder in ("taken", "entries"):
        for name in client.get_children(f"/job/{folder}"):
            client.delete(f"/job/{folder}/{name}")


@pytest.mark.parametrize("site", ["a quarter"], indirect=True)
def test_an_inbox_is_made_anew_when_it_is_empty(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    worker, other = site.member("worker"), site.member("other")
    heard: list[dict[str, int]] = []
    worker.listen(heard.append)
    eventually(lambda: "/inbox/worker was made anew" in caplog.text)
    other.send("worker", {"n": 1})
    eventually(lambda: heard == [{"n": 1}])
