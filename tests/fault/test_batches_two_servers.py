"""Batches over two servers: a promoter is frozen, the next one is killed; each callback runs once, after its jobs."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from geventjob import Client
from tests.support.fleet import PASSWORD, ended, until
from tests.support.noted import ACTIONS, Notes
from tests.support.pair import Pair, promoter

BATCHES, JOBS = 3, 12


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    shutil.copy(ACTIONS, made.actions_dir)
    yield made
    made.close()


def test_each_callback_runs_once_when_promoters_are_frozen_and_killed(pair: Pair, tmp_path: Path) -> None:
    notes = Notes(tmp_path / "notes")
    servers = pair.start_servers("--reconcile-interval", "3")
    clients = [Client(url, "super", PASSWORD) for url in pair.urls]
    first = until(lambda: promoter(clients[0], pair) is not None) and promoter(clients[0], pair)
    assert first is not None
    second = 1 - first
    pair.url = pair.reaching(second)
    pair.executor("executor", "--threads", "20", "--session-timeout", "3")
    payload = {"file": str(notes.path), "seconds": 0.3}
    callbacks: dict[str, list[str]] = {}
    for _ in range(BATCHES):
        with clients[second].batch("noted", payload) as batch:
            for _ in range(JOBS):
                batch.add("noted", payload)
        callbacks[batch.id] = [job["id"] for job in clients[second].children(batch.id, page=JOBS + 1)]
    servers[first].freeze()
    until(lambda: promoter(clients[second], pair) == second)
    before = notes.count("end")
    servers[first].thaw()
    until(lambda: clients[first].healthy())
    servers[second].kill()
    ids = [id for callback, children in callbacks.items() for id in [callback, *children]]
    jobs = ended(clients[first], ids, 90)
    assert Counter((job["state"], job["attempts"]) for job in jobs.values()) == {("SUCCESS", 1): BATCHES * (JOBS + 1)}
    assert before < len(ids)
    lines = [(word, id) for _, id, word in notes.lines()]
    for callback, children in callbacks.items():
        assert jobs[callback]["batch"] == {"open": False, "whenFailed": "fail", "total": JOBS, "failed": 0}
        assert len(children) == JOBS
        assert max(lines.index(("end", child)) for child in children) < lines.index(("begin", callback))
