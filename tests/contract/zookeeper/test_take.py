"""Takes: their order, their transactions, the parts of takers, and the frequency of lists."""

from __future__ import annotations

import random
import time

import gevent
import pytest
from kazoo.client import KazooClient

from geventjob.coordination.zookeeper import transactions
from tests.contract.zookeeper.conftest import Member, Site, jobs
from tests.support.waiting import eventually
from tests.support.zookeeper_proxy import GET_CHILDREN, GET_EPHEMERALS, MULTI, MULTI_READ, ZooKeeperProxy


@pytest.fixture
def way(site: Site) -> ZooKeeperProxy:
    return site.proxy()


@pytest.fixture
def counted(site: Site, way: ZooKeeperProxy) -> Member:
    """Return a member whose requests are counted."""
    return site.member("counted", hosts=way.hosts, timeout=10.0)


def put_by_name(kazoo: KazooClient, *names: str) -> None:
    for name in names:
        kazoo.create(f"/job/entries/{name}", name.encode())


# --- order and junk


def test_the_order_goes_on_when_the_sequence_wraps(member: Member, kazoo: KazooClient) -> None:
    """The names are those that ZooKeeper makes of its signed counter, `%010d`."""
    counter = [2147483645, 2147483646, 2147483647, -2147483648, -2147483647, -2000000000]
    names = [f"entry-100-{number:010d}" for number in counter]
    assert names[3] == "entry-100--2147483648"
    put_by_name(kazoo, *random.Random(1).sample(names, len(names)), "entry-099--2147483640", "entry-101-2147483640")
    claims = member.take(10)
    assert jobs(claims) == ["entry-099--2147483640", *names, "entry-101-2147483640"]
    member.consume(claims)
    assert member.stats().entries == 0


def test_the_order_goes_on_when_the_sequence_passes_zero_again(member: Member, kazoo: KazooClient) -> None:
    names = [f"entry-100-{number:010d}" for number in (-11, -2, -1, 0, 1, 10)]
    assert names[2] == "entry-100--000000001"
    put_by_name(kazoo, *random.Random(2).sample(names, len(names)))
    assert [waiting.job for waiting in member.stats().head] == names
    paths = [f"/job/entries/{name}" for name in names]
    assert member.standing(paths) == [True] * 6
    assert member.remove(paths[:1]) == [True]
    assert jobs(member.take(10)) == names[1:]


@pytest.mark.parametrize(
    ("data", "job"),
    [
        (b"", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"no job id, \0 but text", "no job id, \0 but text"),
        (b"x" * 900_000, "x" * 900_000),
    ],
)
def test_an_entry_with_any_data_is_taken_as_it_is(member: Member, kazoo: KazooClient, data: bytes, job: str) -> None:
    path = kazoo.create("/job/entries/entry-100-", data, sequence=True)
    member.put([("job/a", 100)])
    claims = member.take(5)
    assert jobs(claims) == [job, "job/a"]
    assert kazoo.get(path)[0] == data
    member.release(claims)
    assert jobs(member.take(1)) == [job]


def test_names_that_are_no_entries_are_left_alone(member: Member, kazoo: KazooClient) -> None:
    junk = [
        *("junk", "entry-", "entry-1-0000000001", "entry-100-000000001", "entry-100-00000000001", "entry-100-"),
        *("entry-abc-0000000001", "Entry-100-0000000001", "entry-100-0000000001.x", "xentry-100-0000000001"),
        *("entry-100--0000000001", "entry-100-+000000001", "entry-100-\u0661000000001", "\u00fc" * 100),
    ]
    put_by_name(kazoo, *junk)
    kazoo.create("/job/taken/junk", b"")
    member.put([("job/a", 100)])
    claims = member.take(100)
    assert jobs(claims) == ["job/a"]
    assert member.take(100, timeout=0) == []
    assert member.stats().entries == 1
    member.consume(claims)
    assert sorted(kazoo.get_children("/job/entries")) == sorted(junk)
    assert kazoo.get_children("/job/taken") == ["junk"]


def test_an_entry_that_may_not_be_read_holds_up_nobody(member: Member, kazoo: KazooClient) -> None:
    from kazoo.security import make_digest_acl

    locked = [make_digest_acl("somebody", "else", all=True)]
    kazoo.create("/job/entries/entry-001-0000000001", b"job/locked", acl=locked)
    member.put([("job/a", 100)])
    assert jobs(member.take(5)) == ["job/a"]
    member.put([("job/b", 100)])
    assert jobs(member.take(5)) == ["job/b"]


def test_what_was_left_alone_is_taken_when_it_is_so_no_longer(member: Member) -> None:
    """Nothing else changes in the queue, and the take waits by a watch."""
    paths = member.put([("job/a", 1), ("job/b", 1)])
    assert member.take(5, exclude=paths, timeout=0.5) == []
    assert jobs(member.take(5, exclude=paths[:1], timeout=2)) == ["job/b"]


# --- transactions


def test_takes_go_in_transactions_of_two_hundred(counted: Member, member: Member, way: ZooKeeperProxy) -> None:
    member.put([(f"job/{n}", 1) for n in range(450)])
    before = way.requests.copy()
    claims = counted.take(450)
    assert jobs(claims) == [f"job/{n}" for n in range(450)]
    spent = way.requests - before
    assert (spent[MULTI_READ], spent[MULTI] - spent[GET_EPHEMERALS]) == (1, 3)
    before = way.requests.copy()
    counted.consume(claims)
    spent = way.requests - before
    assert spent[MULTI] - spent[GET_EPHEMERALS] == 3
    assert member.stats().entries == 0


def test_takes_of_much_data_go_in_transactions_of_bounded_size(
    counted: Member, kazoo: KazooClient, way: ZooKeeperProxy
) -> None:
    for _ in range(8):
        kazoo.create("/job/entries/entry-100-", b"x" * 100_000, sequence=True)
    before = way.requests.copy()
    assert len(counted.take(8)) == 8
    spent = way.requests - before
    assert spent[MULTI] - spent[GET_EPHEMERALS] == 4
    assert transactions.BYTES == 256 * 1024


def test_what_others_took_meanwhile_is_left_out_and_the_rest_taken(
    site: Site, counted: Member, member: Member, way: ZooKeeperProxy
) -> None:
    """Of 200 candidates in hand, 20 are gone and others hold 20 when the take begins."""
    paths = member.put([(f"job/{n}", 1) for n in range(201)])
    assert jobs(counted.take(1)) == ["job/0"]
    dice = random.Random(3)
    lost = dice.sample(paths[1:], 40)
    assert all(member.remove(lost[:20]))
    others = site.member("others")
    held = others.take(20, exclude=set(paths) - set(lost[20:]))
    assert len(held) == 20
    claims = counted.take(200)
    while len(claims) < 160:
        claims += counted.take(200, timeout=5)
    expected = [path for path in paths[1:] if path not in lost]
    assert sorted(claim.entry for claim in claims) == sorted(expected)
    assert counted.take(200, timeout=0) == []
    counted.consume(claims)
    assert dict(member.stats().holders) == {"counted": 1, "others": 20}


def test_the_oldest_entries_cost_no_request(site: Site, member: Member) -> None:
    spent = []
    for name, share in (("plain", 0), ("aged", 8)):
        way = site.proxy()
        counted = site.member(name, hosts=way.hosts, timeout=10.0, age_share=share)
        member.put([(f"job/{n}", n % 2) for n in range(300)])
        claims = counted.take(100)
        before = way.requests.copy()
        for _ in range(2):
            claims += counted.take(100)
        spent.append(way.requests - before)
        assert (len(claims), counted.collisions) == (300, 0)
        counted.consume(claims)
    plain, aged = ({kind: of[kind] - of[GET_EPHEMERALS] * (kind == MULTI) for kind in of} for of in spent)
    assert [plain.get(kind, 0) for kind in (MULTI_READ, MULTI)] == [aged.get(kind, 0) for kind in (MULTI_READ, MULTI)]


# --- who takes which


def test_many_who_take_a_deep_queue_part_it_and_hardly_race(site: Site, member: Member) -> None:
    total = 2000
    member.put([(f"job/{n}", n % 3) for n in range(total)])
    members = [site.member() for _ in range(4)]
    done: list[str] = []

    def work(one: Member) -> None:
        while len(done) < total:
            claims = one.take(20, timeout=1)
            done.extend(jobs(claims))
            one.consume(claims)

    gevent.joinall([gevent.spawn(work, one) for one in members], timeout=120, raise_error=True)
    assert sorted(done) == sorted(f"job/{n}" for n in range(total))
    # 60 at the start, when no taker knows the others; of 90 runs one had 134.
    assert sum(one.collisions for one in members) < total / 5
    urgent = [n for n, job in enumerate(done) if int(job.split("/")[1]) % 3 == 0]
    # Priorities hold for the fleet as a whole. A third of its jobs is urgent: no member runs far ahead.
    assert max(urgent) < 0.7 * total


def test_after_a_race_one_entry_is_tried_by_one_alone(site: Site, member: Member) -> None:
    """Four members wait. Each put wakes all; from the second put on, one member tries to take."""
    members = [site.member() for _ in range(4)]
    done: list[str] = []

    def work(one: Member) -> None:
        while len(done) < 15:
            claims = one.take(20, timeout=0.7)
            done.extend(jobs(claims))
            one.consume(claims)

    workers = [gevent.spawn(work, one) for one in members]
    gevent.sleep(0.2)
    for n in range(15):
        member.put([(f"job/{n}", 1)])
        eventually(lambda n=n: len(done) == n + 1)
        gevent.sleep(0.06)
    gevent.joinall(workers, raise_error=True)
    # Without notices of races: three for each entry. On a busy machine a notice may come late (15 were seen).
    assert sum(one.collisions for one in members) < 2 * 15


def test_what_is_the_part_of_one_who_does_not_take_is_taken_by_the_others(
    site: Site, member: Member, kazoo: KazooClient
) -> None:
    """The folder has nodes of takers without a process, and there was a race, so that the head is shared."""
    for n in range(3):
        kazoo.create(f"/takers/nobody-{n}", b"", ephemeral=True)
    assert member.take(1, timeout=0.1) == []
    kazoo.set("/takers", b"")
    member.put([(f"job/{n}", 1) for n in range(100)])
    began = time.monotonic()
    taken: list[str] = []
    while len(taken) < 100:
        taken += jobs(member.take(10, timeout=5))
    assert sorted(taken) == sorted(f"job/{n}" for n in range(100))
    assert time.monotonic() - began < 5


# --- the node of a taker


def test_who_takes_is_among_the_takers_and_soon_after_no_more(member: Member, kazoo: KazooClient) -> None:
    assert kazoo.get_children("/takers") == []
    take = gevent.spawn(member.take, 1)
    eventually(lambda: kazoo.get_children("/takers") == [member.name], within=5)
    data, stat = kazoo.get(f"/takers/{member.name}")
    assert (data, stat.ephemeralOwner) == (b"", member.identity)
    gevent.sleep(1)
    assert kazoo.get_children("/takers") == [member.name]
    member.interrupt()
    take.join()
    eventually(lambda: kazoo.get_children("/takers") == [], within=5)


def test_who_takes_by_turns_stays_among_the_takers(member: Member, kazoo: KazooClient) -> None:
    member.put([("job/a", 1)])
    member.release(member.take(1))
    czxid = kazoo.get(f"/takers/{member.name}")[1].czxid
    for _ in range(8):
        gevent.sleep(0.1)
        member.release(member.take(1))
    assert kazoo.get(f"/takers/{member.name}")[1].czxid == czxid


def test_a_taker_whose_node_is_removed_comes_back(member: Member, kazoo: KazooClient) -> None:
    take = gevent.spawn(member.take, 1)
    eventually(lambda: kazoo.get_children("/takers"))
    kazoo.delete(f"/takers/{member.name}")
    eventually(lambda: kazoo.get_children("/takers") == [member.name], within=5)
    member.interrupt()
    take.join()


def test_a_taker_is_there_again_in_the_next_session(site: Site, member: Member, kazoo: KazooClient) -> None:
    member.take(1, timeout=0)
    site.expire(member)
    eventually(lambda: len(member.sessions) == 2)
    take = gevent.spawn(member.take, 1)
    eventually(lambda: kazoo.get_children("/takers") == [member.name], within=5)
    member.put([("job/a", 1)])
    assert jobs(take.get(timeout=5)) == ["job/a"]


# --- how often the queue is listed, and watched


def test_the_queue_is_not_listed_more_often_than_allowed(site: Site, member: Member, way: ZooKeeperProxy) -> None:
    counted = site.member("counted", hosts=way.hosts, relist_interval=0.2)
    done: list[str] = []
    began = time.monotonic()

    def put() -> None:
        for n in range(100):
            member.put([(f"job/{n}", 1)])
            gevent.sleep(0.01)

    putting = gevent.spawn(put)
    before = way.requests[GET_CHILDREN]
    while len(done) < 100:
        claims = counted.take(50, timeout=5)
        done += jobs(claims)
        counted.consume(claims)
    putting.get()
    lists = (
        way.requests[GET_CHILDREN] - before
    ) / 2  # lists of entries and of taken nodes; takers have another request
    assert lists <= (time.monotonic() - began) / 0.2 * 2 + 2  # a list that leaves watches may need two requests
    assert done == [f"job/{n}" for n in range(100)]


def test_many_takes_are_served_from_one_list(counted: Member, member: Member, way: ZooKeeperProxy) -> None:
    member.put([(f"job/{n}", 1) for n in range(60)])
    before = way.requests[GET_CHILDREN]
    began = time.monotonic()
    taken = [jobs(counted.take(1))[0] for _ in range(60)]
    assert taken == [f"job/{n}" for n in range(60)]
    assert (way.requests[GET_CHILDREN] - before) / 2 <= 3 + (time.monotonic() - began) / 0.05 / 2


def test_an_urgent_entry_is_not_passed_over_for_long_by_candidates_in_hand(site: Site, member: Member) -> None:
    member.put([(f"job/{n}", 100) for n in range(200)])
    slow = site.member("slow")
    assert jobs(slow.take(1)) == ["job/0"]
    member.put([("job/urgent", 0)])
    began = time.monotonic()
    while "job/urgent" not in jobs(slow.take(1)):
        assert time.monotonic() - began < 3
        gevent.sleep(0.1)


def test_watches_are_there_only_while_one_waits(site: Site, member: Member, kazoo: KazooClient) -> None:
    """On the entries while nothing can be taken, on the taken nodes while every entry is held."""

    def watches() -> int:
        figures = dict(line.split("\t") for line in site.ensemble.servers[0].ask("mntr").splitlines())
        return int(figures["zk_watch_count"])

    other = site.member("other")
    eventually(lambda: watches() == 0)  # watches of earlier tests go with their connections
    take = gevent.spawn(member.take, 1)
    eventually(lambda: watches() == 1)
    other.put([("job/a", 1), ("job/b", 1)])
    (claim,) = take.get(timeout=5)
    assert watches() == 0
    held = other.take(1)
    take = gevent.spawn(member.take, 1)
    eventually(lambda: watches() == 2)
    other.release(held)
    assert jobs(take.get(timeout=5)) == ["job/b"]
    assert not claim.lost


def test_a_waiting_take_costs_next_to_nothing(member: Member, site: Site, way: ZooKeeperProxy) -> None:
    counted = site.member("counted", hosts=way.hosts, timeout=10.0)
    take = gevent.spawn(counted.take, 1)
    gevent.sleep(0.3)
    before = way.requests.copy()
    gevent.sleep(1.5)
    spent = way.requests - before
    assert spent.total() <= 2 * spent[GET_EPHEMERALS]
    assert spent[GET_EPHEMERALS] <= 2
    counted.interrupt()
    take.join()
