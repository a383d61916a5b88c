"""A pause takes thousands of jobs out of the queue, and the server that does so dies or is frozen in the middle."""

from __future__ import annotations

from collections import Counter

import pytest

from geventjob import Client
from tests.fault.test_two_servers import pair as pair
from tests.support.fleet import PASSWORD, ended, until
from tests.support.noted import Notes, add
from tests.support.pair import Pair, promoter

JOBS = 2_000
PAUSED = "held/why='paused'"


def count(client: Client, filter: str) -> int:
    return int(client.search("job", filter=filter, last=0)["count"])


@pytest.mark.parametrize("end", ["killed", "frozen"])
def test_no_job_is_lost_doubled_or_run_meanwhile(pair: Pair, notes: Notes, end: str) -> None:
    servers = pair.start_servers("--reconcile-interval", "3")
    clients = [Client(url, "super", PASSWORD) for url in pair.urls]
    until(lambda: promoter(clients[0], pair) is not None)
    leads = promoter(clients[0], pair)
    assert leads is not None
    survivor, leader = clients[1 - leads], servers[leads]
    pair.url = pair.urls[1 - leads]
    ids = [id for _ in range(JOBS // 1000) for id in add(survivor, notes, 1000, "noted")]
    first = [waiting["entry"] for waiting in survivor.queue()["next"]]

    survivor.pause("noted", why="a fault")
    until(lambda: survivor.queue()["entries"] < JOBS, 90, every=0.01)
    leader.kill() if end == "killed" else leader.freeze()
    assert survivor.queue()["entries"] > 0, "it was done before"
    until(lambda: survivor.queue()["entries"] == 0)
    until(lambda: count(survivor, PAUSED) == JOBS)

    pair.executor("executor", "--threads", "100", "--session-timeout", "3")
    [other] = add(survivor, notes, 1, "noted_computing")
    ended(survivor, [other])
    assert notes.jobs("begin") == [other], "the executor found nothing else"

    for process in pair.processes[2:]:
        process.stop()
    survivor.resume("noted")
    until(lambda: survivor.queue()["entries"] >= JOBS // 3)
    if end == "frozen":
        leader.thaw()  # goes on where it stopped, and does not lead any more
        until(lambda: clients[leads].healthy())
    until(lambda: survivor.queue()["entries"] == JOBS)
    assert [waiting["entry"] for waiting in survivor.queue()["next"]] == first
    pair.executor("heir", "--threads", "100", "--session-timeout", "3")
    jobs = ended(survivor, ids, 120)
    assert Counter((job["state"], job["attempts"]) for job in jobs.values()) == {("SUCCESS", 1): JOBS}
    assert Counter(notes.jobs("begin")) == Counter([*ids, other])
    until(lambda: survivor.queue()["entries"] == 0)


def test_a_pause_that_ends_by_itself_ends_though_the_leader_has_died(pair: Pair, notes: Notes) -> None:
    servers = pair.start_servers()
    clients = [Client(url, "super", PASSWORD) for url in pair.urls]
    until(lambda: promoter(clients[0], pair) is not None)
    leads = promoter(clients[0], pair)
    assert leads is not None
    survivor = clients[1 - leads]
    pair.url = pair.urls[1 - leads]
    clients[leads].pause("noted", until="+8s")
    ids = add(survivor, notes, 5, "noted")
    until(lambda: count(survivor, PAUSED) == 5)  # the other server learns of a pause within moments
    pair.executor("executor", "--session-timeout", "3")
    servers[leads].kill()
    jobs = ended(survivor, ids)
    assert Counter((job["state"], job["attempts"]) for job in jobs.values()) == {("SUCCESS", 1): 5}
    assert survivor.pauses() == []
