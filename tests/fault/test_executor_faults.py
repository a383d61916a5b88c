"""Executors that die, freeze, lose their server or shut down: each job keeps the delivery contract."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.support.fleet import PASSWORD, Fleet, Process, ended, until
from tests.support.noted import Notes, add

SESSION = ("--session-timeout", "3")


def test_kill_9_under_load_and_every_job_runs_again_elsewhere(engine: Fleet, notes: Notes) -> None:
    engine.server(*SESSION)
    doomed = engine.executor("doomed", "--threads", "40", *SESSION)
    notes.close("doomed")
    ids = add(engine.client(), notes, 120, "gated")
    until(lambda: len(notes.jobs("begin", doomed.pid)) == 40)
    engine.executor("heir", "--threads", "40", *SESSION)
    doomed.kill()
    jobs = ended(engine.client(), ids)
    assert Counter(job["state"] for job in jobs.values()) == {"SUCCESS": 120}
    again = [job for job in jobs.values() if job["interruptions"]]
    assert {job["id"] for job in again} == set(notes.jobs("begin", doomed.pid))
    assert all(job["attempts"] == 2 and job["interrupted"] and job["executor"] == "heir" for job in again)
    assert Counter(notes.jobs("end")) == Counter(ids)


def test_a_frozen_executor_writes_nothing_when_it_wakes_and_works_on(engine: Fleet, notes: Notes) -> None:
    engine.server(*SESSION)
    frozen = engine.executor("frozen", "--threads", "30", *SESSION)
    ids = add(engine.client(), notes, 30, "noted", 2)
    until(lambda: len(notes.jobs("begin", frozen.pid)) == 30)
    engine.freeze(frozen)
    engine.executor("heir", "--threads", "30", *SESSION)
    jobs = ended(engine.client(), ids)
    frozen.signal(signal.SIGCONT)
    until(lambda: "was lost with its claim" in frozen.log)
    assert {job["executor"] for job in jobs.values()} == {"heir"}
    assert Counter(notes.jobs("end")) == Counter(ids)
    later = add(engine.client(), notes, 40, "noted", 0.3)
    ended(engine.client(), later)
    assert {pid for pid, job, word in notes.lines() if job in set(later)} >= {frozen.pid}
    assert engine.client().get(ids[0]) == jobs[ids[0]] | {"operations": engine.client().get(ids[0])["operations"]}


def test_a_job_that_was_stopped_is_not_run_again_for_its_frozen_executor(engine: Fleet, notes: Notes) -> None:
    engine.server(*SESSION)
    frozen = engine.executor("frozen", *SESSION)
    client = engine.client()
    notes.close("frozen")
    [id] = add(client, notes, 1, "gated")
    until(lambda: notes.jobs("begin") == [id])
    engine.freeze(frozen)
    client.operation(id, "stop")
    engine.executor("heir", *SESSION)
    job = ended(client, [id])[id]
    assert (job["state"], job["executor"], job["attempts"]) == ("STOPPED", "heir", 1)
    until(lambda: client.queue()["entries"] == 0)
    frozen.thaw()
    until(lambda: notes.jobs("lost") == [id])
    assert ended(client, [id])[id] == job
    assert notes.count("begin") == 1


def test_outcomes_wait_for_a_server_that_is_away(engine: Fleet, notes: Notes) -> None:
    server = engine.server(*SESSION)
    executor = engine.executor("patient", "--threads", "30", *SESSION)
    ids = add(engine.client(), notes, 30, "noted_computing", 0.02) + add(engine.client(), notes, 10, "noted", 1)
    until(lambda: notes.count("begin") >= 31)
    server.kill()
    until(lambda: "the server is away" in executor.log)
    engine.server(*SESSION)
    jobs = ended(engine.client(), ids)
    assert Counter((job["state"], job["attempts"]) for job in jobs.values()) == {("SUCCESS", 1): 40}
    until(lambda: "the server is back" in executor.log)
    assert executor.log.count("the server is away") == executor.log.count("the server is back")
    assert Counter(notes.jobs("begin")) == Counter(ids)


def test_ten_that_compute_beside_a_hundred_that_wait(engine: Fleet, notes: Notes) -> None:
    """Each computes for longer than the session timeout: no session is lost, and no job is interrupted."""
    engine.server(*SESSION)
    executor = engine.executor("busy", "--threads", "200", *SESSION)
    computing = add(engine.client(), notes, 10, "noted_computing", 4)
    waiting = add(engine.client(), notes, 100, "noted", 0.3)
    jobs = ended(engine.client(), computing + waiting)
    assert Counter((job["state"], job["attempts"]) for job in jobs.values()) == {("SUCCESS", 1): 110}
    order = [job for _, job, word in notes.lines() if word == "end"]
    assert set(order[:100]) == set(waiting), "those that wait must not wait for those that compute"
    assert "was lost with its claim" not in executor.log


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)  # five deaths, each of which ZooKeeper sees by time alone
def test_a_job_that_kills_executors_is_given_up(engine: Fleet, notes: Notes) -> None:
    engine.server(*SESSION)
    [poison] = add(engine.client(), notes, 1, "kills_its_executor")
    [once] = add(engine.client(), notes, 1, "tells_of_interruption")
    neighbours = add(engine.client(), notes, 10, "noted", 0.2)
    alive: list[Process] = []

    def over() -> bool:
        if not alive or not alive[-1].running:
            alive.append(engine.start_executor(f"life-{len(alive)}", *SESSION))
        return bool(engine.client().search("job", filter="state!='QUEUED' and state!='RUNNING'", last=0)["count"] == 12)

    until(over, 60)
    jobs = ended(engine.client(), [poison, once, *neighbours])
    assert jobs[poison]["statusMessage"] == "gave up: interrupted 5 times"
    assert notes.jobs("begin").count(poison) == 5
    assert jobs[once]["statusMessage"] == f"interrupted, attempt {jobs[once]['attempts']}"
    assert {jobs[id]["state"] for id in neighbours} == {"SUCCESS"}


def test_an_action_that_another_executor_knows_is_left_to_it(engine: Fleet, notes: Notes, tmp_path: Path) -> None:
    engine.server(*SESSION)
    without = tmp_path / "none"
    without.mkdir()
    engine.executor("old", "--unknown-grace", "60", *SESSION, actions_dir=without)
    [id] = add(engine.client(), notes, 1, "noted", 0)
    engine.executor("new", *SESSION)
    job = ended(engine.client(), [id])[id]
    assert (job["state"], job["executor"]) == ("SUCCESS", "new")


def test_a_job_that_the_server_forbids_is_left_to_who_may(engine: Fleet, notes: Notes) -> None:
    engine.server(*SESSION)
    admin = engine.client()
    admin.add("user", {"username": "bob", "password": PASSWORD})
    root = engine.login
    engine.login = ["--ss-user", "bob", *root[2:]]
    bobs = engine.executor("bobs", *SESSION)
    [id] = add(admin, notes, 1, "noted", 0)
    until(lambda: f"{id}: the server forbids this executor to work on the job" in bobs.log)
    bob = {"principal": "bob", "type": "USER"}
    [own] = add(admin, notes, 1, "noted", 0, acl={"owner": bob, "rules": [{**bob, "right": "ALL"}]})
    assert ended(admin, [own])[own]["executor"] == "bobs"
    until(lambda: admin.queue()["entries"] == 1)  # the entry of a job goes after its outcome is written
    assert admin.get(id)["state"] == "QUEUED"
    engine.login = root
    engine.executor("roots", *SESSION)
    assert ended(admin, [id])[id]["executor"] == "roots"
    assert notes.count("begin") == 2


def test_sigterm_waits_for_what_runs(engine: Fleet, notes: Notes) -> None:
    engine.server(*SESSION)
    executor = engine.executor("leaving", "--threads", "10", *SESSION)
    ids = add(engine.client(), notes, 20, "noted", 1)
    until(lambda: notes.count("begin") == 10)
    assert executor.stop() == 0
    states = Counter(engine.client().get(id)["state"] for id in ids)
    assert states == {"SUCCESS": 10, "QUEUED": 10}
    assert notes.count("begin") == 10


def test_a_second_sigterm_gives_back_what_runs(engine: Fleet, notes: Notes) -> None:
    engine.server(*SESSION)
    executor = engine.executor("hurried", "--threads", "10", *SESSION)
    ids = add(engine.client(), notes, 10, "noted", 600)
    until(lambda: notes.count("begin") == 10)
    executor.signal(signal.SIGTERM)
    until(lambda: "10 jobs run" in executor.log)
    assert executor.stop() == 0
    jobs = [engine.client().get(id) for id in ids]
    assert Counter((job["state"], job["interruptions"]) for job in jobs) == {("QUEUED", 0): 10}
    assert engine.client().queue()["taken"] == 0


def test_shutdown_timeout_gives_back_what_runs(engine: Fleet, notes: Notes) -> None:
    engine.server(*SESSION)
    executor = engine.executor("timed", "--shutdown-timeout", "1", *SESSION)
    ids = add(engine.client(), notes, 5, "noted", 600)
    until(lambda: notes.count("begin") == 5)
    assert executor.stop() == 0
    assert Counter(engine.client().get(id)["state"] for id in ids) == {"QUEUED": 5}
