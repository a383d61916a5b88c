"""The log of an action, as `geventjob logs` shows the log, with real processes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from geventjob import Client
from tests.support.command_line import Cli
from tests.support.fleet import PASSWORD, Fleet, ended, fleet, until

ACTIONS = """
import asyncio
import logging
import os
import time

import gevent

from geventjob import action

log = logging.getLogger(__name__)

@action("talks")
def talks(job):
    log.info("hello from %s", job.id)
    while os.path.exists(job.payload["gate"]):
        time.sleep(0.05)
    gevent.spawn(log.warning, "from a greenlet").join()
    log.debug("not at this level")
    log.info("goodbye")

@action("waits")
def waits(job):
    log.info("waiting")
    gate = job.payload["gate"]
    while os.path.exists(gate):
        time.sleep(0.05)  # here it waits

@action("awaits")
async def awaits(job):
    log.info("first")
    await asyncio.sleep(0.01)
    log.info("second")

@action("says_nothing")
def says_nothing(job):
    time.sleep(0.01)
"""
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARNING) +\S*talking (.*)")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("logs")) as made:
        (made.actions_dir / "talking.py").write_text(ACTIONS)
        ini = made.data_dir / "client.ini"
        ini.write_text(f"ss-url = {made.url}\nss-user = super\nss-pass = {PASSWORD}\n")
        ini.chmod(0o600)
        made.server()
        made.executor("worker")
        yield made


@pytest.fixture(scope="module")
def client(up: Fleet) -> Iterator[Client]:
    with up.client() as made:
        yield made


def said(text: str) -> list[str]:
    return [match[2] for line in text.splitlines() if (match := LINE.fullmatch(line))]


def test_logs_follow_a_job_to_its_end(up: Fleet, client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    id = client.add("job", {"action": "talks", "payload": {"gate": str(gate)}})
    cli = Cli(up.data_dir)
    with cli.start("logs", id, "--follow") as following:
        output: IO[str] = following.stdout  # type: ignore[assignment]
        assert re.fullmatch(r"--- attempt 1 on worker, \S+Z ---\n", output.readline())
        assert said(output.readline()) == [f"hello from {id}"]
        assert client.get(id)["state"] == "RUNNING", "lines come while the job runs"
        gate.unlink()
        rest = output.read()
    assert said(rest) == ["from a greenlet", "goodbye"]
    assert len(rest.splitlines()) == 2
    whole = cli("logs", id[4:12])
    assert said(whole.stdout) == [f"hello from {id}", "from a greenlet", "goodbye"]
    log = json.loads(cli("logs", id, "--json").stdout)
    assert (log["state"], [each["attempt"] for each in log["attempts"]]) == ("SUCCESS", [1])


def test_a_job_that_logs_nothing_has_an_empty_log(up: Fleet, client: Client) -> None:
    id = client.add("job", {"action": "says_nothing"})
    ended(client, [id])
    done = Cli(up.data_dir)("logs", id)
    assert (done.stdout, done.stderr) == ("", "")
    assert client.log(id)["attempts"] == []


def test_lines_of_a_coroutine_are_kept(up: Fleet, client: Client) -> None:
    ids = [client.add("job", {"action": "awaits"}) for _ in range(2)]
    ended(client, ids)
    for id in ids:
        [attempt] = client.log(id)["attempts"]
        assert said(attempt["text"]) == ["first", "second"]


def test_logs_of_no_job(up: Fleet) -> None:
    done = Cli(up.data_dir)("logs", "0" * 36, code=6)
    assert "no such job" in done.stderr or "not found" in done.stderr


def test_the_stack_of_a_running_job_and_the_record_of_its_stop(up: Fleet, client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    id = client.add("job", {"action": "waits", "payload": {"gate": str(gate)}})
    cli = Cli(up.data_dir)
    until(lambda: client.log(id)["attempts"])
    stack = cli("stack", id).stdout.splitlines()
    assert re.fullmatch(r"--- attempt 1 on worker runs, \S+Z ---", stack[0])
    assert stack[stack.index("last lines:") + 1].endswith("talking waiting")
    assert "    time.sleep(0.05)  # here it waits" in map(str.rstrip, (line.removeprefix("  ") for line in stack))
    assert client.get(id)["state"] == "RUNNING", "nothing has changed"
    cli("stop", id)
    ended(client, [id])
    shown = cli("show", "--record", id).stdout
    assert [why for why in ("runs", "was stopped") if f"attempt 1 on worker {why}" in shown] == ["runs", "was stopped"]
    records = json.loads(cli("show", "--record", "--json", id).stdout)["records"]
    assert [each["why"] for each in records] == ["asked", "stop"]
    assert "here it waits" in records[1]["stack"]
    assert "no executor runs it" in cli.wrong("stack", id, code=1)


def test_a_job_without_a_record_says_so(up: Fleet, client: Client) -> None:
    id = client.add("job", {"action": "says_nothing"})
    ended(client, [id])
    assert "has no record" in Cli(up.data_dir).wrong("show", "--record", id, code=0)
