"""Child processes and process state of actions in a real executor: forked children run nothing but their own code, new
ones find theirs, and actions that overlap do not see what the others change."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import Fleet, Process, ended, fleet, until

ACTIONS = Path(__file__).parent.parent / "actions" / "processes.py"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet")) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        made.server()
        yield made


@pytest.fixture(scope="module")
def executor(engine: Fleet) -> Process:
    return engine.executor("parent")


def run(engine: Fleet, *actions: str, **payload: str) -> list[tuple[str, str | None]]:
    """State and message of a job of each of these actions."""
    client = engine.client()
    ids = [client.add("job", {"action": action, "payload": payload}) for action in actions]
    jobs = ended(client, ids)
    return [(jobs[id]["state"], jobs[id].get("statusMessage")) for id in ids]


def test_forked_children_run_their_own_code_alone(engine: Fleet, executor: Process, tmp_path: Path) -> None:
    client, notes = engine.client(), tmp_path / "notes"
    payload = {"file": str(notes)}
    beside = [client.add("job", {"action": "neighbour", "payload": payload}) for _ in range(10)]
    until(lambda: notes.exists() and len(notes.read_text().splitlines()) > 20)
    assert run(engine, "forks", "forks", "forks_by_hand", file=str(notes)) == [
        ("SUCCESS", None),
        ("SUCCESS", None),
        ("SUCCESS", "exit codes [0, 7, 0]"),
    ]
    (tmp_path / "notes.end").touch()
    assert {job["state"] for job in ended(client, beside).values()} == {"SUCCESS"}
    lines = [line.split() for line in notes.read_text().splitlines()]
    of_children = Counter(word for pid, word in lines if int(pid) != executor.pid)
    assert of_children == {"child": 2}
    assert executor.running
    assert "Traceback" not in executor.log, executor.log


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_new_processes_import_the_file_of_the_action(engine: Fleet, executor: Process, method: str) -> None:
    assert run(engine, "starts_anew", method=method) == [("SUCCESS", "exit code 1")]
    assert "ValueError: of the child" in executor.log
    assert "ModuleNotFoundError" not in executor.log


def test_actions_that_overlap_have_asyncio_and_a_directory_of_their_own(engine: Fleet, executor: Process) -> None:
    folder = Path(f"/proc/{executor.pid}/cwd").readlink()
    assert run(engine, *["own_state"] * 40) == [("SUCCESS", "progress 4")] * 40
    [(state, message)] = run(engine, "alarms")
    assert state == "FAILED"
    assert message is not None
    assert message.startswith("ValueError: alarm() in an action: signals and timers belong to the executor")
    assert Path(f"/proc/{executor.pid}/cwd").readlink() == folder


def test_a_dump_does_no_harm_to_the_children_of_actions(engine: Fleet, executor: Process, tmp_path: Path) -> None:
    """As `systemctl kill -s SIGUSR1 UNIT`, which signals all processes of the unit."""
    notes = tmp_path / "notes"
    job = engine.client().add("job", {"action": "waits_for_programs", "payload": {"file": str(notes)}})
    until(lambda: notes.exists() and {"program", "child"} <= set(notes.read_text().split()))
    os.killpg(executor.pid, signal.SIGUSR1)
    assert ended(engine.client(), [job])[job]["state"] == "SUCCESS"
    until(lambda: "SIGUSR1" in executor.log)
