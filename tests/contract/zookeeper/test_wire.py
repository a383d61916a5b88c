"""The queue as other programs know it: kazoo's `LockingQueue('/job')`, its `Election`, and nodes made by hand."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import gevent
import pytest
from kazoo.client import KazooClient
from kazoo.recipe.queue import LockingQueue

from tests.contract.zookeeper.conftest import Member, Site, jobs
from tests.support.waiting import eventually

CONSUMER = """
import sys
from kazoo.client import KazooClient
client = KazooClient(sys.argv[1], timeout=1)
client.start()
print(client.LockingQueue("/job").get().decode(), flush=True)
sys.stdin.read()
"""
HOLDER = """
import geventjob.patch
import sys, gevent
from geventjob.coordination.zookeeper import ZooKeeperCoordination
member = ZooKeeperCoordination(sys.argv[1], "holder", 1, root=sys.argv[2])
member.start()
print(member.take(1)[0].job, flush=True)
gevent.sleep(60)
"""


@pytest.fixture
def queue(kazoo: KazooClient) -> LockingQueue:
    """Return a consumer of the old engine."""
    return kazoo.LockingQueue("/job")


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Yield a list of processes that are killed in the end."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(started: list[subprocess.Popen[str]], script: str, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    started.append(process)
    return process


# --- the nodes


def test_an_entry_is_a_node_with_the_job_s_id_and_nothing_else(member: Member, kazoo: KazooClient) -> None:
    (path,) = member.put([("job/1234-ü", 7)])
    data, stat = kazoo.get(path)
    assert path == "/job/entries/entry-007-0000000000"
    assert data == "job/1234-ü".encode()
    assert stat.ephemeralOwner == 0


def test_a_claim_is_an_ephemeral_node_of_the_session_with_the_holder_s_name(member: Member, kazoo: KazooClient) -> None:
    (path,) = member.put([("job/a", 7)])
    (claim,) = member.take(1)
    data, stat = kazoo.get("/job/taken/entry-007-0000000000")
    assert data == member.name.encode()
    assert stat.ephemeralOwner == member.identity
    assert kazoo.get(path)[0] == b"job/a"
    assert kazoo.get(path)[1].mzxid == claim.fence == stat.czxid


# --- a queue that both work


def test_we_take_what_a_locking_queue_puts(member: Member, queue: LockingQueue) -> None:
    queue.put(b"job/a", priority=500)
    queue.put_all([b"job/b", b"job/c"], priority=3)
    claims = member.take(5)
    assert jobs(claims) == ["job/b", "job/c", "job/a"]
    member.consume(claims)
    assert len(queue) == 0


def test_we_take_what_is_created_by_hand(member: Member, kazoo: KazooClient) -> None:
    kazoo.create("/job/entries/entry-999-", b"job/a", sequence=True)
    kazoo.create("/job/entries/entry-000-", b"job/b", sequence=True)
    assert jobs(member.take(5)) == ["job/b", "job/a"]


def test_a_locking_queue_gets_what_we_put(member: Member, queue: LockingQueue) -> None:
    member.put([("job/a", 5), ("job/b", 1)])
    assert queue.get(timeout=5) == b"job/b"
    assert queue.consume()
    assert queue.get(timeout=5) == b"job/a"
    assert queue.release()
    assert jobs(member.take(5)) == ["job/a"]


def test_we_do_not_take_what_a_locking_queue_holds_until_it_lets_go(member: Member, queue: LockingQueue) -> None:
    member.put([("job/a", 1), ("job/b", 1)])
    assert queue.get(timeout=5) == b"job/a"
    assert jobs(member.take(5)) == ["job/b"]
    assert member.take(5, timeout=0) == []
    take = gevent.spawn(member.take, 5)
    gevent.sleep(0.2)
    assert queue.release()
    assert jobs(take.get(timeout=5)) == ["job/a"]


def test_a_locking_queue_does_not_get_what_we_hold_until_we_let_go(member: Member, queue: LockingQueue) -> None:
    member.put([("job/a", 1)])
    claims = member.take(1)
    assert queue.get(timeout=0.3) is None
    getting = gevent.spawn(queue.get, timeout=5)
    member.release(claims)
    assert getting.get(timeout=5) == b"job/a"


def test_what_a_locking_queue_holds_cannot_be_removed(member: Member, queue: LockingQueue) -> None:
    paths = member.put([("job/a", 1), ("job/b", 1)])
    assert queue.get(timeout=5) == b"job/a"
    assert member.remove(paths) == [False, True]
    assert [(waiting.job, waiting.taken_by) for waiting in member.stats().head] == [("job/a", queue.id.decode())]


def test_we_get_what_a_killed_locking_queue_held(
    site: Site, member: Member, started: list[subprocess.Popen[str]]
) -> None:
    member.put([("job/a", 1)])
    consumer = start(started, CONSUMER, site.ensemble.hosts + site.root)
    assert consumer.stdout is not None
    assert consumer.stdout.readline() == "job/a\n"
    take = gevent.spawn(member.take, 1)
    consumer.send_signal(signal.SIGKILL)
    assert jobs(take.get(timeout=5)) == ["job/a"]


def test_a_locking_queue_gets_what_a_killed_process_of_ours_held(
    site: Site, member: Member, queue: LockingQueue, started: list[subprocess.Popen[str]]
) -> None:
    member.put([("job/a", 1)])
    holder = start(started, HOLDER, site.ensemble.hosts, site.root)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "job/a\n"
    assert queue.get(timeout=0.2) is None
    holder.send_signal(signal.SIGKILL)
    assert queue.get(timeout=5) == b"job/a"


def test_both_work_one_queue_and_each_entry_is_done_once(site: Site, member: Member) -> None:
    done: list[str] = []

    def ours(one: Member) -> None:
        while len(done) < 120:
            claims = one.take(3, timeout=1)
            done.extend(jobs(claims))
            gevent.sleep(0.005)
            one.consume(claims)

    def theirs(queue: LockingQueue) -> None:
        while (job := queue.get(timeout=5)) is not None:
            done.append(job.decode())
            gevent.sleep(0.005)
            assert queue.consume()

    member.put([(f"job/{n}", n % 2) for n in range(120)])
    workers = [gevent.spawn(ours, site.member()) for _ in range(2)]
    workers += [gevent.spawn(theirs, site.kazoo().LockingQueue("/job")) for _ in range(2)]  # type: ignore[call-overload]
    gevent.joinall(workers, timeout=60, raise_error=True)
    assert sorted(done) == sorted(f"job/{n}" for n in range(120))
    assert member.stats().entries == 0


def test_what_a_locking_queue_took_when_our_node_was_gone_is_not_ours_to_end(
    member: Member, kazoo: KazooClient, queue: LockingQueue
) -> None:
    member.put([("job/a", 1), ("job/b", 1)])
    claims = member.take(2)
    for claim in claims:
        kazoo.delete(claim.entry.replace("entries", "taken"))
    assert queue.get(timeout=5) == b"job/a"
    member.consume(claims)
    member.release(claims)
    assert all(claim.revoked for claim in claims)
    assert queue.holds_lock()
    assert queue.consume()
    assert [waiting.job for waiting in member.stats().head] == ["job/b"]


# --- elections


def test_we_wait_for_a_leader_of_kazoo(member: Member, kazoo: KazooClient) -> None:
    election = kazoo.Election("/election/e", "theirs")
    leads, resigns = gevent.event.Event(), gevent.event.Event()
    leading = gevent.spawn(election.run, lambda: (leads.set(), resigns.wait()))  # type: ignore[call-overload]
    assert leads.wait(5)
    assert member.leaders(["e"]) == {"e": "theirs"}
    assert member.lead("e", timeout=0.3) is None
    waiting = gevent.spawn(member.lead, "e")
    eventually(lambda: election.contenders() == ["theirs", member.name])
    resigns.set()
    assert waiting.get(timeout=5).held
    leading.join()


def test_a_leader_of_kazoo_waits_for_us(member: Member, kazoo: KazooClient) -> None:
    leadership = member.lead("e")
    assert leadership is not None
    leads = gevent.event.Event()
    leading = gevent.spawn(kazoo.Election("/election/e", "theirs").run, leads.set)
    assert not leads.wait(0.3)
    leadership.resign()
    assert leads.wait(2)
    leading.join()
