"""Actions that misbehave in greenlets and in processes: how each ends, and that no job beside is harmed.

docs/how-to/isolate-actions.md, "What hostile code does", has the same table. `python -m tests.fault.hostile` runs the
actions that end their executor, or take long.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geventjob.job.types import LOG_BYTES
from geventjob.log.handlers import KEPT, LARGEST_FILE
from tests.support.fleet import Fleet, Process, ended, fleet, until

ACTIONS = Path(__file__).parents[1] / "actions" / "hostile.py"
WAYS = ("greenlet", "process")
KILLED = r"timed out after 2 s; its process was killed; it used \d+ MB of memory at most, and \d+\.\d\d s of CPU"
DIED = r"ProcessDied: its process {}; it used \d+ MB of memory at most, and \d+\.\d\d s of CPU"
NOT_RUN = None
SUCCESS = ""
ENDS: dict[str, tuple[str | None, str | None]] = {
    "computes": ("timed out after 2 s", "timed out after 2 s"),
    "swallows": ("timed out after 2 s", KILLED),
    "waits_in_c": (NOT_RUN, KILLED),
    "exits": ("SystemExit: 3", "SystemExit: 3"),
    "interrupts": ("KeyboardInterrupt", "KeyboardInterrupt"),
    "ends_its_greenlet": ("GreenletExit", "GreenletExit"),
    "recurses": ("RecursionError: .*", "RecursionError: .*"),
    "leaves_the_stack": (NOT_RUN, DIED.format("was killed by SIGSEGV")),
    "fills_memory": (NOT_RUN, "MemoryError"),
    "breaks_memory": (NOT_RUN, DIED.format("was killed by SIGSEGV")),
    "leaves_at_once": (NOT_RUN, DIED.format("ended with exit code 0")),
    "leaves_a_child": (SUCCESS, SUCCESS),
    "closes_everything": (NOT_RUN, r"(OSError: .*|ProcessDied: its process .*)"),
    "moves_away": (SUCCESS, SUCCESS),
    "talks": (SUCCESS, SUCCESS),
    "exaggerates": ("ValueError: progress is a number from 0 to 100, not 1000000000.0",) * 2,
    "says_too_much": ("x{32000}", "x{32000}"),
    "returns_too_much": ("ValueError: output: expected at most 64 KB of JSON, not 50,000,004 bytes",) * 2,
    "writes_too_much": ("Invalid: .*", "ValueError: expected at most 1,048,576 bytes in a call, not 50,.*"),
    "returns_an_object": ("TypeError: the action returned object, expected an int, a dict, a list or None",) * 2,
    "leaves_threads": (SUCCESS, SUCCESS),
    "patches_sleep": (NOT_RUN, SUCCESS),
    "sets_an_alarm": (r"ValueError: alarm\(\) in an action: .*", DIED.format("was killed by SIGALRM")),
    "cannot_be_told": (r"Unspeakable: \(its text cannot be had\)",) * 2,
    "fails_at_length": (r"Lengthy: (x{1000,}|\(its text cannot be had\))",) * 2,
}
"""Action → the whole message of its job in a greenlet and in a process. NOT_RUN: it ends its executor, or harms jobs
beside."""
WELL = {"says_too_much", *(name for name, (_, message) in ENDS.items() if message == SUCCESS)}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet")) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        made.server()
        yield made


@pytest.fixture(scope="module")
def executor(engine: Fleet) -> Process:
    return engine.executor("one", "--max-body=1m", "--session-timeout=60")


@pytest.fixture(scope="module")
def talking(engine: Fleet) -> Iterator[Process]:
    """Yield an executor with log files, beside no other executor."""
    executor = engine.executor("two", "--log-dir", str(engine.folder / "logs"), "--session-timeout=60")
    client = engine.client()
    ended(client, [client.submit("well_behaved_process")])
    yield executor
    assert executor.stop() == 0


def most_memory(process: Process) -> int:
    """Return the most bytes of memory that a process has had at once."""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())[0]) << 10


def test_each_ends_as_documented_and_harms_no_other(engine: Fleet, executor: Process, tmp_path: Path) -> None:
    client = engine.client()
    payload = {"file": str(tmp_path / "end"), "megabytes": 1, "size": 50_000_000}
    asked = {
        client.submit(f"{name}_{way}", payload, timeout=2 if "timed out" in str(messages) else 600): (name, way)
        for name, messages in ENDS.items()
        for way, message in zip(WAYS, messages, strict=True)
        if message is not NOT_RUN
    }
    beside = [client.submit(f"well_behaved_{way}") for way in WAYS for _ in range(5)]
    jobs = ended(client, [*asked, *beside])
    (tmp_path / "end").touch()
    wrong = {}
    for id, (name, way) in asked.items():
        found = jobs[id]["state"], jobs[id].get("statusMessage", "")[:40_000], jobs[id]["attempts"]
        state = "SUCCESS" if name in WELL else "FAILED"
        if found[::2] != (state, 1) or not re.fullmatch(str(ENDS[name][WAYS.index(way)]), found[1], re.DOTALL):
            wrong[name, way] = found[0], found[1][:300], found[2]
    assert wrong == {}, "\n".join(map(str, wrong.items()))
    here = os.getcwd()
    outputs = [jobs[id]["output"] for id in beside]
    assert [(output["folder"], output.get("found")) for output in outputs] == [(here, None)] * 10
    assert {jobs[id]["attempts"] for id in beside} == {1}
    assert executor.running


def test_no_process_of_a_job_that_left_traces_runs_another(engine: Fleet, executor: Process, tmp_path: Path) -> None:
    client = engine.client()
    payload = {"file": str(tmp_path / "end")}

    def output(name: str) -> dict[str, Any]:
        id = client.submit(f"{name}_process", payload)
        found: dict[str, Any] = ended(client, [id])[id]["output"]
        return found

    child = output("leaves_a_child")["child"]
    until(lambda: not Path(f"/proc/{child}").exists())
    for name in ("moves_away", "leaves_threads", "patches_sleep"):
        assert output(name)["pid"] != output(name)["pid"], name
    assert output("well_behaved")["pid"] == output("well_behaved")["pid"]


def test_the_executor_still_works_and_ends_well(engine: Fleet, executor: Process) -> None:
    """Also after an action has replaced `time.sleep` for all actions of the executor."""
    client = engine.client()
    ended(client, [client.submit("patches_sleep_greenlet")])
    ids = [client.submit(f"well_behaved_{way}") for way in WAYS]
    assert {job["state"] for job in ended(client, ids).values()} == {"SUCCESS"}
    assert executor.stop() == 0
    assert "Traceback (most recent call last)" not in executor.log.replace("\n    Traceback", "")


@pytest.mark.parametrize("way", WAYS)
def test_100_mb_of_log_lines_harm_nobody(talking: Process, engine: Fleet, way: str) -> None:
    """The executor keeps the last lines for the job, as much as six files on disk, and no more in memory."""
    client = engine.client()
    before = most_memory(talking)
    id = client.submit(f"talks_{way}", {"megabytes": 100}, timeout=600)
    beside = [client.submit(f"well_behaved_{each}") for each in WAYS for _ in range(5)]
    jobs = ended(client, [id, *beside], 300)
    assert {(job["state"], job["attempts"]) for job in jobs.values()} == {("SUCCESS", 1)}
    assert most_memory(talking) - before < 20 << 20
    [attempt] = client.log(id)["attempts"]
    kept = attempt["text"]
    assert 60_000 < len(kept) <= LOG_BYTES
    assert kept.endswith(f" {'x' * 1000}\n")
    files = {path.name: path.stat().st_size for path in (engine.folder / "logs").iterdir()}
    assert set(files) == {"executor.log", *(f"executor.log.{number}" for number in range(1, KEPT + 1))}
    assert max(files.values()) <= LARGEST_FILE + 4096
    assert talking.running
