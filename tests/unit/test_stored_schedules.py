"""The distributor `schedules`, against servers that fail or keep no schedules."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from geventjob import Client
from geventjob.calendar.stored import date_of
from geventjob.clock import unix_milliseconds
from geventjob.coordination.sqlite import SqliteCoordination
from geventjob.scheduling.leader import Leader
from geventjob.scheduling.stored import StoredSchedules
from tests.support.answering import Asked, Reply, answering
from tests.support.waiting import eventually

SECOND = 1_000


class Server:
    """A server with one schedule of each second, which answers each tick with the next of `results`, then with 200."""

    def __init__(self) -> None:
        begun = unix_milliseconds()
        self.schedule: dict[str, Any] = {"id": "schedule/s", "name": "s", "every": 1, "catchup": 1000}
        self.schedule |= {"since": date_of(begun), "updated": date_of(begun)}
        self.results: list[dict[str, Any]] = []
        self.fired: list[int] = []
        self.searches = 0

    def __call__(self, asked: Asked) -> Reply:
        if asked.path == "/api/schedule":
            self.searches += 1
            found = [] if asked.form.get("$last") == ["0"] else [self.schedule]
            return Reply(json={"count": 1, "schedules": found})
        return Reply(json={"results": [self.fire(each) for each in asked.json["ticks"]]})

    def fire(self, item: dict[str, Any]) -> dict[str, Any]:
        self.fired.append(item["tick"])
        if self.results:
            return self.results.pop(0)
        self.schedule["tick"] = item["tick"]
        return {"status": 200, "jobs": [f"job/{len(self.fired)}"]}


@pytest.fixture
def coordination(tmp_path: Path) -> Iterator[SqliteCoordination]:
    made = SqliteCoordination(str(tmp_path / "c.db"), "a", 2.0)
    made.start()
    yield made
    made.close()


def leading(coordination: SqliteCoordination, url: str) -> gevent.Greenlet[..., Any]:
    client = Client(url, "alice", "secret", patience=0, timeout=(2, 2))
    work = StoredSchedules(client, None)
    return gevent.spawn(Leader("schedules", coordination, lambda held: work.work("schedules", held)).run)


def test_each_tick_fires_once(coordination: SqliteCoordination) -> None:
    server = Server()
    with answering(server) as http:
        leader = leading(coordination, http.url)
        eventually(lambda: len(server.fired) >= 3)
        leader.kill()
    assert server.fired == list(range(server.fired[0], server.fired[-1] + 1, SECOND))


def test_a_tick_that_the_server_refuses_is_given_up(
    coordination: SqliteCoordination, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server()
    server.results = [{"status": 409, "message": "it is paused"}]
    with answering(server) as http:
        leader = leading(coordination, http.url)
        eventually(lambda: len(server.fired) >= 3)
        leader.kill()
    assert len(set(server.fired)) == len(server.fired)
    assert f"its tick {server.fired[0]} does not fire: it is paused" in caplog.text


def test_a_tick_that_the_store_cannot_take_is_tried_again(coordination: SqliteCoordination) -> None:
    server = Server()
    server.results = [{"status": 503, "message": "the disk is full"}]
    with answering(server) as http:
        leader = leading(coordination, http.url)
        eventually(lambda: len(server.fired) >= 3)
        leader.kill()
    assert server.fired.count(server.fired[0]) == 2


def test_a_server_without_schedules_is_named_once(
    coordination: SqliteCoordination, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    asked = []

    def slipstream(request: Asked) -> Reply:
        asked.append(request)
        return Reply(405, {"status": 405, "message": "invalid method (put) for /api/schedule"})

    with answering(slipstream) as http:
        leader = leading(coordination, http.url)
        eventually(lambda: len(asked) >= 3)
        leader.kill()
    assert caplog.text.count("the server keeps no schedules: it is of SlipStream, or of an older version") == 1
