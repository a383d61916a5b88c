"""Executors and distributors serve an unchanged SlipStream server, by the rules of the delivery contract that apply."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geventjob import Client
from geventjob.cimi.errors import Invalid
from tests.support.fleet import Process, Way, until
from tests.support.http_proxy import HttpProxy
from tests.support.slipstream_fleet import SlipStreamFleet, job_ended, slipstream_fleet
from tests.support.slipstream_rules import ATTRIBUTES
from tests.support.zookeeper import shared

NOTED = {"zookeeper-path", "attempts", "interruptions", "executor", "fence"}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SlipStreamFleet]:
    """Yield a fleet without processes."""
    with slipstream_fleet(tmp_path, shared().hosts) as made:
        yield made


def add(client: Client, action: str, seconds: float = 0, **more: Any) -> str:
    job = {"action": action, "targetResource": {"href": "dummy"}, "description": f"{seconds:g}", **more}
    return client.add("job", job)


def test_outcomes(engine: SlipStreamFleet) -> None:
    client = engine.serve()
    ids = {
        what: add(client, action, number)
        for what, action, number in [
            ("well", "tells", 0),
            ("code", "tells", 7),
            ("error", "raises", 0),
            ("late", "silent", 60),
            ("unknown to the schema", "asks_too_much", 0),
        ]
    }
    engine.executor("one", "--action-timeout", "1")
    jobs = {what: job_ended(client, id) for what, id in ids.items()}
    assert {what: (job["state"], job.get("returnCode")) for what, job in jobs.items()} == {
        "well": ("SUCCESS", 0),
        "code": ("FAILED", 7),
        "error": ("FAILED", None),
        "late": ("FAILED", None),
        "unknown to the schema": ("FAILED", None),
    }
    assert jobs["well"]["statusMessage"] == "attempt 1, interrupted False"
    assert [each["href"] for each in jobs["well"]["affectedResources"]] == ["dummy", "disk/one", "disk/two"]
    assert jobs["error"]["statusMessage"] == "RuntimeError: it broke"
    assert jobs["late"]["statusMessage"] == "timed out after 1 s"
    assert (
        "payload: a job of a SlipStream server has no such attribute" in jobs["unknown to the schema"]["statusMessage"]
    )
    for job in jobs.values():
        assert set(job) <= set(ATTRIBUTES)
        assert set(job["properties"]) == NOTED
        assert (job["properties"]["attempts"], job["properties"]["interruptions"]) == ("1", "0")
        assert job["progress"] == 100
    until(lambda: not engine.entries())


def test_an_unknown_action_is_left_as_it_is_until_its_grace_is_over(engine: SlipStreamFleet) -> None:
    client = engine.serve()
    id = add(client, "nobodys")
    before = client.get(id)
    executor = engine.executor("one", "--unknown-grace", "2")
    well = add(client, "noted")
    assert job_ended(client, well)["state"] == "SUCCESS"
    assert client.get(id) == before
    job = job_ended(client, id)
    assert job["state"] == "FAILED"
    assert "no executor knows the action 'nobodys'" in job["statusMessage"]
    assert "started" not in job
    until(lambda: not engine.entries())
    assert executor.running


@pytest.mark.parametrize("action", ["noted", "silent"])
def test_a_stop_ends_the_action(engine: SlipStreamFleet, action: str) -> None:
    """By the answer to the action's own writes; by a poll for an action that writes nothing."""
    client = engine.serve()
    engine.executor("one")
    id = add(client, action, 60)
    until(lambda: engine.notes.count("begin"))
    assert client.operation(id, "stop")["state"] == "STOPPED"
    until(lambda: engine.notes.count("stopped"))
    until(lambda: not engine.entries())
    job = client.get(id)
    assert (job["state"], engine.notes.count("end")) == ("STOPPED", 0)


def test_what_is_stopped_or_over_is_not_run(engine: SlipStreamFleet) -> None:
    client = engine.serve()
    ids = [add(client, "noted") for _ in range(3)]
    for id, state in zip(ids, ("STOPPED", "SUCCESS", "STOPPING"), strict=True):
        client.edit(id, {"state": state})
    engine.executor("one")
    until(lambda: not engine.entries())
    assert [client.get(id)["state"] for id in ids] == ["STOPPED", "SUCCESS", "STOPPED"]
    assert engine.notes.count("begin") == 0


def test_kill_9_and_another_one_takes_over(engine: SlipStreamFleet) -> None:
    client = engine.serve()
    doomed = engine.executor("doomed")
    ids = [add(client, "noted", 2) for _ in range(5)]
    until(lambda: engine.notes.count("begin") == 5)
    doomed.kill()
    engine.executor("heir")
    jobs = [job_ended(client, id) for id in ids]
    paths = [f"/job/entries/entry-999-{number:010d}" for number in range(5)]
    for job, path in zip(jobs, paths, strict=True):
        assert job["state"] == "SUCCESS"
        notes = job["properties"]
        assert (notes["attempts"], notes["interruptions"], notes["executor"]) == ("2", "1", "heir")
        assert notes["zookeeper-path"] == path
    assert sorted(engine.notes.jobs("end")) == sorted(ids)
    until(lambda: not engine.entries())


def test_a_frozen_executor_writes_nothing_when_it_wakes(engine: SlipStreamFleet) -> None:
    """No server holds it back."""
    client = engine.serve()
    frozen = engine.executor("frozen")
    ids = [add(client, "noted", 2) for _ in range(5)]
    until(lambda: engine.notes.count("begin") == 5)
    frozen.signal(signal.SIGSTOP)
    engine.executor("heir")
    jobs = [job_ended(client, id) for id in ids]
    frozen.signal(signal.SIGCONT)
    until(lambda: "was lost with its claim" in frozen.log)
    later = add(client, "noted", 0.5)
    job_ended(client, later)
    assert {job["properties"]["executor"] for job in jobs} == {"heir"}
    assert [client.get(id) for id in ids] == jobs
    assert sorted(engine.notes.jobs("end")) == sorted([*ids, later])


def test_a_job_that_is_deleted_ends_its_action(engine: SlipStreamFleet) -> None:
    client = engine.serve()
    executor = engine.executor("one")
    id = add(client, "noted", 60)
    until(lambda: engine.notes.count("begin"))
    client.delete(id)
    until(lambda: not engine.entries())
    assert engine.notes.count("end") == 0
    assert f"{id} does not exist (any more)" in executor.log


def test_an_interrupted_job_is_told_and_a_deadly_one_given_up(engine: SlipStreamFleet) -> None:
    client = engine.serve()
    poison = add(client, "kills_its_executor")
    alive: list[Process] = []

    def over() -> bool:
        if not alive or not alive[-1].running:
            alive.append(
                engine.start_executor(f"life-{len(alive)}", "--session-timeout", "2", "--max-interruptions", "2")
            )
        return bool(client.get(poison)["state"] == "FAILED")

    until(over, 60)
    job = client.get(poison)
    assert job["statusMessage"] == "gave up: interrupted 2 times"
    assert engine.notes.count("begin") == 2
    alive[-1].stop()
    later = add(client, "tells")
    client.edit(later, {"state": "RUNNING"})  # an old engine began it, and died
    engine.executor("heir")
    assert job_ended(client, later)["statusMessage"] == "attempt 2, interrupted True"


def test_outcomes_wait_for_a_server_that_is_away(engine: SlipStreamFleet) -> None:
    client = engine.serve()
    executor = engine.executor("patient")
    ids = [add(client, action, 1) for action in ("noted", "silent") for _ in range(5)]
    until(lambda: engine.notes.count("begin") == 10)
    engine.slipstream.kill()
    until(lambda: "the server is away" in executor.log)
    engine.serve()
    jobs = [job_ended(client, id) for id in ids]
    assert {(job["state"], job["properties"]["attempts"]) for job in jobs} == {("SUCCESS", "1")}
    until(lambda: "the server is back" in executor.log)
    assert executor.log.count("the server is away") == executor.log.count("the server is back")
    assert sorted(engine.notes.jobs("begin")) == sorted(ids)


def test_a_job_that_is_forbidden_is_left_alone(engine: SlipStreamFleet) -> None:
    client = engine.serve()
    rule = {"principal": "worker", "type": "USER", "right": "MODIFY"}
    owner = {"principal": "ADMIN", "type": "ROLE"}
    forbidden = add(client, "noted")
    allowed = add(client, "noted", acl={"owner": owner, "rules": [rule]})
    engine.user("worker")
    executor = engine.executor("one")
    assert job_ended(client, allowed)["state"] == "SUCCESS"
    until(lambda: f"{forbidden}: the server forbids this executor to work on the job" in executor.log)
    assert client.get(forbidden)["state"] == "QUEUED"
    until(lambda: len(engine.entries()) == 1)
    client.edit(forbidden, {"acl": {"owner": owner, "rules": [rule]}})
    assert job_ended(client, forbidden)["state"] == "SUCCESS"


def test_an_entry_comes_before_its_job_or_without_one(engine: SlipStreamFleet) -> None:
    client = engine.serve("--store-delay", "1")
    engine.executor("one", "--not-found-grace", "3")
    with pytest.raises(Invalid):  # the dialect itself would not have sent it
        client._session.call("POST", "job", json={"action": "noted", "nonsense": 1}, answer=dict)
    until(lambda: len(engine.entries()) == 1)
    id = add(client, "noted")
    assert job_ended(client, id)["state"] == "SUCCESS"
    until(lambda: not engine.entries())
    assert client.search("job")["count"] == 1


def test_shutdown_gives_back(engine: SlipStreamFleet) -> None:
    client = engine.serve()
    executor = engine.executor("leaving")
    ids = [add(client, "silent", 600) for _ in range(3)]
    until(lambda: engine.notes.count("begin") == 3)
    executor.signal(signal.SIGTERM)
    until(lambda: "3 jobs run" in executor.log)
    assert executor.stop() == 0
    jobs = [client.get(id) for id in ids]
    assert [(job["state"], job["properties"]["interruptions"]) for job in jobs] == [("QUEUED", "0")] * 3
    assert (len(engine.entries()), engine.taken()) == (3, [])


def test_a_cookie_that_ends_in_the_middle(engine: SlipStreamFleet) -> None:
    client = engine.serve("--cookie-life", "1")
    executor = engine.executor("one")
    id = add(client, "noted", 3)
    job = job_ended(client, id)
    assert (job["state"], job["properties"]["attempts"]) == ("SUCCESS", "1")
    assert "away" not in executor.log
    assert "forbids" not in executor.log


@pytest.mark.parametrize("state", [b'"RUNNING"', b'"SUCCESS"'])
def test_a_lost_answer_counts_nothing_and_runs_nothing_again(engine: SlipStreamFleet, state: bytes) -> None:
    client = engine.serve()
    proxy = HttpProxy(engine.port)
    try:
        lost = proxy.hold_answer(b"PUT /api/job/", b'"state":' + state)
        engine.executor("one", way=Way(proxy.url, engine.zk_hosts))
        id = add(client, "tells")
        assert lost.reached.wait(20)
        lost.drop()
        job = job_ended(client, id)
        until(lambda: not engine.entries())
    finally:
        proxy.close()
    assert job["statusMessage"] == "attempt 1, interrupted False"
    assert (job["properties"]["attempts"], job["properties"]["interruptions"]) == ("1", "0")


def test_by_priority_which_the_first_edit_drops(engine: SlipStreamFleet) -> None:
    client = engine.serve()
    ids = [add(client, "silent", priority=priority) for priority in (30, 10, 20)]
    assert client.get(ids[0])["priority"] == 30
    engine.executor("one", "--threads", "1")
    jobs = [job_ended(client, id) for id in ids]
    assert engine.notes.jobs("begin") == [ids[1], ids[2], ids[0]]
    assert all("priority" not in job for job in jobs)


def test_the_shipped_distributor_and_its_action(engine: SlipStreamFleet) -> None:
    """Without Elasticsearch the old jobs are deleted one by one; `unless_pending` allows one pending job."""
    client = engine.serve()
    old = [add(client, "noted") for _ in range(3)]
    for id in old[:2]:
        client.edit(id, {"state": "FAILED"})
    engine.distributor("leader", "jobs_cleanup")
    cleanup = until(lambda: client.search("job", filter="action='cleanup_jobs'")["jobs"])[0]["id"]
    engine.executor("one", "--cleanup-days", "0.000001")
    job = job_ended(client, cleanup)
    assert job["state"] == "SUCCESS"
    assert "jobs deleted that ended more than" in job["statusMessage"]
    assert client.search("job", filter=" or ".join(f"id='{id}'" for id in old[:2]))["count"] == 0
    assert client.search("job", filter="action='cleanup_jobs'")["count"] == 1
