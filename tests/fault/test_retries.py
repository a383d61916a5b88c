"""Retries and jobs for later, while processes are killed at each step: every job ends once, with the right counts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from geventjob import Client
from geventjob.clock import cimi_time, now
from tests.support.fleet import Fleet, Way, ended, until
from tests.support.http_proxy import HttpProxy
from tests.support.noted import Notes, add
from tests.support.zookeeper import shared
from tests.support.zookeeper_proxy import MULTI, ZooKeeperProxy

SESSION = ("--session-timeout", "3")


def fail_first(client: Client, notes: Notes, count: int, fail: int, **more: Any) -> list[str]:
    """Add jobs that fail in their first `fail` runs."""
    payload = {"file": str(notes.path), "seconds": 0.05, "fail": fail}
    ids = client.bulk_add([{"action": "fails_first", "payload": payload, **more}] * count)
    assert all(isinstance(id, str) for id in ids)
    return [str(id) for id in ids]


def counts(job: dict[str, Any]) -> tuple[str, int, int]:
    """Return the state, the retries, and the runs that ended by themselves."""
    return job["state"], job["retried"], job["attempts"] - job["interruptions"]


def test_a_thousand_jobs_that_fail_twice_while_every_process_is_killed(engine: Fleet, notes: Notes) -> None:
    server = engine.server(*SESSION, "--name", "server")
    executors = [engine.executor(name, "--threads", "50", *SESSION) for name in ("one", "two")]
    client = engine.client(patience=60)
    ids = fail_first(client, notes, 1000, 2)
    for number, executor in enumerate(executors):
        until(lambda number=number: notes.count("begin") > 700 * (number + 1), every=0.02)
        executor.kill()
        engine.start_executor(f"heir-{number}", "--threads", "50", *SESSION)
    until(lambda: notes.count("begin") > 2000, every=0.02)
    server.kill()
    engine.server(*SESSION, "--name", "server")
    jobs = ended(client, ids, seconds=120)
    assert Counter(map(counts, jobs.values())) == {("SUCCESS", 2, 3): 1000}
    assert all(len(client_errors(job)) == 2 for job in jobs.values())
    assert all(job["output"] == {"runs": 3} for job in jobs.values() if not job["interruptions"])
    until(lambda: client.queue()["entries"] == 0)
    assert jobs == ended(client, ids), "nothing was written after the end"


def client_errors(job: dict[str, Any]) -> list[dict[str, Any]]:
    errors: list[dict[str, Any]] = job["errors"]
    assert all(error["type"] == "OSError" and "fails_first" in error["traceback"] for error in errors)
    return errors


@pytest.mark.parametrize("step", ["failure on its way", "failure written", "failure written, answer late"])
def test_an_executor_dies_at_a_step_of_a_retry(engine: Fleet, notes: Notes, step: str) -> None:
    engine.server(*SESSION)
    way = HttpProxy(engine.port)
    try:
        hold = (way.hold_request if step == "failure on its way" else way.hold_answer)(b'"retry":')
        first = engine.start_executor("first", "--threads", "1", *SESSION, way=Way(way.url, engine.zk_hosts))
        engine.await_nodes("first")
        client = engine.client()
        [id] = fail_first(client, notes, 1, 1)
        until(hold.reached.is_set)
        if step == "failure written":
            first.kill()
        engine.executor("heir", *SESSION)
        if step != "failure written":
            first.kill()
        hold.drop()
        job = ended(client, [id])[id]
        assert counts(job) == ("SUCCESS", 1, 2)
        assert job["interruptions"] == (1 if step == "failure on its way" else 0)
        assert len(job["errors"]) == 1
        assert job["executor"] == "heir"
        until(lambda: client.queue()["entries"] == 0)
        assert notes.jobs("begin") == [id] * job["attempts"]
    finally:
        way.close()


@pytest.mark.parametrize("engine", ["zookeeper"], indirect=True)
@pytest.mark.parametrize("late", [True, False], ids=["put", "not put"])
def test_the_server_dies_between_put_and_store(engine: Fleet, notes: Notes, late: bool) -> None:
    """The put of a due job reaches ZooKeeper after the death of the server, or never."""
    zookeeper = ZooKeeperProxy(shared().port)
    try:
        address = ["--host", "127.0.0.1", "--port", str(engine.port), "--admin-pass-file", str(engine.password_file)]
        way = Way(engine.url, zookeeper.hosts)
        server = engine._start("server", [*address, *SESSION, "--name", "server"], way)
        client = engine.client(patience=60)
        until(client.healthy)
        hold = zookeeper.hold_request(MULTI, b"/job/entries/entry-")
        [id] = fail_first(client, notes, 1, 0, notBefore="+1s")
        until(hold.reached.is_set)
        server.kill()
        if late:
            hold.let_go()
            assert hold.passed_on.wait(10)
        else:
            hold.drop()
        run_once(engine, client, notes, id)
    finally:
        zookeeper.close()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_the_server_dies_before_the_put_into_its_file(engine: Fleet, notes: Notes) -> None:
    server = engine.server(*SESSION, "--name", "server")
    client = engine.client(patience=60)
    [id] = fail_first(client, notes, 1, 0, notBefore="+1s")
    with engine.in_no_transaction():
        until(lambda: client.get(id)["held"]["until"] < cimi_time(now()))
        server.kill()
    run_once(engine, client, notes, id)


def run_once(engine: Fleet, client: Client, notes: Notes, id: str) -> None:
    """Start a server and an executor anew: the job, which is due, runs once."""
    engine.server(*SESSION, "--name", "server")
    assert client.get(id)["state"] == "QUEUED"
    engine.executor("one", *SESSION)
    assert counts(ended(client, [id])[id]) == ("SUCCESS", 0, 1)
    assert notes.jobs("begin") == [id]
    until(lambda: client.queue()["entries"] == 0)


def test_an_operator_lets_a_retry_go_now(engine: Fleet, notes: Notes) -> None:
    engine.server(*SESSION)
    engine.executor("one", *SESSION)
    client = engine.client()
    [id] = fail_first(client, notes, 1, 1, notBefore="+1h")
    assert client.operation(id, "release")["held"]["why"] == "notBefore"
    assert counts(ended(client, [id])[id]) == ("SUCCESS", 1, 2)


def test_a_job_whose_last_retry_fails_is_failed_with_its_message(engine: Fleet, notes: Notes) -> None:
    engine.server("--max-retries", "2")
    engine.executor("one")
    client = engine.client()
    [id] = fail_first(client, notes, 1, 99)
    job = ended(client, [id])[id]
    assert (job["state"], job["retried"], job["attempts"]) == ("FAILED", 2, 3)
    assert job["statusMessage"] == f"OSError: run 3 of {id}"
    assert [error["attempt"] for error in job["errors"]] == [1, 2, 3]
    [none] = add(client, notes, 1, "fails_first", retries=0)
    assert counts(ended(client, [none])[none])[1:] == (0, 1), "the payload lacks `fail`: a KeyError, tried once"
