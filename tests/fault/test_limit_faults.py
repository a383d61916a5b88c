"""Limits while promoters are killed and frozen: never one job too many, and none forgotten."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from geventjob import Client
from tests.support import mixed
from tests.support.fleet import PASSWORD, Fleet, ended, until
from tests.support.noted import ACTIONS, Notes
from tests.support.pair import Pair, promoter

RUNNING, KEYS = 3, 2
SESSION = ("--session-timeout", "3")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    for file in (ACTIONS, mixed.ACTIONS):
        shutil.copy(file, made.actions_dir)
    yield made
    made.close()


def add(client: Client, notes: Notes, count: int, seconds: float) -> dict[str, int]:
    """Set a limit and add jobs that come under the limit. Return the number of the key of each job."""
    client.set_limit("few", "noted", per="payload.key", running=RUNNING)
    payload = {"file": str(notes.path), "seconds": seconds}
    jobs = [{"action": "noted", "payload": {**payload, "key": n % KEYS}} for n in range(count)]
    return {str(id): n % KEYS for n, id in enumerate(client.bulk_add(jobs))}


def most_at_once(notes: Notes, keys: dict[str, int]) -> dict[int, int]:
    """Return for each key the largest number of jobs that ran at the same time."""
    running: Counter[int] = Counter()
    most: Counter[int] = Counter()
    for _, id, word in notes.lines():
        running[keys[id]] += {"begin": 1, "end": -1}.get(word, 0)
        most[keys[id]] = max(most[keys[id]], running[keys[id]])
    return dict(most)


def check(client: Client, notes: Notes, keys: dict[str, int]) -> None:
    jobs = ended(client, list(keys), 120)
    assert Counter(job["state"] for job in jobs.values()) == {"SUCCESS": len(keys)}
    assert Counter(notes.jobs("begin")) == Counter(list(keys)), "each ran once"
    assert most_at_once(notes, keys) == dict.fromkeys(range(KEYS), RUNNING)
    until(lambda: client.queue()["entries"] == 0)


def test_one_server_is_killed_again_and_again(engine: Fleet, notes: Notes) -> None:
    server = engine.server(*SESSION, "--name", "server")
    for name in ("one", "two"):
        engine.executor(name, "--threads", "20", *SESSION)
    client = engine.client(patience=60)
    keys = add(client, notes, 60, 0.2)
    for count in (10, 25, 40):
        until(lambda count=count: notes.count("begin") >= count, every=0.02)
        server.kill()
        server = engine.server(*SESSION, "--name", "server")
    check(client, notes, keys)


def test_the_promoter_is_frozen_beyond_its_session_and_the_next_one_killed(pair: Pair, tmp_path: Path) -> None:
    notes = Notes(tmp_path / "notes")
    servers = pair.start_servers("--reconcile-interval", "3")
    first = until(lambda: promoter(Client(pair.urls[0], "super", PASSWORD), pair) is not None) and promoter(
        Client(pair.urls[0], "super", PASSWORD), pair
    )
    assert first is not None
    second = 1 - first
    pair.url = pair.reaching(second)  # a server that is frozen would hold up the executor's requests, too
    for number in range(2):
        pair.executor(f"executor-{number}", "--threads", "20", *SESSION)
    client = Client(pair.reaching(second), "super", PASSWORD)
    keys = add(client, notes, 80, 0.2)
    until(lambda: notes.count("begin") >= 12, every=0.02)
    servers[first].freeze()
    until(lambda: promoter(client, pair) == second, 60)
    begun = notes.count("begin")
    until(lambda: notes.count("begin") >= min(begun + 12, 60), every=0.02)
    servers[first].thaw()
    until(lambda: notes.count("begin") >= min(begun + 24, 66), every=0.02)
    servers[second].kill()
    check(Client(pair.urls[first], "super", PASSWORD), notes, keys)
