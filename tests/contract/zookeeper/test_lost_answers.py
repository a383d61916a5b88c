"""Requests and answers that are lost with the connection: the server may or may not have done the work.

Nothing may be lost then, and no entry be given to two processes.
"""

from __future__ import annotations

from functools import partial

import gevent
import pytest
from kazoo.client import KazooClient

from geventjob.coordination.base import Coordination, CoordinationAway
from tests.contract.zookeeper.conftest import Member, Site, jobs
from tests.support.waiting import eventually
from tests.support.zookeeper_proxy import CREATE, DELETE, GET_EPHEMERALS, MULTI, SET_DATA, ZooKeeperProxy

TAKEN = b"/job/taken/"


@pytest.fixture
def way(site: Site) -> ZooKeeperProxy:
    return site.proxy()


@pytest.fixture
def remote(site: Site, way: ZooKeeperProxy) -> Member:
    """Return a member behind a proxy that loses answers."""
    return site.member("remote", hosts=way.hosts)


either_way = pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])


def names(paths: list[str]) -> list[str]:
    return [path.rpartition("/")[2] for path in paths]


# --- takes


@either_way
def test_a_take_brings_what_its_lost_answer_told(
    remote: Member, way: ZooKeeperProxy, member: Member, done: bool
) -> None:
    member.put([(f"job/{n}", 1) for n in range(20)])
    loss = way.lose_answer(MULTI, TAKEN, done=done)
    claims = remote.take(20, timeout=5)
    assert loss.happened.is_set()
    assert jobs(claims) == [f"job/{n}" for n in range(20)]
    assert remote.stats().holders == {"remote": 20}
    remote.consume(claims[:15])
    remote.release(claims[15:])
    assert jobs(member.take(20)) == [f"job/{n}" for n in range(15, 20)]
    assert remote.lost == []


def test_claims_of_a_lost_answer_have_the_fence_of_their_take(
    remote: Member, way: ZooKeeperProxy, member: Member, kazoo: KazooClient
) -> None:
    (path,) = member.put([("job/a", 1)])
    (first,) = member.take(1)
    member.release([first])
    loss = way.lose_answer(MULTI, TAKEN)
    (claim,) = remote.take(1, timeout=5)
    assert loss.happened.is_set()
    assert claim.fence == kazoo.get(path)[1].mzxid > first.fence
    assert abs(claim.put_at - first.put_at) < 0.001


def test_of_many_transactions_one_answer_is_lost_and_every_entry_is_given_once(
    remote: Member, way: ZooKeeperProxy, member: Member
) -> None:
    paths = member.put([(f"job/{n}", 1) for n in range(500)])
    loss = way.lose_answer(MULTI, b"/job/taken/" + names(paths)[250].encode())
    claims = remote.take(500, timeout=5)
    while len(claims) < 500:
        claims += remote.take(500, timeout=5)
    assert loss.happened.is_set()
    assert sorted(jobs(claims)) == sorted(f"job/{n}" for n in range(500))
    remote.consume(claims)
    assert member.stats().entries == 0


def test_what_is_found_for_a_process_that_takes_no_more_is_given_back(
    remote: Member, way: ZooKeeperProxy, member: Member
) -> None:
    member.put([("job/a", 1)])
    loss = way.lose_answer(MULTI, TAKEN)
    take = gevent.spawn(remote.take, 1)
    assert loss.happened.wait(5)
    take.kill()
    assert jobs(member.take(1, timeout=5)) == ["job/a"]
    assert remote.lost == []


def test_an_entry_that_is_gone_when_its_take_is_found_leaves_nothing_behind(
    remote: Member, way: ZooKeeperProxy, member: Member, kazoo: KazooClient
) -> None:
    (path,) = member.put([("job/a", 1)])
    loss = way.lose_answer(MULTI, TAKEN)
    take = gevent.spawn(remote.take, 1, timeout=2)
    assert loss.happened.wait(5)
    hold = way.hold_request(GET_EPHEMERALS)
    assert hold.reached.wait(5)
    kazoo.delete(path)
    hold.let_go()
    assert take.get(timeout=5) == []
    eventually(lambda: kazoo.get_children("/job/taken") == [])


def test_what_was_removed_by_hand_while_we_were_away_is_lost(
    remote: Member, way: ZooKeeperProxy, member: Member, kazoo: KazooClient
) -> None:
    member.put([("job/a", 1), ("job/b", 1)])
    a, b = remote.take(2)
    way.go_silent()
    kazoo.delete(a.entry.replace("entries", "taken"))
    way.cut()
    way.speak()
    eventually(lambda: remote.lost == [[a]])
    assert (a.revoked, a.lost, b.lost) == (True, True, False)
    (again,) = member.take(2)
    remote.consume([a, b])
    assert [(waiting.job, waiting.taken_by) for waiting in member.stats().head] == [("job/a", member.name)]
    assert again.job == "job/a"


def test_what_is_removed_by_hand_is_lost_soon_though_the_connection_stands(member: Member, kazoo: KazooClient) -> None:
    member.put([("job/a", 1), ("job/b", 1)])
    a, b = member.take(2)
    kazoo.delete(a.entry.replace("entries", "taken"))
    eventually(lambda: member.lost == [[a]], within=5)
    assert (a.revoked, b.lost) == (True, False)


# --- the end of claims


@either_way
@pytest.mark.parametrize(("end", "left"), [("consume", 0), ("release", 3)])
def test_an_end_whose_answer_was_lost_may_be_asked_for_again(
    remote: Member, way: ZooKeeperProxy, member: Member, end: str, left: int, done: bool
) -> None:
    member.put([(f"job/{n}", 1) for n in range(3)])
    claims = remote.take(3)
    loss = way.lose_answer(MULTI, TAKEN, done=done)
    with pytest.raises(CoordinationAway):
        getattr(remote, end)(claims)
    assert loss.happened.is_set()
    getattr(remote, end)(claims)
    assert (member.stats().entries, member.stats().taken) == (left, 0)
    assert remote.lost == []
    assert not any(claim.revoked for claim in claims)
    assert len(member.take(5, timeout=0)) == left
    getattr(remote, end)(claims)
    assert member.stats().taken == left


def test_an_end_goes_on_though_its_caller_is_killed(remote: Member, way: ZooKeeperProxy, member: Member) -> None:
    member.put([("job/a", 1), ("job/b", 1)])
    claims = remote.take(2)
    way.delay = 0.1
    for end, claim in ((remote.consume, claims[0]), (remote.release, claims[1])):
        ending = gevent.spawn(end, [claim])
        gevent.sleep(0.05)
        ending.kill()
    eventually(lambda: (member.stats().entries, member.stats().taken) == (1, 0), within=5)


def test_an_entry_that_is_gone_already_is_consumed_all_the_same(member: Member, kazoo: KazooClient) -> None:
    member.put([("job/a", 1), ("job/b", 1)])
    claims = member.take(2)
    kazoo.delete(claims[0].entry)
    member.consume(claims)
    assert (member.stats().entries, kazoo.get_children("/job/taken")) == (0, [])
    assert member.lost == []


# --- whoever adds jobs


def test_a_put_whose_answer_was_lost_may_be_repeated(remote: Member, way: ZooKeeperProxy, member: Member) -> None:
    loss = way.lose_answer(MULTI, b"job/a")
    with pytest.raises(CoordinationAway):
        remote.put([("job/a", 1)])
    assert loss.happened.is_set()
    (path,) = remote.put([("job/a", 1)])
    claims = member.take(5)
    assert jobs(claims) == ["job/a", "job/a"]
    assert claims[1].entry == path
    member.consume(claims)
    assert member.stats().entries == 0


@either_way
def test_a_removal_whose_answer_was_lost_may_be_repeated(
    remote: Member, way: ZooKeeperProxy, member: Member, done: bool
) -> None:
    paths = member.put([("job/a", 1), ("job/b", 1)])
    held = member.take(1)
    loss = way.lose_answer(MULTI, TAKEN, done=done)
    with pytest.raises(CoordinationAway):
        remote.remove(paths[1:])
    assert loss.happened.is_set()
    assert remote.remove(paths) == [False, True]
    assert member.stats().entries == 1
    assert not held[0].lost


# --- the others


def call(coordination: Coordination, what: str) -> object:
    return {
        "announce": partial(coordination.announce, "executors", {"slots": 2}),
        "save_note": partial(coordination.save_note, "e", {"tick": 2}),
        "send": partial(coordination.send, "somebody", {"n": 2}),
    }[what]()


@pytest.mark.parametrize(
    ("what", "operation", "node"),
    [
        ("announce", CREATE, b"/executors/remote"),
        ("announce", SET_DATA, b"/executors/remote"),
        ("save_note", CREATE, b"/distribution/e"),
        ("save_note", SET_DATA, b"/distribution/e"),
        ("send", CREATE, b"/inbox/somebody/msg-"),
    ],
)
def test_a_call_whose_answer_was_lost_may_be_repeated(
    site: Site, remote: Member, way: ZooKeeperProxy, member: Member, what: str, operation: int, node: bytes
) -> None:
    if operation == SET_DATA:
        remote.announce("executors", {"slots": 1})
        member.save_note("e", {"tick": 1})
    member.send("somebody", {"n": 1})
    loss = way.lose_answer(operation, node)
    with pytest.raises(CoordinationAway):
        call(remote, what)
    assert loss.happened.is_set()
    call(remote, what)
    if what == "announce":
        assert member.members("executors") == {"remote": {"slots": 2}}
    elif what == "save_note":
        assert member.load_note("e") == {"tick": 2}
    else:
        got: list[object] = []
        site.member("somebody").listen(got.append)
        eventually(lambda: len(got) == 3)
        assert got == [{"n": 1}, {"n": 2}, {"n": 2}]


@either_way
def test_a_candidate_whose_answer_was_lost_leads_all_the_same(
    remote: Member, way: ZooKeeperProxy, member: Member, kazoo: KazooClient, done: bool
) -> None:
    loss = way.lose_answer(CREATE, b"__lock__", done=done)
    leadership = remote.lead("e", timeout=5)
    assert loss.happened.is_set()
    assert leadership is not None
    assert leadership.held
    eventually(lambda: len(kazoo.get_children("/election/e")) == 1)
    leadership.resign()
    assert member.lead("e", timeout=2) is not None


@either_way
def test_a_resignation_whose_answer_was_lost_lets_another_lead(
    remote: Member, way: ZooKeeperProxy, member: Member, done: bool
) -> None:
    leadership = remote.lead("e")
    loss = way.lose_answer(DELETE, b"__lock__", done=done)
    with pytest.raises(CoordinationAway):
        leadership.resign()
    assert loss.happened.is_set()
    assert not leadership.held
    assert member.lead("e", timeout=2) is not None


@either_way
def test_a_message_whose_deletion_was_lost_is_not_handled_again(
    remote: Member, way: ZooKeeperProxy, member: Member, kazoo: KazooClient, done: bool
) -> None:
    got: list[object] = []
    loss = way.lose_answer(DELETE, b"/inbox/remote/", done=done)
    remote.listen(got.append)
    for n in range(3):
        member.send("remote", {"n": n})
    eventually(lambda: len(got) >= 3)
    assert loss.happened.is_set()
    eventually(lambda: kazoo.get_children("/inbox/remote") == [])
    assert got == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_all_goes_on_after_many_cuts(remote: Member, way: ZooKeeperProxy, member: Member) -> None:
    """The connection breaks again and again while both members put, take and consume entries."""
    total, done = 400, list[str]()

    def put() -> None:
        for n in range(0, total, 4):
            member.put([(f"job/{n + k}", k) for k in range(4)])
            gevent.sleep(0.002)

    def work(one: Member) -> None:
        while len(done) < total:
            claims = one.take(10, timeout=2)
            done.extend(jobs(claims))
            while True:
                try:
                    one.consume(claims)
                    break
                except CoordinationAway:
                    gevent.sleep(0.01)

    def cut() -> None:
        for _ in range(12):
            gevent.sleep(0.1)
            way.cut()

    workers: list[gevent.Greenlet[..., None]] = [
        gevent.spawn(put),
        gevent.spawn(cut),
        gevent.spawn(work, remote),
        gevent.spawn(work, member),
    ]
    gevent.joinall(workers, raise_error=True)
    assert sorted(done) == sorted(f"job/{n}" for n in range(total))
    assert (member.stats().entries, remote.lost) == (0, [])
