"""`async def` actions in a real executor: a thousand at once, reports, retries, and every way to be ended."""

from __future__ import annotations

import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet import Fleet, Process, ended, fleet, until

ACTIONS = Path(__file__).parent.parent / "actions" / "coroutines.py"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet")) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        made.server()
        yield made


@pytest.fixture(scope="module")
def executor(engine: Fleet) -> Process:
    return engine.executor("one", "--threads=1100", "--max-blocking=0.5")


def add(engine: Fleet, name: str, **payload: Any) -> str:
    return engine.client().add("job", {"action": name, "payload": payload})


def run(engine: Fleet, name: str, **payload: Any) -> dict[str, Any]:
    [job] = ended(engine.client(), [add(engine, name, **payload)]).values()
    return job


def running(engine: Fleet, id: str) -> None:
    until(lambda: engine.client().get(id)["state"] == "RUNNING")


def test_a_thousand_sleep_on_one_loop_beside_greenlets(engine: Fleet, executor: Process) -> None:
    jobs = [{"action": "sleeps", "payload": {"seconds": 3}}] * 1000
    jobs += [{"action": "greenlet", "payload": {"seconds": 1}}] * 50
    ids = [id for id in engine.client().bulk_add(jobs) if isinstance(id, str)]
    all_jobs = ended(engine.client(), ids).values()
    assert len(all_jobs) == 1050
    assert {job["state"] for job in all_jobs} == {"SUCCESS"}
    coroutines = [job for job in all_jobs if job["action"] == "sleeps"]
    assert len({str(job["output"]) for job in coroutines}) == 1, "one loop, one native thread"
    at_once = max(sum(a["started"] <= b["started"] <= a["updated"] for a in coroutines) for b in coroutines[-1:])
    assert at_once > 100


def test_calls_on_the_job(engine: Fleet, executor: Process) -> None:
    job = run(engine, "reports")
    assert job["state"] == "SUCCESS", job
    assert (job["progress"], job["name"], job["output"], job["checkpoint"]) == (100, "renamed", [1, 2], {"at": 5})
    assert [each["href"] for each in job["affectedResources"]] == ["site/1", "site/2"]
    assert job["statusMessage"].startswith("a coroutine writes to its job by `await job.aset_progress(…)`")
    assert f"[{job['id']} reports] reported" in executor.log
    assert "reported" in engine.client().log(job["id"])["attempts"][0]["text"], "kept with the job"


def test_failed_runs_are_tried_again(engine: Fleet, executor: Process) -> None:
    job = run(engine, "fails_twice")
    assert (job["state"], job["retried"], job["attempts"]) == ("SUCCESS", 2, 3)
    assert [error["type"] for error in job["errors"]] == ["OSError"] * 2
    assert "async def fails_twice" not in job["errors"][0]["traceback"]
    assert "coroutines.py" in job["errors"][0]["traceback"]
    assert "geventjob" not in job["errors"][0]["traceback"]


def test_a_child_forked_in_a_thread_runs_no_coroutine(engine: Fleet, executor: Process, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    job = run(engine, "forks_in_a_thread", file=str(notes))
    assert job["state"] == "SUCCESS", job
    assert job["statusMessage"].startswith("[0, 0, 0] a coroutine cannot fork")
    lines = notes.read_text().splitlines()
    assert Counter(lines) == {"child True": 3, f"neighbour {executor.pid}": 20}


def test_a_stop_cancels(engine: Fleet, executor: Process, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    id = add(engine, "waits_and_notes", file=str(notes))
    until(lambda: notes.exists() and notes.read_text())
    engine.client().operation(id, "stop")
    [job] = ended(engine.client(), [id]).values()
    assert job["state"] == "STOPPED"
    assert notes.read_text().splitlines()[:2] == ["begun", "JobStopped"]


def test_a_swallowed_time_out_is_repeated_and_then_the_action_is_abandoned(engine: Fleet, executor: Process) -> None:
    job = run(engine, "swallows_cancels")
    assert (job["state"], job["statusMessage"]) == ("FAILED", "timed out after 0.2 s")
    assert "the action 'swallows_cancels' swallows its end and is abandoned" in executor.log
    assert "in swallows_cancels" in executor.log


def test_a_coroutine_that_holds_the_loop_is_named_in_the_log(engine: Fleet, executor: Process) -> None:
    holding = add(engine, "holds_the_loop", seconds=6)
    running(engine, holding)
    beside = run(engine, "greenlet", seconds=0.01)
    assert engine.client().get(holding)["state"] == "RUNNING", "greenlets go on"
    assert beside["state"] == "SUCCESS"
    until(lambda: f"held by {holding} (action 'holds_the_loop')" in executor.log)
    assert "in holds_the_loop" in executor.log
    [job] = ended(engine.client(), [holding]).values()
    assert job["state"] == "SUCCESS"


def test_a_dump_shows_where_coroutines_wait(engine: Fleet, executor: Process) -> None:
    id = add(engine, "sleeps", seconds=2)
    running(engine, id)
    executor.signal(signal.SIGUSR1)
    until(lambda: "its coroutine is at" in executor.log)
    assert "in sleeps" in executor.log
    ended(engine.client(), [id])


def test_a_drain_awaits_coroutines_and_gives_the_rest_back(engine: Fleet, tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        made.server()
        drained = made.executor("drained", "--shutdown-timeout=3")
        notes = tmp_path / "notes"
        short, long = add(made, "sleeps", seconds=1.5), add(made, "waits_and_notes", file=str(notes))
        until(lambda: notes.exists() and made.client().get(short)["state"] == "RUNNING")
        assert drained.stop() == 0
        assert made.client().get(short)["state"] == "SUCCESS"
        assert made.client().get(long)["state"] == "QUEUED"
        assert notes.read_text().splitlines() == ["begun", "JobLost"]
        assert "Traceback" not in drained.log, drained.log


def test_a_lost_session_cancels(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        made.server()
        frozen = made.executor("frozen", "--session-timeout=4")
        notes = tmp_path / "notes"
        id = add(made, "waits_and_notes", file=str(notes))
        until(notes.exists)
        heir = made.executor("heir", "--session-timeout=4")
        made.freeze(frozen)
        until(lambda: notes.read_text().count("begun") == 2)
        frozen.thaw()
        until(lambda: notes.read_text().count("JobLost") == 2)  # as the reason, and by the call on the job
        job = made.client().get(id)
        assert (job["state"], job["executor"], job.get("progress", 0)) == ("RUNNING", "heir", 0)
        assert heir.running
        assert frozen.running
