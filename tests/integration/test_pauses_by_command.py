"""Pause and resume actions with real processes, by the commands of an operator, and over HTTP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from geventjob import Client
from geventjob.cimi.errors import Invalid, NotFound
from tests.support.fleet import Fleet, ended, fleet, until

ACTIONS = """
from geventjob import action

@action("send")
def send(job):
    return None

@action("print")
def print_it(job):
    return None
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path) as made:
        (made.actions_dir / "sending.py").write_text(ACTIONS)
        made.server()
        made.executor("one", "--threads", "4")
        yield made


def command(engine: Fleet, *words: str, code: int = 0) -> str:
    """Run a command; return what it prints."""
    line = [sys.executable, "-m", "geventjob.cli.main", "--ss-url", engine.url, *engine.login, *words]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_an_operator_pauses_looks_and_resumes(engine: Fleet) -> None:
    client = engine.client()
    assert "nothing is paused" in command(engine, "pause")
    said = command(engine, "pause", "send", "--why", "the bank is down")
    assert "send is paused by super since 2" in said
    assert said.rstrip().endswith("Z: the bank is down")
    id = client.add("job", {"action": "send"})
    assert said.strip() in command(engine, "queue")
    head, row = command(engine, "pause").splitlines()
    assert head.split() == ["ACTION", "BY", "SINCE", "UNTIL", "WHY"]
    assert row.startswith("send    super  2")
    assert row.endswith("Z         the bank is down")
    assert "sned was not paused: did you mean send?" in command(engine, "resume", "sned", code=2)
    assert "waits: the action send is paused by super since 2" in command(engine, "why", id)
    assert id in command(engine, "jobs", "--filter", "held/why='paused'")
    ended(client, [client.add("job", {"action": "print"})])
    assert client.get(id)["state"] == "QUEUED"
    assert "pause/send  ended" in command(engine, "resume", "send")
    assert ended(client, [id])[id]["state"] == "SUCCESS"


def test_wrong_usage_is_told_in_one_line(engine: Fleet) -> None:
    for words, said in {
        ("pause", "--why", "x"): "name an action, or give --all",
        ("pause", "send", "--all"): "an action or --all, not both",
        ("resume",): "name an action, or give --all",
        ("resume", "send"): "send was not paused",
        ("resume", "--all"): "all actions were not paused",
    }.items():
        line = command(engine, *words, code=2)
        assert said in line
        assert line.count("\n") == 1
    assert "until: expected" in command(engine, "pause", "send", "--until", "tomorrow", code=2)
    assert "no executor announces the action 'sned': did you mean send?" in command(engine, "pause", "sned")


def test_a_program_pauses_all_until_a_time(engine: Fleet) -> None:
    client = engine.client()
    pause = client.pause(until="+1h", why="moving")
    assert (pause["id"], pause["action"], pause["by"], pause["why"]) == ("pause/*", "*", "super", "moving")
    ids = [client.add("job", {"action": action}) for action in ("send", "print")]
    assert [client.get(id)["held"]["on"] for id in ids] == ["pause/*"] * 2
    assert [each["id"] for each in client.pauses()] == ["pause/*"]
    assert client.get("pause/*")["until"] == pause["until"]
    assert client.queue()["pauses"][0]["why"] == "moving"
    assert client.entry_points()["pauses"] == "pause"
    sooner = client.pause(until="+2s")
    assert sooner["since"] == pause["since"]
    assert "why" not in sooner
    jobs = ended(client, ids)
    assert {job["state"] for job in jobs.values()} == {"SUCCESS"}
    until(lambda: client.pauses() == [])


def test_a_bad_body_is_refused(engine: Fleet) -> None:
    client: Client = engine.client()
    for body, said in (
        ({}, "action"),
        ({"action": ""}, "action"),
        ({"action": "send", "until": "yesterday"}, "until: expected"),
        ({"action": "send", "until": "2020-01-01T00:00:00Z"}, "a moment to come"),
        ({"action": "send", "untl": "+2h"}, "untl"),
        ({"action": "send", "why": 5}, "why"),
    ):
        with pytest.raises(Invalid, match=said):
            client._session.call("POST", "pause", json=body, answer=dict)
    with pytest.raises(NotFound):
        client.resume("send")
    with pytest.raises(ValueError, match="no time zone"):
        client.pause("send", until=datetime(2099, 1, 1))
    client.pause("a/b c")
    assert client.get("pause/a/b c")["action"] == "a/b c"
    client.resume("a/b c")
    assert client.pauses() == []
