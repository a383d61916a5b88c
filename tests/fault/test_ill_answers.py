"""The job server answers 503 and 429 thousands of times, hangs, breaks off, or speaks no JSON."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from geventjob import Client
from geventjob.cimi.errors import ServerAway
from tests.support.fleet import PASSWORD, Fleet, Process, Way, ended, until
from tests.support.http_proxy import HttpProxy
from tests.support.noted import Notes, add

LINES = 8
"""The most lines that an executor may log about one time of ill answers, however many answers."""
SESSION = ("--session-timeout", "3", "--log-jobs", "none")

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)  # a matter between client and server


@pytest.fixture
def way(engine: Fleet) -> Iterator[HttpProxy]:
    """Yield the way of the executor to the server."""
    engine.server(*SESSION)
    made = HttpProxy(engine.port)
    yield made
    made.close()


def begin(engine: Fleet, way: HttpProxy) -> Process:
    executor = engine.start_executor("first", "--threads", "5", *SESSION, way=Way(way.url, ""))
    engine.await_nodes("first")
    return executor


def edits(way: HttpProxy) -> int:
    return way.count(b"bulk-edit")


def test_an_executor_waits_for_better_answers_and_loses_nothing(engine: Fleet, notes: Notes, way: HttpProxy) -> None:
    executor = begin(engine, way)
    client = engine.client()
    body = {"message": "later"}
    ills: dict[str, Callable[[], object]] = {
        "503": lambda: way.reply(b"bulk-edit", status=503, body={"status": 503, **body}),
        "429": lambda: way.reply(b"bulk-edit", status=429, body={"status": 429, **body}),
        "no JSON": lambda: way.reply(b"bulk-edit", status=200, body=b"<html>welcome</html>"),
        "other JSON": lambda: way.reply(b"bulk-edit", status=200, body=[]),
        "hangs": way.go_silent,
        "cut": way.cut,
    }
    for name, begin_ill in ills.items():
        lines, ran, sent = len(executor.log.splitlines()), notes.count("begin"), edits(way)
        begin_ill()
        ids = add(client, notes, 5, "noted")
        if name == "hangs":
            until(lambda lines=lines: "the server is away" in "".join(executor.log.splitlines()[lines:]), 60)
        elif name != "cut":
            until(lambda sent=sent: edits(way) >= sent + 6)
            assert notes.count("begin") == ran, "a job ran before its RUNNING was written"
        way.pass_on()
        way.speak()
        jobs = ended(client, ids)
        assert {(job["state"], job["attempts"]) for job in jobs.values()} == {("SUCCESS", 1)}
        told = executor.log.splitlines()[lines:]
        assert len(told) <= LINES, told
    assert executor.stop() == 0


def test_ten_thousand_refusals_leave_nothing_behind(engine: Fleet, way: HttpProxy) -> None:
    client = Client(way.url, "super", PASSWORD, patience=0)
    client.search("job", last=0)
    held = descriptors()
    for status in (503, 429):
        way.reply(b"/api/job", status=status, body={"status": status, "message": "later"}, times=5_000)
        for _ in range(5_000):
            with pytest.raises(ServerAway):
                client.get("job/one")
    assert client.search("job", last=0)["count"] == 0
    assert descriptors() <= held + 2


def descriptors() -> int:
    """Return how many descriptors this process has open, with both ends of the proxy."""
    return len(os.listdir("/proc/self/fd"))


def test_a_cookie_that_ends_and_a_password_that_is_changed_lose_nothing(engine: Fleet, notes: Notes) -> None:
    """A new cookie is fetched without a word; under a wrong password outcomes wait, which is told once."""
    engine.server(*SESSION)
    admin = engine.client()
    admin.add("user", {"username": "worker", "password": PASSWORD, "roles": "USER EXECUTOR"})
    engine.login[engine.login.index("super")] = "worker"
    executor = engine.executor("first", "--threads", "20", *SESSION)
    notes.close("first")
    ids = add(admin, notes, 10, "gated")
    until(lambda: notes.count("begin") == 10)
    lines = len(executor.log.splitlines())

    for session in until(lambda: admin.sessions("worker")):
        admin.delete(session["id"])
    ended(admin, more := add(admin, notes, 5, "noted"))
    assert executor.log.splitlines()[lines:] == []

    admin.edit("user/worker", {"password": "another password"})
    notes.open("first")
    until(lambda: "invalid credentials for 'worker'" in executor.log)
    until(lambda: notes.count("end") == 15)
    assert {admin.get(id)["state"] for id in ids} == {"RUNNING"}
    admin.edit("user/worker", {"password": PASSWORD})
    jobs = ended(admin, [*ids, *more])
    assert {(job["state"], job["attempts"]) for job in jobs.values()} == {("SUCCESS", 1)}
    assert executor.log.count("invalid credentials") == 1
    assert len(executor.log.splitlines()) - lines <= LINES
    assert executor.stop() == 0
