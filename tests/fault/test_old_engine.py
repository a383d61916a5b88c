"""Executors of SlipStream's engine beside geventjob's: one queue, one server, and no job runs twice."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import Fleet, ended, fleet, until
from tests.support.noted import ACTIONS, Notes, add
from tests.support.old_executor import OldExecutor
from tests.support.slipstream_fleet import slipstream_fleet
from tests.support.zookeeper import shared

SESSION = ("--session-timeout", "3", "--threads", "4")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Fleet]:
    """Yield the server of geventjob over ZooKeeper."""
    with fleet(tmp_path, shared().hosts) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        made.server()
        yield made


@contextlib.contextmanager
def old_engine(engine: Fleet, notes: Notes) -> Iterator[OldExecutor]:
    executor = OldExecutor(engine, notes, "old")
    try:
        yield executor
    finally:
        executor.kill()


def ran(notes: Notes, old: int) -> tuple[int, int]:
    """Return the number of runs that the old and the new engine began."""
    began = [pid for pid, _, word in notes.lines() if word == "begin"]
    return began.count(old), len(began) - began.count(old)


def kill_in_the_middle(pid: int, notes: Notes, threads: int) -> None:
    """kill -9, at a moment at which each of its threads is within an action."""

    def killed() -> bool:
        os.kill(pid, signal.SIGSTOP)
        inside = len(notes.jobs("begin", pid)) - len(notes.jobs("end", pid))
        os.kill(pid, signal.SIGKILL if inside == threads else signal.SIGCONT)
        return inside == threads

    until(killed, every=0.01)


def test_they_share_the_queue(engine: Fleet, notes: Notes) -> None:
    with old_engine(engine, notes) as old:
        ids = add(engine.client(), notes, 1, "noted")
        ended(engine.client(), ids)  # it is up
        engine.start_executor("one", *SESSION)
        engine.start_executor("two", *SESSION)
        engine.await_nodes("one", "two")
        ids += add(engine.client(), notes, 99, "noted", 0.3)
        jobs = ended(engine.client(), ids)
        assert Counter(job["state"] for job in jobs.values()) == {"SUCCESS": 100}
        assert Counter(notes.jobs("begin")) == Counter(notes.jobs("end")) == Counter(ids)
        assert min(ran(notes, old.pid)) >= 10
        until(lambda: engine.client().queue()["entries"] == 0)


def test_the_old_one_is_killed_in_the_middle(engine: Fleet, notes: Notes) -> None:
    with old_engine(engine, notes) as old:
        ids = add(engine.client(), notes, 60, "noted", 1)
        until(lambda: len(notes.jobs("begin", old.pid)) >= 4)
        engine.start_executor("one", *SESSION)
        engine.start_executor("two", *SESSION)
        until(lambda: ran(notes, old.pid)[1] >= 4)
        kill_in_the_middle(old.pid, notes, 4)
    jobs = ended(engine.client(), ids)
    assert Counter(job["state"] for job in jobs.values()) == {"SUCCESS": 60}
    assert Counter(notes.jobs("end")) == Counter(ids)
    again = {id for id, times in Counter(notes.jobs("begin")).items() if times > 1}
    assert again == set(notes.jobs("begin", old.pid)) - set(notes.jobs("end", old.pid))
    assert again == {id for id, job in jobs.items() if job["interruptions"]}
    assert len(again) == 4
    until(lambda: engine.client().queue()["entries"] == 0)


def test_one_of_ours_is_killed_in_the_middle(engine: Fleet, notes: Notes) -> None:
    doomed = engine.executor("doomed", *SESSION)
    ids = add(engine.client(), notes, 60, "noted", 1)
    until(lambda: len(notes.jobs("begin", doomed.pid)) >= 4)
    engine.start_executor("heir", *SESSION)
    with old_engine(engine, notes) as old:
        until(lambda: ran(notes, old.pid)[0] >= 4)
        kill_in_the_middle(doomed.pid, notes, 4)
        jobs = ended(engine.client(), ids)
        assert Counter(job["state"] for job in jobs.values()) == {"SUCCESS": 60}
        assert Counter(notes.jobs("end")) == Counter(ids)
        again = {id for id, times in Counter(notes.jobs("begin")).items() if times > 1}
        assert again == set(notes.jobs("begin", doomed.pid)) - set(notes.jobs("end", doomed.pid))
        assert len(again) == 4
        until(lambda: engine.client().queue()["entries"] == 0)


def test_a_job_that_is_over_is_not_taken_for_ever(engine: Fleet, notes: Notes) -> None:
    client = engine.client()
    with old_engine(engine, notes) as first:
        [id] = add(client, notes, 1, "noted", 30)
        until(lambda: notes.jobs("begin", first.pid) == [id])
        client.operation(id, "stop")
        assert client.get(id)["state"] == "STOPPING"
    with old_engine(engine, notes) as second:  # it takes the entry when the session of the first is over
        until(lambda: client.get(id)["state"] == "STOPPED" and client.queue()["entries"] == 0)
        takes = notes.jobs("take", second.pid)
        assert len(takes) <= 2
        ended(client, add(client, notes, 1, "noted"))  # the thread that was refused works on
        assert notes.jobs("take", second.pid).count(id) == len(takes)


def test_an_old_one_that_wakes_writes_over_no_owner_of_ours(engine: Fleet, notes: Notes) -> None:
    client = engine.client()
    with old_engine(engine, notes) as old:
        [id] = add(client, notes, 1, "noted", 6)
        until(lambda: client.get(id)["progress"] >= 40)  # at 60 it would be done
        os.kill(old.pid, signal.SIGSTOP)
        heir = engine.executor("heir", *SESSION)
        until(lambda: notes.jobs("begin", heir.pid) == [id])
        os.kill(old.pid, signal.SIGCONT)
        job = ended(client, [id])[id]
        assert (job["state"], job["executor"], job["attempts"]) == ("SUCCESS", "heir", 1)
        assert notes.jobs("end") == notes.jobs("end", heir.pid) == [id]
        assert job["duration"] >= 6
        until(lambda: client.queue()["entries"] == 0)


def test_the_old_one_finds_no_jobs_of_a_paused_action(engine: Fleet, notes: Notes) -> None:
    client = engine.client()
    ids = add(client, notes, 10, "noted")
    client.pause("noted", why="the old engine knows nothing of pauses")
    until(lambda: client.queue()["entries"] == 0)
    with old_engine(engine, notes) as old:
        ids += add(client, notes, 2, "noted")
        others = add(client, notes, 3, "another")  # the old engine runs jobs of any action
        ended(client, others)
        assert sorted(notes.jobs("take", old.pid)) == sorted(others)
        client.resume("noted")
        jobs = ended(client, ids)
    assert Counter(job["state"] for job in jobs.values()) == {"SUCCESS": 12}
    assert Counter(notes.jobs("begin")) == Counter([*ids, *others])


def test_they_share_the_queue_of_a_slipstream_server(tmp_path: Path) -> None:
    """During a migration from one engine to the other."""
    with slipstream_fleet(tmp_path, shared().hosts) as engine:
        client, notes = engine.serve(), engine.notes
        job = {"action": "noted", "targetResource": {"href": "dummy"}, "description": "1"}
        with old_engine(engine, notes) as old:
            ids = [str(id) for id in client.bulk_add([job] * 40)]
            until(lambda: len(notes.jobs("begin", old.pid)) >= 4)
            engine.executor("one", "--threads", "4")
            engine.executor("two", "--threads", "4")
            until(lambda: ran(notes, old.pid)[1] >= 4)
            kill_in_the_middle(old.pid, notes, 4)
        jobs = ended(client, ids)
        assert Counter(job["state"] for job in jobs.values()) == {"SUCCESS": 40}
        assert Counter(notes.jobs("end")) == Counter(ids)
        again = {id for id, times in Counter(notes.jobs("begin")).items() if times > 1}
        assert again == set(notes.jobs("begin", old.pid)) - set(notes.jobs("end", old.pid))
        assert again == {id for id, job in jobs.items() if job["properties"].get("interruptions") == "1"}
        until(lambda: not engine.entries())
