"""Limits by the commands of an operator, with real processes: set, changed and deleted while jobs run and wait."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet import Fleet, ended, fleet, until

ACTIONS = """
import os, time
from geventjob import action

@action("charge", timeout=60)
def charge(job, go: str, account: str = ""):
    while not os.path.exists(go):
        time.sleep(0.02)
"""

WRONG = {
    "set a --action x": "name --running N, --starts N with --each SECONDS, or both",
    "set a --action x --starts 5": "--starts N and --each SECONDS go together",
    "set a/b --action x --running 1": "name: expected at most 100 letters, digits and _.-",
    "set a --action x --running 0": "--running",
    "set a --action x --running 1 --per status": "per: expected the path of an attribute",
    "delete nosuch": "there is no limit nosuch",
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path) as made:
        (made.actions_dir / "charging.py").write_text(ACTIONS)
        made.server()
        yield made


def command(engine: Fleet, *arguments: str) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", "geventjob.cli.main", "--ss-url", engine.url, *engine.login, *arguments]
    return subprocess.run(whole, capture_output=True, text=True)


def test_an_operator_limits_jobs(engine: Fleet, tmp_path: Path) -> None:
    options = ("--action", "charge", "--per", "payload.account", "--running", "2")
    done = command(engine, "limits", "set", "stripe", *options)
    told = "stripe  charge: at most 2 run, for each payload.account\n"
    assert (done.returncode, done.stdout) == (0, told)
    assert [line.split() for line in command(engine, "limits").stdout.splitlines()] == [
        ["NAME", "ACTION", "PER", "RUNNING", "STARTS", "EACH"],
        ["stripe", "charge", "payload.account", "2"],
    ]
    assert command(engine, "limits", "delete", "strpe").stderr.endswith("no limit strpe: did you mean stripe?\n")
    client = engine.client()
    assert client.entry_points()["limits"] == "limit"
    go = tmp_path / "go"

    def add(account: str, path: Path = go) -> str:
        return client.add("job", {"action": "charge", "payload": {"go": str(path), "account": account}})

    engine.executor("one", "--threads", "20")
    ids = [add("acct_7") for _ in range(5)]
    until(lambda: [client.get(id)["state"] for id in ids] == ["RUNNING"] * 2 + ["QUEUED"] * 3)
    other = add("acct_8", tmp_path)
    assert ended(client, [other])[other]["state"] == "SUCCESS"
    assert client.get(ids[4])["held"]["detail"] == "stripe acct_7: 2 of 2 run"
    why: dict[str, Any] = json.loads(command(engine, "why", ids[4], "--json").stdout)
    assert why["why"] == "The job waits: stripe acct_7: 2 of 2 run, and 2 jobs wait before it."
    client.set_limit("stripe", "charge", per="payload.account", running=3)
    until(lambda: [client.get(id)["state"] for id in ids] == ["RUNNING"] * 3 + ["QUEUED"] * 2)
    assert [limit["running"] for limit in client.limits()] == [3]
    assert command(engine, "limits", "delete", "stripe").stdout == "stripe  deleted\n"
    until(lambda: [client.get(id)["state"] for id in ids] == ["RUNNING"] * 5)
    go.touch()
    assert {job["state"] for job in ended(client, ids).values()} == {"SUCCESS"}


def test_wrong_usage_is_told_in_a_line(engine: Fleet) -> None:
    for arguments, words in WRONG.items():
        done = command(engine, "limits", *arguments.split())
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert words in done.stderr
