"""Two job servers over one ZooKeeper and one Elasticsearch: clients survive the death of one server under load."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from geventjob import Client
from geventjob.cimi.patience import patiently
from tests.support import mixed
from tests.support.fleet import PASSWORD, ended, until
from tests.support.noted import ACTIONS, Notes
from tests.support.pair import Pair, promoter

JOBS, CALLERS = 240, 12


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    for file in (ACTIONS, mixed.ACTIONS):
        shutil.copy(file, made.actions_dir)
    yield made
    made.close()


def test_no_job_is_lost_or_doubled_when_one_is_killed(pair: Pair, tmp_path: Path) -> None:
    notes = Notes(tmp_path / "notes")
    doomed, _ = pair.start_servers()
    for number in range(2):
        pair.url = pair.reaching(number)
        pair.executor(f"executor-{number}", "--threads", "20", "--session-timeout", "3")
    clients = [Client(pair.reaching(number), "super", PASSWORD, connections=CALLERS) for number in range(2)]
    ids: dict[str, str] = {}

    def add(number: int) -> None:
        """Add a job, then edit the description; retry while a server is away."""
        client, name = clients[number % 2], str(number)
        job = {"action": "noted", "name": name, "payload": {"file": str(notes.path), "seconds": 0.3}}
        id = client.add("job", job)
        patiently(partial(client.edit, id, {"description": f"job {name}"}), 60)
        ids[name] = id

    with ThreadPoolExecutor(CALLERS) as callers:
        adding = [callers.submit(add, number) for number in range(JOBS)]
        until(lambda: len(ids) >= JOBS // 2)
        doomed.kill()
        assert len(ids) < JOBS
        for each in adding:
            each.result(timeout=120)

    survivor = Client(pair.urls[1], "super", PASSWORD)
    jobs = ended(survivor, list(ids.values()), 120)
    assert {job["name"]: id for id, job in jobs.items()} == ids
    assert survivor.search("job", last=0)["count"] == JOBS, "none was doubled"
    assert Counter(job["state"] for job in jobs.values()) == {"SUCCESS": JOBS}
    assert {(job["attempts"], job["interruptions"]) for job in jobs.values()} == {(1, 0)}
    assert {job["description"] for job in jobs.values()} == {f"job {name}" for name in ids}
    assert Counter(notes.jobs("end")) == Counter(ids.values()), "each ran once"
    until(lambda: survivor.queue()["entries"] == 0)


def test_a_thousand_jobs_of_every_outcome_when_one_is_killed_half_way(pair: Pair) -> None:
    doomed, _ = pair.start_servers()
    client = Client(pair.reaching(0), "super", PASSWORD, connections=CALLERS)
    jobs = mixed.Mixed(client, 0.5)
    for number in range(2):
        pair.url = pair.reaching(number)
        pair.executor(f"executor-{number}", "--threads", "100", "--unknown-grace", "3")

    def final() -> int:
        return int(client.search("job", filter="state!='QUEUED' and state!='RUNNING'", last=0)["count"])

    until(lambda: final() >= len(jobs.kinds) // 2, 60)
    doomed.kill()
    assert final() < len(jobs.kinds)
    until(jobs.stop_running, 60)
    jobs.check(ended(client, list(jobs.kinds), 120), pair.actions_dir)
    until(lambda: client.queue()["entries"] == 0)


def test_held_jobs_are_put_by_the_other_server_when_the_promoter_is_killed(pair: Pair, tmp_path: Path) -> None:
    notes = Notes(tmp_path / "notes")
    servers = pair.start_servers()
    client = Client(pair.urls[0], "super", PASSWORD)
    leading = until(lambda: [node["url"] for node in client.nodes() if "promoter" in node.get("leads", ())])
    doomed = pair.urls.index(leading[0])
    pair.url = pair.urls[1 - doomed]
    pair.executor("executor", "--session-timeout", "3")
    client = Client(pair.url, "super", PASSWORD)
    job = {"action": "fails_first", "payload": {"file": str(notes.path), "seconds": 0, "fail": 1}}
    ids = [str(id) for id in client.bulk_add([{**job, "notBefore": f"+{seconds}s"} for seconds in (1, 4, 8)])]
    until(lambda: notes.jobs("begin")[:2] == ids[:1] * 2, every=0.02)
    servers[doomed].kill()
    jobs = ended(client, ids)
    assert Counter((job["state"], job["retried"], job["attempts"]) for job in jobs.values()) == {("SUCCESS", 1, 2): 3}
    assert sorted(notes.jobs("begin")) == sorted(ids * 2)
    assert all(job["errors"][0]["type"] == "OSError" and job["output"] == {"runs": 2} for job in jobs.values())


def test_chains_go_on_in_their_order_when_the_promoter_is_frozen_and_the_next_one_is_killed(
    pair: Pair, tmp_path: Path
) -> None:
    notes = Notes(tmp_path / "notes")
    servers = pair.start_servers("--reconcile-interval", "3")
    clients = [Client(url, "super", PASSWORD) for url in pair.urls]
    first = until(lambda: promoter(clients[0], pair) is not None) and promoter(clients[0], pair)
    assert first is not None
    pair.url = pair.reaching(1 - first)  # a server that is frozen would hold up the executor's requests, too
    for number in range(2):
        pair.executor(f"executor-{number}", "--threads", "20", "--session-timeout", "3")
    body = {"action": "noted", "payload": {"file": str(notes.path), "seconds": 0.3}}
    root = clients[1 - first].add("job", {**body, "notBefore": "+1h"})
    lines = [[root] for _ in range(6)]
    for _ in range(12):
        for line in lines:
            line.append(clients[1 - first].add("job", {**body, "after": {"jobs": line[-1:]}}))
    last = clients[1 - first].add("job", {**body, "after": {"jobs": [line[-1] for line in lines]}})
    clients[1 - first].operation(root, "release")
    until(lambda: notes.count("end") >= 10)
    servers[first].freeze()
    until(lambda: promoter(clients[1 - first], pair) == 1 - first)
    before = notes.count("end")
    until(lambda: notes.count("end") >= before + 10)
    servers[first].thaw()
    until(lambda: clients[first].healthy())
    servers[1 - first].kill()
    jobs = ended(clients[first], list({id for line in lines for id in [*line, last]}), 90)
    assert Counter((job["state"], job["attempts"]) for job in jobs.values()) == {("SUCCESS", 1): 74}
    steps = [(word, id) for _, id, word in notes.lines()]
    for line in lines:
        assert [step for step in steps if step[1] in line] == [(word, id) for id in line for word in ("begin", "end")]
    assert steps[-2:] == [("begin", last), ("end", last)]
