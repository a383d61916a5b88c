"""Actions in processes of their own, in a real executor: they do all that an action in a greenlet does."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet import Fleet, Process, ended, fleet, until

ACTIONS = Path(__file__).parent.parent / "actions" / "apart.py"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet")) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        made.server()
        yield made


@pytest.fixture(scope="module")
def executor(engine: Fleet) -> Process:
    return engine.executor("one", "--max-jobs-per-process=2")


def add(engine: Fleet, name: str, **payload: Any) -> str:
    return engine.client().submit(name, payload)


def run(engine: Fleet, name: str, **payload: Any) -> dict[str, Any]:
    [job] = ended(engine.client(), [add(engine, name, **payload)]).values()
    return job


def written(file: Path) -> str:
    """Return the text of a file that an action writes."""
    return until(lambda: file.exists() and file.read_text())


def alive(pid: str) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_action_reports_by_its_job_client_and_log(engine: Fleet, executor: Process) -> None:
    job = run(engine, "reports", words=["a", "b"])
    output = job["output"]
    pid = output.pop("pid")
    assert output == {"seen": "RUNNING", "here": 40, "secret": [], "words": 2}
    assert pid != executor.pid
    names = ("state", "statusMessage", "checkpoint", "returnCode")
    assert [job[name] for name in names] == ["SUCCESS", "counting", {"words": 2}, 0]
    assert job["affectedResources"] == [{"href": "thing/1"}, {"href": "thing/2"}]
    line = "2 words, password in https://***@host/"
    assert any(line in run["text"] for run in engine.client().log(job["id"])["attempts"])
    assert any(f"[{job['id']} reports] {line}" in logged for logged in executor.log.splitlines())


def test_a_payload_that_does_not_fit_fails_the_job_before_its_code(engine: Fleet, executor: Process) -> None:
    job = run(engine, "reports", words=3)
    assert (job["state"], job["attempts"]) == ("FAILED", 1)
    assert job["statusMessage"].startswith("InvalidPayload: ")


def test_a_process_runs_so_many_jobs_of_its_action(engine: Fleet, executor: Process) -> None:
    pids = [run(engine, "with_settings")["output"] for _ in range(3)]
    assert [(found["name"], found["threads"]) for found in pids] == [("one", 100)] * 3
    first, second, third = (found["pid"] for found in pids)
    assert first == second != third
    until(lambda: not alive(first))


def test_a_stop_and_a_stack_reach_the_process(engine: Fleet, executor: Process, tmp_path: Path) -> None:
    client = engine.client()
    id = add(engine, "waits_apart", file=str(tmp_path / "file"))
    written(tmp_path / "file")
    asked = client.stack(id)
    [record] = until(lambda: [r for r in client.record(id)["records"] if r.get("request") == asked["request"]])
    assert "time.sleep(60)" in record["stack"]
    assert "workers/worker.py" not in record["stack"]
    client.operation(id, "stop")
    [job] = ended(client, [id]).values()
    assert job["state"] == "STOPPED"
    assert (tmp_path / "file").read_text() == "stopped"


def test_a_coroutine_runs_and_is_cancelled(engine: Fleet, executor: Process) -> None:
    client = engine.client()
    assert run(engine, "awaits", seconds=0)["state"] == "SUCCESS"
    late = client.submit("awaits", {"seconds": 600}, timeout=0.2)
    [job] = ended(client, [late]).values()
    assert (job["state"], job["statusMessage"]) == ("FAILED", "timed out after 0.2 s")
    assert (job["progress"], job["checkpoint"]) == (100, "cleaned up")


def test_the_rule_of_the_action_decides_about_retries(engine: Fleet, executor: Process) -> None:
    job = run(engine, "tried_again", kinds=["OSError", "ValueError"])
    assert (job["state"], job["attempts"], job["statusMessage"]) == ("FAILED", 2, "ValueError: no")
    error = job["errors"][-1]
    assert error["type"] == "ValueError"
    assert "in tried_again" in error["traceback"]
    assert "worker.py" not in error["traceback"]


def test_an_end_of_the_process_fails_the_job_with_what_it_used(engine: Fleet, executor: Process) -> None:
    job = run(engine, "dies")
    assert job["state"] == "FAILED"
    start, _, rest = job["statusMessage"].partition("; ")
    assert start == "ProcessDied: its process was killed by SIGSEGV"
    assert rest.startswith("it used ")
    assert rest.endswith(" s of CPU")
    assert "in dies" in job["errors"][-1]["traceback"]
    job = run(engine, "too_much")
    assert (job["state"], job["statusMessage"]) == ("FAILED", "MemoryError")


@pytest.mark.parametrize(
    ("data", "times", "why"),
    [("\x00\x00\x00\x02{}", 1, "sent "), ("\x7f\x7f\x7f\x7f", 1, "sent a message of 2,139,062,143 bytes")],
)
def test_a_process_that_sends_no_messages_is_ended(
    engine: Fleet, executor: Process, data: str, times: int, why: str
) -> None:
    job = run(engine, "garbles", data=data, times=times)
    assert job["state"] == "FAILED"
    assert job["statusMessage"].startswith(f"ProcessDied: its process {why}")


def test_files_are_loaded_anew_after_a_hangup(engine: Fleet, executor: Process) -> None:
    first = run(engine, "loaded")["output"]
    assert run(engine, "loaded")["output"]["begun"] == first["begun"]
    before = executor.log.count("actions were read again")
    executor.signal(signal.SIGHUP)
    until(lambda: executor.log.count("actions were read again") > before)
    assert run(engine, "loaded")["output"]["begun"] > first["begun"]


def test_processes_and_their_programs_end_with_the_executor(engine: Fleet, executor: Process, tmp_path: Path) -> None:
    assert_ended(engine, executor, signal.SIGKILL, tmp_path / "file")


def test_processes_and_their_programs_end_when_the_executor_is_frozen(engine: Fleet, tmp_path: Path) -> None:
    """An executor that is frozen loses its jobs, and so does its process."""
    assert_ended(engine, engine.executor("frozen", "--session-timeout=2"), signal.SIGSTOP, tmp_path / "file")


def assert_ended(engine: Fleet, dying: Process, end: signal.Signals, file: Path) -> None:
    """Start a program in a job, end the executor in this way, and wait for the end of process and program."""
    id = engine.client().submit("starts_programs", {"file": str(file)})
    jobs = written(file).split()
    assert all(map(alive, jobs))
    os.kill(dying.pid, end)
    until(lambda: not any(map(alive, jobs)))
    dying.kill()
    engine.client().operation(id, "stop")
