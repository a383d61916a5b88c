"""The disk is full below the store, below the logs, and below ZooKeeper: nothing is lost, and all goes on by itself."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from pathlib import Path

from geventjob.cimi.errors import ServerAway
from tests.support import zookeeper
from tests.support.fleet import PASSWORD, Fleet, Process, ended, fleet, until
from tests.support.job_server import Caller, problem
from tests.support.noted import ACTIONS, Notes, add
from tests.support.small_disk import small_disk

LINES = 6
"""The most lines that a process may log about a full disk, however many jobs and however long."""
PAGE = os.sysconf("SC_PAGE_SIZE")
"""Bytes that a full disk in memory leaves to the end of each file."""


def caller(made: Fleet) -> Caller:
    session = Caller(made.url)
    assert session.login("super", PASSWORD).status_code == 201
    return session


def lines(process: Process) -> int:
    return len(process.log.splitlines())


def test_below_the_store(tmp_path: Path, notes: Notes) -> None:
    with fleet(tmp_path) as made, small_disk(made.data_dir, 24) as disk:
        shutil.copy(ACTIONS, made.actions_dir)
        server = made.server()
        executor = made.executor("first", "--threads", "10", "--log-jobs", "none")
        notes.close("first")
        ids = add(made.client(), notes, 30, "gated")
        until(lambda: notes.count("begin") == 10)
        session = caller(made)
        before = lines(server), lines(executor)

        disk.fill()
        for size in (100_000, 1_000, 0):
            body = {"action": "noted", "payload": {"file": str(notes.path), "seconds": 0, "padding": "x" * size}}
            until(lambda body=body: session.post("job", body).status_code == 503, every=0)
        problem(session.post("job", body), 503, "full")
        assert session.search("job", last=0)["count"] >= 30, "searches work"
        until(lambda: session.get("/healthz").status_code == 503)  # the check writes at intervals
        notes.open("first")
        until(lambda: notes.count("end") >= 10)  # their outcomes wait

        disk.free()
        until(lambda: session.get("/healthz").status_code == 200)
        until(lambda: session.post("job", body).status_code == 201)
        jobs = ended(made.client(), ids)
        assert Counter(job["state"] for job in jobs.values()) == {"SUCCESS": 30}
        assert set(notes.jobs("end")) >= set(ids)
        until(lambda: made.client().queue()["entries"] == 0)
        told = lines(server) - before[0], lines(executor) - before[1]
        assert max(told) <= LINES, (server.log, executor.log)
        assert server.log.count("the store refuses to write: database or disk is full") == 1
        assert executor.log.count("the server could not take an edit") == 1
        assert all(process.running for process in made.processes)


def test_below_the_logs(tmp_path: Path, notes: Notes) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    with fleet(tmp_path) as made, small_disk(logs, 1) as disk:
        shutil.copy(ACTIONS, made.actions_dir)
        made.server("--log-dir", str(logs))
        made.executor("first", "--log-dir", str(logs))
        log = logs / "executor.log"
        until(lambda: log.stat().st_size)
        disk.fill()

        def run(count: int) -> None:
            jobs = ended(made.client(), add(made.client(), notes, count, "noted"))
            assert {job["state"] for job in jobs.values()} == {"SUCCESS"}

        run(50)
        until(lambda: log.stat().st_size % PAGE == 0)  # lines of jobs are written a moment late: now no more fit
        run(1)  # by an executor that has met this
        disk.free()
        run(1)
        until(lambda: "lines could not be written: No space left on device" in log.read_text())
        assert all(process.running for process in made.processes)


def test_below_zookeeper(tmp_path: Path, notes: Notes) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    with (
        small_disk(logs, 70) as disk,
        zookeeper.running(zookeeper.Ensemble(dataLogDir=logs)) as ensemble,
        fleet(tmp_path, ensemble.hosts) as made,
    ):
        [keeper] = ensemble.servers
        shutil.copy(ACTIONS, made.actions_dir)
        session_timeout = ("--session-timeout", "2")
        processes = [made.server(*session_timeout), made.executor("first", *session_timeout, "--threads", "10")]
        ids = add(made.client(), notes, 20, "noted", 0.5)
        disk.fill()

        def crowd() -> bool:
            """Let ZooKeeper write until its log needs a further block."""
            with contextlib.suppress(ServerAway):
                ids.extend(add(made.client(patience=0), notes, 20, "noted"))
            return not keeper.running

        until(crowd)
        disk.free()
        keeper.start()
        keeper.await_ready()
        jobs = ended(made.client(), ids)
        assert {job["state"] for job in jobs.values()} == {"SUCCESS"}
        until(lambda: made.client().queue()["entries"] == 0)
        assert all(process.running for process in processes)
