"""Interruptions that count, and the places of suspects, with real processes (docs/operations.md)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from geventjob import Client
from tests.support.fleet import Fleet, Way, ended, until
from tests.support.noted import Notes, add
from tests.support.zookeeper import shared
from tests.support.zookeeper_proxy import ZooKeeperProxy

OUTAGES = 3
JOBS = 12


def interrupt(client: Client, ids: list[str], times: int) -> None:
    """Have these jobs RUNNING in the name of an executor that is dead, and interrupted so often before."""
    for fence in range(1, times + 1):
        jobs = [client.get(id) for id in ids]
        owner = {"set": {"state": "RUNNING"}, "fence": fence, "executor": "dead"}
        edits = [{"id": job["id"], "entry": job["properties"]["zookeeper-path"], **owner} for job in jobs]
        assert [job["state"] for job in client.bulk_edit(edits) if isinstance(job, dict)] == ["RUNNING"] * len(ids)


def documents(client: Client, ids: list[str]) -> list[dict[str, Any]]:
    return [client.get(id) for id in ids]


@pytest.mark.parametrize("engine", ["zookeeper"], indirect=True)  # over SQLite a session is lost by a freeze alone
def test_sessions_that_were_lost_make_no_suspects(engine: Fleet, notes: Notes) -> None:
    """ZooKeeper is out of reach more often than a job may be interrupted, and no executor dies."""
    session = ("--session-timeout", "1.5")
    engine.server()
    client = engine.client()
    names = ("one", "two")
    notes.close(*names)
    ways = [ZooKeeperProxy(shared().port) for _ in names]
    executors = [
        engine.start_executor(
            name, "--threads", "8", "--max-interruptions", str(OUTAGES - 1), *session, way=Way(engine.url, way.hosts)
        )
        for name, way in zip(names, ways, strict=True)
    ]
    engine.await_nodes(*names)
    ids = add(client, notes, JOBS, "gated")
    for outage in range(OUTAGES):
        until(lambda outage=outage: notes.count("begin") >= JOBS * (outage + 1))
        for way in ways:
            way.go_silent()
        until(lambda outage=outage: notes.count("lost") + notes.count("end") >= JOBS * (outage + 1))
        for way in ways:
            way.speak()
    until(lambda: notes.count("begin") >= JOBS * (OUTAGES + 1))
    until(lambda: {job["interruptions"] for job in documents(client, ids)} == {0})
    notes.open(*names)
    jobs = ended(client, ids)
    assert Counter((job["state"], job["interruptions"]) for job in jobs.values()) == {("SUCCESS", 0): JOBS}
    assert all(job["interrupted"] and job["attempts"] > OUTAGES for job in jobs.values())
    assert all(executor.running for executor in executors)


def test_suspects_wait_in_the_queue_and_use_every_free_place(engine: Fleet, notes: Notes) -> None:
    """Two executors have one slot each. One slot is occupied for long: all other jobs run in the second, one by one."""
    engine.server()
    client = engine.client()
    names = ("one", "two")
    notes.close(*names)
    ids = add(client, notes, JOBS, "gated")
    interrupt(client, ids, 2)
    for name in names:
        engine.executor(name, "--threads", "8")
    until(lambda: notes.count("begin") == len(names))
    states = {"RUNNING": len(names), "QUEUED": JOBS - len(names)}
    until(lambda: Counter(job["state"] for job in documents(client, ids)) == states)
    assert notes.count("begin") == len(names)
    notes.open("two")
    until(lambda: notes.count("end") == JOBS - 1, 15)  # each within a second, by the rule
    notes.open("one")
    jobs = ended(client, ids)
    assert Counter(job["executor"] for job in jobs.values()) == {"one": 1, "two": JOBS - 1}
    assert Counter((job["state"], job["attempts"], job["interruptions"]) for job in jobs.values()) == {
        ("SUCCESS", 3, 2): JOBS
    }
    assert notes.count("begin") == JOBS


def test_a_job_that_nobody_holds_is_shown_as_waiting(engine: Fleet, notes: Notes) -> None:
    """No executor is left to find out by a take."""
    session = ("--session-timeout", "2")
    engine.server(*session)
    client = engine.client()
    notes.close("doomed")
    doomed = engine.executor("doomed", "--threads", "2", *session)
    ids = add(client, notes, 3, "gated")
    until(lambda: notes.count("begin") == 2)
    doomed.kill()
    until(lambda: Counter(job["state"] for job in documents(client, ids)) == {"QUEUED": 3}, 20)
    engine.executor("heir", *session)
    jobs = ended(client, ids)
    assert Counter((job["attempts"], job["interruptions"]) for job in jobs.values()) == {(1, 0): 1, (2, 1): 2}
