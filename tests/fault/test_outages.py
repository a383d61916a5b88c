"""ZooKeeper, the job server and Elasticsearch are gone for a while, one by one and together: all goes on by itself.

GEVENTJOB_OUTAGE_SECONDS says how long each outage lasts: `make outages` takes five minutes for each.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from geventjob import Client
from geventjob.cimi.errors import CimiError
from tests.support import elasticsearch, zookeeper
from tests.support.fleet import PASSWORD, Fleet, Process, ended, fleet, until
from tests.support.job_server import Caller, problem
from tests.support.noted import ACTIONS, Notes, add

SECONDS = float(os.environ.get("GEVENTJOB_OUTAGE_SECONDS", 5))
"""How long an outage lasts: longer than a session."""
SESSION = ("--session-timeout", "2", "--log-jobs", "none")
LINES = 16
"""The most lines that a process may log about an outage, however long: each loop tells its beginning and its end."""


IN_TIME = 8.0
"""Seconds: the store gives up after four, and the machine may be busy."""


class Part(NamedTuple):
    """What can be gone."""

    kill: Callable[[], object]
    start: Callable[[], object]


class Adder:
    """A program that keeps adding jobs, and notes the ids that the server has answered."""

    def __init__(self, url: str, notes: Notes) -> None:
        self.ids: list[str] = []
        self._client = Client(url, "super", PASSWORD)
        self._job = {"action": "noted", "payload": {"file": str(notes.path), "seconds": 0.5}}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.2):
            try:
                self.ids.append(self._client.add("job", self._job))
            except CimiError:
                continue

    def more(self) -> None:
        """Wait until the server has answered further adds."""
        before = len(self.ids)
        until(lambda: len(self.ids) > before + 2)

    def close(self) -> None:
        self._over.set()
        self._thread.join()


def fired(client: Client) -> int:
    return int(client.search("job", filter="idempotencyKey^='schedule/tick@'", last=0)["count"])


def told(processes: list[Process]) -> list[int]:
    """Return how many lines each process has logged, without those of ticks."""
    return [sum("fired its tick" not in line for line in process.log.splitlines()) for process in processes]


def begin(made: Fleet, notes: Notes) -> Client:
    """Start executors, a distributor and a schedule beside the server."""
    shutil.copy(ACTIONS, made.actions_dir)
    for name in ("first", "second"):
        made.executor(name, *SESSION)
    made.distributor("ticking", *SESSION, "schedules")
    client = made.client()
    payload = {"file": str(notes.path), "seconds": 0}
    client.add("schedule", {"name": "tick", "every": 1, "action": "noted", "payload": payload})
    until(lambda: fired(client) > 0)
    return client


def started(made: Fleet, arguments: tuple[str, ...]) -> Process:
    """Start the server while Elasticsearch may still be starting: a supervisor would start the server again."""

    def serving() -> Process | None:
        process = made.start_server(*arguments)
        made.processes.pop()
        until(lambda: made.client().healthy() or not process.running)
        return process if process.running else None

    return until(serving)


def go_through(parts: list[Part], adder: Adder, client: Client, processes: list[Process]) -> None:
    """Let these parts be gone for a while; all that was added ends, and adds and ticks go on."""
    adder.more()
    lines = told(processes)
    for part in parts:
        part.kill()
    time.sleep(SECONDS)
    for part in parts:
        part.start()
    began = time.monotonic()
    adder.more()
    adding = time.monotonic() - began
    before = fired(client)
    until(lambda: fired(client) > before)
    ids = list(adder.ids)
    jobs = ended(client, ids)
    assert {job["state"] for job in jobs.values()} == {"SUCCESS"}
    said = [now - then for now, then in zip(told(processes), lines, strict=True)]
    print(f"adds after {adding:.1f} s, all ended after {time.monotonic() - began:.1f} s, lines: {said}")
    assert max(said) <= LINES, [process.log[-3000:] for process in processes]
    assert all(process.running for process in processes)


def test_all_goes_on_by_itself_after_each_outage(tmp_path: Path) -> None:
    """One Elasticsearch serves both parts, since its start takes the longest."""
    with elasticsearch.running(elasticsearch.Cluster()) as cluster:
        for number, part in enumerate((outcomes_wait_for_the_store, everything_was_away)):
            folder = tmp_path / str(number)
            folder.mkdir()
            part(folder, cluster.nodes[0])


def everything_was_away(tmp_path: Path, node: elasticsearch.Node) -> None:
    """Let each part be gone, and then all three at once, while a program keeps adding."""
    notes = Notes(tmp_path / "notes")
    with zookeeper.running(zookeeper.Ensemble()) as ensemble, fleet(tmp_path, ensemble.hosts) as made:
        [keeper] = ensemble.servers
        storing = ("--es-hosts-list", node.host, *SESSION)
        made.server(*storing)
        client = begin(made, notes)
        adder = Adder(made.url, notes)
        queue = Part(keeper.kill, lambda: (keeper.start(), keeper.await_ready()))
        server = Part(lambda: made.processes.pop(0).kill(), lambda: made.processes.insert(0, started(made, storing)))
        store = Part(node.kill, lambda: (node.start(), node.await_ready()))
        try:
            for parts in ([queue], [server], [store], [store, queue, server]):
                go_through(parts, adder, client, made.processes[server in parts :])
        finally:
            adder.close()
        ended(client, adder.ids)
        assert set(notes.jobs("end")) >= set(adder.ids)
        until(lambda: client.queue()["entries"] == 0)


def outcomes_wait_for_the_store(tmp_path: Path, node: elasticsearch.Node) -> None:
    """Let requests end in time while Elasticsearch is gone, and lose no outcome."""
    notes = Notes(tmp_path / "notes")
    with fleet(tmp_path) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        made.server("--es-hosts-list", node.host)
        made.executor("first", "--threads", "10")
        notes.close("first")
        ids = add(made.client(), notes, 30, "gated")
        until(lambda: notes.count("begin") == 10)
        session = Caller(made.url)
        assert session.login("super", PASSWORD).status_code == 201
        key = {"action": "noted", "idempotencyKey": "once", "payload": {"file": str(notes.path), "seconds": 0}}

        node.kill()
        notes.open("first")
        for method, path, body in [("POST", "job", key), ("GET", ids[0], None), ("PUT", "job", None)]:
            began = time.monotonic()
            answer = session(method, path, json=body)
            assert time.monotonic() - began < IN_TIME
            problem(answer, 503, "the store is out of reach: Elasticsearch at")
            assert int(answer.headers["Retry-After"]) > 0
        health = session.get("/healthz")
        assert (health.status_code, "Elasticsearch" in health.text) == (503, True)
        until(lambda: notes.count("end") == 10)  # their outcomes wait

        node.start()
        node.await_ready()
        until(lambda: session.get("/healthz").status_code == 200)
        until(lambda: session.post("job", key).status_code == 201)
        id = session.post("job", key).json()["resource-id"]
        jobs = ended(made.client(), [*ids, id])
        assert Counter(job["state"] for job in jobs.values()) == {"SUCCESS": 31}
        assert {(job["attempts"], job["interruptions"]) for job in jobs.values()} == {(1, 0)}
        assert Counter(notes.jobs("end")) == Counter([*ids, id]), "each ran once"
        until(lambda: made.client().queue()["entries"] == 0)
