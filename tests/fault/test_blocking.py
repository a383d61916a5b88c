"""Actions that block their executor in a system call, and the jobs beside them."""

from __future__ import annotations

import signal
from collections import Counter

import pytest

from tests.support.fleet import Fleet, Process, ended, until
from tests.support.noted import Notes, add

SESSION = ("--session-timeout", "2")

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)  # the executor's business alone


@pytest.mark.parametrize("executors", [1, 3])
def test_a_call_that_blocks_is_ended_by_its_time_out_and_holds_up_nobody(
    engine: Fleet, notes: Notes, executors: int
) -> None:
    engine.server(*SESSION)
    processes = [engine.executor(f"e{n}", *SESSION) for n in range(executors)]
    client = engine.client()
    blocking = add(client, notes, executors, "reads_a_pipe")
    ids = add(client, notes, 20, "noted", 0.2)
    beside = ended(client, ids, 20)
    assert Counter((job["state"], job["attempts"]) for job in beside.values()) == {("SUCCESS", 1): 20}
    for job in ended(client, blocking, 20).values():
        assert (job["state"], job["statusMessage"], job["attempts"]) == ("FAILED", "timed out after 2 s", 1)
    for process in processes:
        process.signal(signal.SIGTERM)
    assert [process.wait() for process in processes] == [0] * executors


@pytest.mark.parametrize(("action", "executors"), [("calls_system", 1), ("calls_system", 3), ("calls_system_async", 1)])
def test_a_call_that_cannot_be_interrupted_is_told_and_given_up(
    engine: Fleet, notes: Notes, action: str, executors: int
) -> None:
    engine.server(*SESSION)
    client = engine.client()
    limit = ("--max-interruptions", "2")
    alive: list[Process] = []

    def start() -> None:
        while len(alive) < executors:
            alive.append(engine.start_executor(f"life-{len(engine.processes)}", *SESSION, *limit))

    def over(ids: list[str]) -> bool:
        alive[:] = [process for process in alive if process.running]
        start()
        return not client.search("job", filter="state='QUEUED' or state='RUNNING'", last=0)["count"] - len(ids)

    start()
    [poison] = add(client, notes, 1, action)
    until(lambda: notes.jobs("begin") == [poison])
    innocent = add(client, notes, 20, "noted", 0.2)
    until(lambda: over([poison]), 15)
    assert {job["state"] for job in ended(client, innocent).values()} == {"SUCCESS"}
    until(lambda: over([]), 30)
    job = ended(client, [poison])[poison]
    assert job["state"] == "FAILED"
    message = job["statusMessage"]
    assert message.startswith('gave up: interrupted 2 times; held up its executor in `os.system("sleep 25")` (')
    assert message.endswith(f", in {action})")
    assert notes.jobs("begin").count(poison) == 2
    first = next(process for process in engine.processes if not process.running)
    assert first.failed
    [line] = [line for line in first.log.splitlines() if "CRITICAL" in line]
    assert f"[{poison} {action}] the hub has not run for longer than the session lives (2 s)" in line
    assert '`os.system("sleep 25")`' in line
    assert f"in {action}\n" in first.log.partition(line)[2], "the stacks follow"
