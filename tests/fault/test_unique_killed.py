"""64 clients add one unique job over and over, and a server is killed: one job at a time runs, none is lost."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from geventjob import Client
from tests.support.fleet import PASSWORD, Fleet, ended, fleet, until
from tests.support.noted import ACTIONS, Notes
from tests.support.pair import Pair

CLIENTS = 64
SECONDS = float(os.environ.get("SECONDS_OF_ADDS", "2"))
"""Seconds of adds before the kill, and as many after; a longer run says more."""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    shutil.copy(ACTIONS, made.actions_dir)
    yield made
    made.close()


def test_over_elasticsearch_one_of_two_servers_is_killed(pair: Pair, tmp_path: Path) -> None:
    doomed, _ = pair.start_servers()
    pair.url = pair.reaching(1)
    pair.executor("executor", "--session-timeout", "3")
    adds = Adds([pair.reaching(number) for number in range(2)], Notes(tmp_path / "notes"))
    with ThreadPoolExecutor(CLIENTS) as clients:
        adding = [clients.submit(adds.client, number) for number in range(CLIENTS)]
        time.sleep(SECONDS)
        doomed.kill()
        for each in adding:
            each.result(timeout=SECONDS + 60)
    adds.check(Client(pair.urls[1], "super", PASSWORD))


def test_over_sqlite_the_server_is_killed_and_started_again(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        server = made.server()
        made.executor("executor")
        adds = Adds([made.url], Notes(tmp_path / "notes"))
        with ThreadPoolExecutor(CLIENTS) as clients:
            adding = [clients.submit(adds.client, number) for number in range(CLIENTS)]
            time.sleep(SECONDS)
            server.kill()
            start_again(made)
            for each in adding:
                each.result(timeout=SECONDS + 60)
        adds.check(made.client())


def start_again(made: Fleet) -> None:
    made.server()


class Adds:
    """Clients that add one unique job for twice SECONDS, and the ids that they were given."""

    def __init__(self, urls: list[str], notes: Notes) -> None:
        self._clients = [Client(url, "super", PASSWORD, connections=CLIENTS) for url in urls]
        self._notes = notes
        self._until = time.monotonic() + 2 * SECONDS
        self._ids: set[str] = set()
        self._adds = 0

    def client(self, number: int) -> None:
        client = self._clients[number % len(self._clients)]
        payload = {"file": str(self._notes.path), "seconds": 0}
        unique = {"by": ["action"], "while": "active"}
        while time.monotonic() < self._until:
            self._ids.add(client.submit("noted", payload, unique=unique, if_exists="return"))
            self._adds += 1

    def check(self, client: Client) -> None:
        """Check that the jobs have followed one another, each run once."""
        until(lambda: client.search("job", filter="state='QUEUED' or state='RUNNING'", last=0)["count"] == 0)
        count = client.search("job", last=0)["count"]
        ids = [job["id"] for job in client.search("job", last=count, select=["id"])["jobs"]]
        jobs = sorted(ended(client, ids).values(), key=lambda job: str(job["started"]))
        assert {job["state"] for job in jobs} == {"SUCCESS"}
        assert set(ids) >= self._ids, "no add that was answered is lost"
        assert sorted(self._notes.jobs("begin")) == sorted(ids)
        early = [job["id"] for last, job in pairwise(jobs) if job["started"] < last["updated"]]
        assert early == [], "a job has begun before the end of the last one"
        assert self._notes.jobs("begin") == self._notes.jobs("end")
        print(f"{self._adds} adds, {len(jobs)} jobs, one at a time")
        assert len(jobs) > 2
