"""Why is a job not running? Each case with real processes, by the command of an operator."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geventjob import Client
from tests.support.fleet import PASSWORD, Fleet, ended, fleet, until

ACTIONS = """
import time
from geventjob import Backoff, action

@action("wait", timeout=60)
def wait(job):
    while True:
        time.sleep(0.1)

@action("fail", retries=1, backoff=Backoff(first=3600))
def fail(job):
    raise OSError("the API is away")
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path) as made:
        (made.actions_dir / "waiting.py").write_text(ACTIONS)
        made.server()
        yield made


def why(engine: Fleet, id: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "geventjob.cli.main", "--ss-url", engine.url, *engine.login, "why", id, "--json"]
    answer: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return answer


def test_the_cases_of_a_fleet_from_its_start_to_its_end(engine: Fleet) -> None:
    client = engine.client()
    first, second = (client.add("job", {"action": "wait"}) for _ in range(2))
    assert why(engine, second) == {
        "id": second, "state": "QUEUED", "ahead": 1,
        "why": "No executor is connected; 1 job is before it in the queue.",
    }  # fmt: skip

    later = client.add("job", {"action": "wait", "notBefore": "+2h"})
    assert ": added to run at this time or later." in why(engine, later)["why"]
    assert why(engine, later)["held"]["why"] == "notBefore"

    executor = engine.executor("one", "--threads", "1", "--session-timeout", "3", "--unknown-grace", "600")
    until(lambda: client.get(first)["state"] == "RUNNING")
    assert why(engine, first)["why"].startswith("The job runs on one, attempt 1, since 20")
    until(lambda: why(engine, second)["why"].startswith("All 1 slots of the executors with the action are taken; the"))
    assert why(engine, second)["executors"] == [{"name": "one", "hasAction": True, "running": 1, "slots": 1}]

    until(lambda: "since 20" in why(engine, first)["why"] and "has written nothing for 1" in why(engine, first)["why"])

    unknown = client.add("job", {"action": "wash"})
    assert why(engine, unknown)["why"].startswith("No executor has the action wash; they have ")
    assert "fail, " in why(engine, unknown)["why"]

    engine.freeze(executor)
    until(lambda: "connected" in why(engine, first)["why"] or why(engine, first)["state"] == "QUEUED")
    executor.kill()
    until(lambda: why(engine, first)["why"].startswith("No executor is connected"))


def test_a_retry_and_an_end(engine: Fleet) -> None:
    client = engine.client()
    engine.executor("one")
    failed = client.add("job", {"action": "fail", "retries": 0})
    waits = client.add("job", {"action": "fail"})
    assert ended(client, [failed])
    assert why(engine, failed)["why"].endswith(": OSError: the API is away.")
    assert why(engine, failed)["why"].startswith("The job is FAILED since 20")
    until(lambda: "held" in client.get(waits))
    assert "run 1 failed (OSError: the API is away), and the job is tried again." in why(engine, waits)["why"]


def test_an_executor_whose_log_in_is_refused(engine: Fleet) -> None:
    """The password of the executors was changed."""
    client = engine.client()
    client.add("user", {"username": "worker", "password": PASSWORD, "roles": "EXECUTOR USER"})
    engine.login = ["--ss-user", "worker", "--ss-pass-file", str(engine.password_file)]
    engine.executor("one", "--threads", "1")
    client.edit("user/worker", {"password": "another password"})
    engine.login = ["--ss-user", "super", "--ss-pass-file", str(engine.password_file)]
    id = client.add("job", {"action": "wait"})
    refused = (
        "The executor one has taken the job and cannot reach",
        "No executor with the action reaches the server: one (",  # it was refused before it could take the job
    )
    until(lambda: why(engine, id)["why"].startswith(refused))
    second = client.add("job", {"action": "wait"})
    until(lambda: why(engine, second)["why"].startswith("No executor with the action reaches the server: one ("))
    client.edit("user/worker", {"password": PASSWORD})
    until(lambda: why(engine, id)["why"].startswith("The job runs on one"))


def test_the_queue_is_out_of_reach(tmp_path: Path) -> None:
    from tests.support.zookeeper import shared
    from tests.support.zookeeper_proxy import ZooKeeperProxy

    proxy = ZooKeeperProxy(shared().port)
    try:
        with fleet(tmp_path, proxy.hosts) as engine:
            engine.server("--session-timeout", "3")
            id = engine.client().add("job", {"action": "wait"})
            proxy.close()
            until(lambda: "and the queue is out of reach: " in why(engine, id)["why"])
    finally:
        proxy.close()


def test_an_executor_that_comes_back_takes_the_job(engine: Fleet) -> None:
    client: Client = engine.client()
    executor = engine.executor("one", "--threads", "1")
    id = client.add("job", {"action": "wait"})
    until(lambda: client.get(id)["state"] == "RUNNING")
    client.operation(id, "stop")
    job = ended(client, [id])[id]
    assert why(engine, id)["why"].startswith("The job is STOPPED since 20")
    assert job["state"] == "STOPPED"
    executor.signal(signal.SIGTERM)
    assert executor.wait() == 0
