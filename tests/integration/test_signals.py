"""Signals of the commands (docs/operations.md, "Signals")."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import Fleet, Process, ended, fleet, until

ACTION = """
import os, time
from geventjob import action

@action("{name}", timeout=60)
def run(job):
    open({notes!r}, "a").write("{version} begins\\n")
    while job.payload.get("wait") and not os.path.exists(job.payload["wait"]):
        time.sleep(0.02)
    job.set_status_message("{version}")
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet")) as made:
        made.server()
        yield made


def reads_again(process: Process) -> None:
    """Send SIGHUP, and wait for the line that answers it."""
    before = process.log.count("read again")
    process.signal(signal.SIGHUP)
    until(lambda: process.log.count("read again") > before or not process.running)


def message(engine: Fleet, job: str) -> str:
    found = ended(engine.client(), [job])[job]
    assert found["state"] == "SUCCESS", found
    return str(found["statusMessage"])


def test_a_hangup_brings_new_and_changed_actions_and_limits(engine: Fleet, tmp_path: Path) -> None:
    notes, end, actions, ini = tmp_path / "notes", tmp_path / "end", tmp_path / "actions", tmp_path / "executor.ini"
    actions.mkdir()

    def write(name: str, version: str) -> None:
        (actions / f"{name}.py").write_text(ACTION.format(name=name, version=version, notes=str(notes)))

    write("one", "first")
    ini.write_text("")
    executor = engine.executor("hung-up", "-c", str(ini), actions_dir=actions)
    client = engine.client()
    running = client.add("job", {"action": "one", "payload": {"wait": str(end)}})
    until(lambda: notes.exists() and "first begins" in notes.read_text())
    write("one", "second")
    write("two", "new")
    ini.write_text("[timeouts]\nstill = 1\n")
    write("still", "third")
    reads_again(executor)
    assert message(engine, client.add("job", {"action": "one"})) == "second"
    assert message(engine, client.add("job", {"action": "two"})) == "new"
    late = client.add("job", {"action": "still", "payload": {"wait": str(end)}})
    assert ended(client, [late])[late]["statusMessage"] == "timed out after 1 s"
    (node,) = [node for node in client.nodes() if node["name"] == "hung-up"]
    assert {"one", "two", "still"} <= set(node["actions"])

    (actions / "one.py").write_text("this is no Python")
    ini.write_text("thread = 8\n")
    executor.signal(signal.SIGHUP)
    until(lambda: "the options have errors, nothing changes" in executor.log)
    ini.write_text("")
    reads_again(executor)
    assert "one.py does not import" in executor.log
    assert message(engine, client.add("job", {"action": "one"})) == "second"
    end.touch()
    assert message(engine, running) == "first"
    assert executor.stop() == 0


@pytest.mark.parametrize("command", ["server", "executor", "distributor"])
def test_debug_lines_are_switched_on_and_off_and_a_hangup_ends_nothing(
    engine: Fleet, tmp_path: Path, command: str
) -> None:
    start = {
        "server": lambda: engine.processes[0],
        "executor": lambda: engine.executor("verbose"),
        "distributor": lambda: engine.distributor("verbose-too", "dummy_test_action"),
    }
    process = start[command]()
    until(lambda: "dummy_test_action" in process.log or command != "distributor")
    process.signal(signal.SIGUSR2)
    until(lambda: "the log level is debug now" in process.log)
    process.signal(signal.SIGUSR2)
    until(lambda: "the log level is info now" in process.log)
    process.signal(signal.SIGHUP)
    until(lambda: "SIGHUP" in process.log or "read again" in process.log)
    assert process.running
    if command != "server":
        assert process.stop() == 0
