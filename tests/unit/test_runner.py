"""The life of a claim in a runner: over a real job server, a real queue (SQLite) and a real watch."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import pytest
from gevent.event import Event
from gevent.lock import Semaphore

from geventjob import Client
from geventjob.coordination.base import Claim
from geventjob.coordination.sqlite import SqliteCoordination
from geventjob.executor import run_log
from geventjob.executor.claims import HeldClaims
from geventjob.executor.context import ExecutorContext
from geventjob.executor.decision import Decision, Fail, GiveBack, LetGo, Stop, Succeed
from geventjob.executor.hooks import Hooks
from geventjob.executor.job import Job
from geventjob.executor.limits import JobLimits
from geventjob.executor.record import Recorder
from geventjob.executor.runner import Runner
from geventjob.executor.unknown import UnknownActions
from geventjob.executor.watch import Watch
from geventjob.executor.work import Work
from geventjob.executor.writes import Writes
from geventjob.log import write_turns
from geventjob.log.formatting import run_of
from geventjob.plugins import Actions, ActionSpec
from tests.support.callers import PASSWORD, local_server
from tests.support.waiting import eventually

SLOTS = 4
NUMBERS = count(1)


class Executor:
    """The parts of an executor around a runner, and the calls of its hooks."""

    def __init__(self, url: str, folder: Path) -> None:
        self.code: Callable[[Job], Any] = lambda job: None
        """The code of the action `code`."""
        self.starts: list[str] = []
        self.ends: list[tuple[str, Decision]] = []
        self.on_start: list[Callable[[Work], None]] = [
            run_log.started,
            lambda work: self.starts.append(work.claim.job),
        ]
        name = f"executor-{next(NUMBERS)}"
        self.client = Client(url, "super", PASSWORD)
        self.queue = SqliteCoordination(str(folder / "coordination.db"), name, 10)
        self.queue.start()
        self.slots = Semaphore(SLOTS)
        self.watch = Watch(abandon=0.1)
        self.recorder = Recorder(self.watch.held)
        actions: Actions = Actions([ActionSpec("code", lambda job: self.code(job), None, True, "here")])
        context = ExecutorContext(self.client, None)
        limits = JobLimits(threads=SLOTS, not_found_grace=0.0, unknown_grace=0.0)
        self.runner = Runner(
            context,
            actions,
            limits,
            writes=Writes(self.client, name, lambda: actions.names),
            claims=HeldClaims(self.queue),
            watch=self.watch,
            slots=self.slots,
            unknown=UnknownActions(dict, limits),
            hooks=Hooks(
                on_start=self.on_start,
                on_end=[
                    run_log.ended,
                    self.recorder.ended,
                    lambda work, decision: self.ends.append((work.claim.job, decision)),
                ],
            ),
        )

    def close(self) -> None:
        self.watch.close()
        self.queue.close()
        self.client.close()

    def add(self, action: str = "code", **attributes: Any) -> str:
        return self.client.add("job", {"action": action, **attributes})

    def take(self) -> Claim:
        (claim,) = self.queue.take(1, timeout=5)
        return claim

    def begin(self) -> gevent.Greenlet[..., None]:
        """Take one claim and start to run it."""
        claim = self.take()
        self.slots.acquire()
        return gevent.spawn(self.runner.run, claim)

    def run(self, action: str = "code", **attributes: Any) -> dict[str, Any]:
        """Add a job, run it to its end, and return its document."""
        id = self.add(action, **attributes)
        self.begin().get(timeout=10)
        return self.client.get(id)

    def closed(self) -> bool:
        """Return whether no claim is in hand and the queue is empty."""
        return self.runner.idle.is_set() and self.slots.counter == SLOTS and self.queue.stats().entries == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("server")
    with local_server("sqlite", folder) as made:
        yield made.url, folder


@pytest.fixture
def executor(server: tuple[str, Path]) -> Iterator[Executor]:
    made = Executor(*server)
    yield made
    made.close()


def fails(job: Job) -> None:
    raise ValueError("no")


@pytest.mark.parametrize(
    ("code", "kind", "written"),
    [
        (lambda job: None, Succeed, {"state": "SUCCESS", "returnCode": 0}),
        (lambda job: 3, Fail, {"state": "FAILED", "returnCode": 3, "statusMessage": "return code 3"}),
        (fails, Fail, {"state": "FAILED", "statusMessage": "ValueError: no"}),
        (lambda job: job.set_state("STOPPED"), Stop, {"state": "STOPPED", "returnCode": 0}),
    ],
)
def test_a_run_ends_with_its_decision(
    executor: Executor, code: Callable[[Job], Any], kind: type[Decision], written: dict[str, Any]
) -> None:
    executor.code = code
    job = executor.run()
    assert {name: job.get(name) for name in written} == written
    assert executor.closed()
    assert executor.starts == [job["id"]]
    ((id, decision),) = executor.ends
    assert (id, type(decision)) == (job["id"], kind)


def test_a_job_is_stopped_while_it_runs(executor: Executor) -> None:
    executor.code = lambda job: gevent.sleep(60)
    id = executor.add()
    running = executor.begin()
    eventually(lambda: executor.watch.running)
    executor.client.operation(id, "stop")
    executor.runner.stop(id)
    running.get(timeout=10)
    assert executor.client.get(id)["state"] == "STOPPED"
    assert executor.closed()
    assert executor.ends == [(id, Stop())]


def test_an_outcome_on_its_way_keeps_no_slot_but_many_do(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    go, finish, ending = Event(), executor.runner._finisher.finish, []

    def held(work: Work, decision: Decision) -> None:
        ending.append(work.claim.job)
        go.wait()
        finish(work, decision)

    monkeypatch.setattr(executor.runner._finisher, "finish", held)
    ids = [executor.add(), executor.add()]
    runs = [executor.begin()]
    eventually(lambda: ending == ids[:1])
    assert executor.slots.counter == SLOTS, "of four slots, one outcome needs none"
    runs.append(executor.begin())
    eventually(lambda: ending == ids)
    assert executor.slots.counter == SLOTS - 1
    go.set()
    gevent.joinall(runs, timeout=10, raise_error=True)
    assert {executor.client.get(id)["state"] for id in ids} == {"SUCCESS"}
    assert executor.closed()


def test_a_job_that_is_stopped_before_its_action_begins_does_not_run(executor: Executor) -> None:
    ran: list[Job] = []
    executor.code = ran.append

    def stop(work: Work) -> None:
        executor.client.operation(work.claim.job, "stop")
        executor.runner.stop(work.claim.job)

    executor.on_start.append(stop)
    assert executor.run()["state"] == "STOPPED"
    assert ran == []
    assert executor.closed()


def test_a_run_that_the_executor_gives_up_goes_back_to_the_queue(executor: Executor) -> None:
    executor.code = lambda job: gevent.sleep(60)
    id = executor.add()
    running = executor.begin()
    eventually(lambda: executor.watch.running)
    executor.runner.give_up()
    running.get(timeout=10)
    job = executor.client.get(id)
    assert (job["state"], job.get("interruptions", 0)) == ("QUEUED", 0)
    assert executor.ends == [(id, GiveBack(running=True))]
    executor.code = lambda job: None
    executor.begin().get(timeout=10)
    assert executor.client.get(id)["state"] == "SUCCESS"
    assert executor.closed()


def test_a_run_whose_claim_is_lost_ends_as_no_interruption(executor: Executor) -> None:
    """Also a run that comes to an end of its own, which cannot be written any more."""
    ran = Event()

    def code(job: Job) -> None:
        ran.set()
        gevent.sleep(60)

    executor.code = code
    id = executor.add()
    claim = executor.take()
    executor.slots.acquire()
    running = gevent.spawn(executor.runner.run, claim)
    ran.wait(5)
    claim.revoked = True  # what coordination does when it finds the claim gone
    executor.watch.lose([claim])
    running.get(timeout=10)
    job = executor.client.get(id)
    assert (job["state"], job.get("interruptions", 0)) == ("QUEUED", 0)
    assert executor.ends == [(id, LetGo())]
    claim.revoked = False
    executor.queue.consume([claim])
    executor.client.delete(id)


@pytest.mark.parametrize("lost", [False, True])
def test_an_abandoned_action_frees_its_slot_before_its_code_ends(executor: Executor, lost: bool) -> None:
    released = Event()

    def code(job: Job) -> None:
        while not released.is_set():
            with suppress(BaseException):  # the action swallows its end
                released.wait()

    executor.code = code
    id = executor.add(timeout=1)
    claim = executor.take()
    executor.slots.acquire()
    running = gevent.spawn(executor.runner.run, claim)
    eventually(lambda: executor.watch.running)
    if lost:
        claim.revoked = True
        executor.watch.lose([claim])
    eventually(lambda: executor.slots.counter == SLOTS and executor.runner.idle.is_set())
    assert not running.ready()
    assert executor.client.get(id)["state"] == ("RUNNING" if lost else "FAILED")
    released.set()
    running.get(timeout=10)
    assert executor.client.get(id)["state"] == ("QUEUED" if lost else "FAILED")
    assert len(executor.ends) == 1
    if lost:
        claim.revoked = False
        executor.queue.consume([claim])
        executor.client.delete(id)


def test_an_entry_without_a_job_is_removed(executor: Executor) -> None:
    executor.queue.put([("none", 999), ("job/gone", 999)])
    for _ in range(2):
        executor.begin().get(timeout=10)
    assert executor.closed()
    assert executor.starts == []


def test_an_action_that_no_executor_knows_fails_after_the_grace(executor: Executor) -> None:
    job = executor.run("unheard_of")
    assert job["state"] == "FAILED"
    assert job["statusMessage"].startswith("no executor knows the action 'unheard_of'")
    assert executor.closed()


def test_an_exception_of_an_action_is_logged_with_its_traceback(
    executor: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    executor.code = fails
    id = executor.run()["id"]
    write_turns()
    [failed] = [record for record in caplog.records if "FAILED" in record.message]
    first, *trace = failed.message.splitlines()
    assert re.fullmatch(rf"{id} ended: FAILED \([0-9.]+ s, attempt 1\): ValueError: no", first)
    assert trace[0].startswith("Traceback")
    assert run_of(failed) == f"{id} code"
    assert 'raise ValueError("no")' in caplog.text


def raises(job: Job) -> None:
    raise OSError("away")


@pytest.mark.parametrize(
    ("code", "more", "level", "words", "fields"),
    [
        (lambda job: 0, {}, "INFO", "ended: SUCCESS (code 0, ", {"event": "ended", "state": "SUCCESS", "code": 0}),
        (lambda job: 3, {}, "ERROR", "ended: FAILED (code 3, ",
         {"event": "ended", "state": "FAILED", "code": 3, "error": "ReturnCode"}),
        (raises, {"retries": 2}, "WARNING", "failed; if retries are left, it is tried again in ",
         {"event": "failed", "error": "OSError"}),
    ],
)  # fmt: skip
def test_each_turn_of_a_job_is_a_line(
    executor: Executor, caplog: pytest.LogCaptureFixture, code: Callable[[Job], Any], more: dict[str, Any],
    level: str, words: str, fields: dict[str, Any],
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO)
    executor.code = code
    id = executor.run(**more)["id"]
    write_turns()
    turns = [record for record in caplog.records if record.name == "geventjob.jobs" and id in record.message]
    added, started, ended = turns
    assert added.message == f"super added {id}"
    assert (started.levelname, started.message) == ("INFO", f"{id} started, attempt 1")
    assert ended.levelname == level
    assert ended.message.startswith(f"{id} {words}")
    assert fields.items() <= vars(ended)["fields"].items()
    assert 0 <= vars(ended)["fields"]["seconds"] < 10
    assert run_of(ended) == f"{id} code"


def test_a_hook_that_fails_changes_nothing(executor: Executor, caplog: pytest.LogCaptureFixture) -> None:
    def broken(work: Work) -> None:
        raise RuntimeError("broken")

    executor.on_start.insert(0, broken)
    job = executor.run()
    assert job["state"] == "SUCCESS"
    assert executor.starts == [job["id"]], "the next hook was called"
    assert "a hook of its run failed" in caplog.text


def test_a_fault_of_the_engine_gives_the_claim_back(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: Any, **__: Any) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(executor.watch, "run", fault)
    id = executor.add()
    executor.begin().get(timeout=10)
    assert executor.slots.counter == SLOTS
    monkeypatch.undo()
    executor.begin().get(timeout=10)
    assert executor.client.get(id)["state"] == "SUCCESS"


# --- records


def waits(job: Job) -> None:
    gevent.sleep(60)  # here it waits


def computes(job: Job) -> None:
    while True:  # here it computes
        pass


def swallows(job: Job) -> None:
    until = monotonic() + 2
    while monotonic() < until:
        with suppress(BaseException):
            gevent.sleep(1)  # here it swallows its end


async def awaits(job: Job) -> None:
    async def rests() -> None:
        await asyncio.sleep(60)  # here a task rests

    task = asyncio.ensure_future(rests())
    await asyncio.sleep(59)  # here it awaits
    await task


def spawns(job: Job) -> None:
    gevent.spawn(waits, job).join()


def record(executor: Executor, id: str) -> dict[str, Any]:
    """Return the only record of the job."""
    [found] = executor.client.record(id)["records"]
    assert (found["attempt"], found["executor"]) == (1, executor.queue.name)
    return dict(found)


@pytest.mark.parametrize(
    ("code", "why", "places"),
    [
        (waits, "timeout", ["# here it waits"]),
        (computes, "timeout", ["# here it computes"]),
        (swallows, "abandonment", ["# here it swallows its end"]),
        (awaits, "timeout", ["# here it awaits", "# here a task rests", "task Task-"]),
        (spawns, "timeout", ["# here it waits", "gevent.spawn(waits, job).join()"]),
    ],
)
def test_a_run_that_timed_out_leaves_a_record(
    executor: Executor, code: Callable[[Job], Any], why: str, places: list[str]
) -> None:
    def reports(job: Job) -> Any:
        job.set_progress(40)
        return code(job)

    executor.code = reports
    found = record(executor, executor.run(timeout=1)["id"])
    assert (found["why"], found["progress"]) == (why, 40)
    assert found["session"].startswith("alive, lease for ")
    assert 1 <= found["ran"] < 10
    assert all(place in found["stack"] for place in places), found["stack"]
    assert "alarm.py" not in found["stack"], "the stack ends in the code of the action"


def test_a_hub_that_was_held_up_is_in_the_record(executor: Executor) -> None:
    """An action that holds up the hub beside a waiting one, whose record tells."""

    def code(job: Job) -> None:
        end = monotonic() + 0.3
        gevent.get_hub().loop.run_callback(lambda: [None for _ in iter(lambda: monotonic() < end, False)])
        gevent.sleep(60)

    executor.code = code
    assert 0.2 < record(executor, executor.run(timeout=1)["id"])["hubHeld"] < 5


def test_a_stop_and_a_shutdown_leave_records(executor: Executor) -> None:
    executor.code = waits

    def end(how: Callable[[str], None]) -> dict[str, Any]:
        id = executor.add()
        running = executor.begin()
        eventually(lambda: executor.watch.running)
        how(id)
        running.get(timeout=10)
        return record(executor, id)

    def stop(id: str) -> None:
        executor.client.operation(id, "stop")
        executor.runner.stop(id)

    stopped = end(stop)
    given_up = end(lambda id: executor.runner.give_up())
    executor.code = lambda job: None
    executor.begin().get(timeout=10)
    assert [(each["why"], "# here it waits" in each["stack"]) for each in (stopped, given_up)] == [
        ("stop", True),
        ("shutdown", True),
    ]


def test_a_lost_run_leaves_a_record_once_the_next_has_begun(executor: Executor) -> None:
    executor.code = waits
    id = executor.add()
    claim = executor.take()
    executor.slots.acquire()
    running = gevent.spawn(executor.runner.run, claim)
    eventually(lambda: executor.watch.running)
    next_owner = {"entry": claim.entry, "fence": claim.fence + 1, "executor": "next", "set": {"state": "RUNNING"}}
    [job] = executor.client.bulk_edit([{"id": id, **next_owner}])
    assert isinstance(job, dict)
    claim.revoked = True
    executor.watch.lose([claim])
    running.get(timeout=10)
    found = record(executor, id)
    assert (found["why"], found["session"]) == ("loss", "alive, the claim was taken away")
    assert executor.client.get(id)["interruptions"] == 0
    claim.revoked = False
    executor.queue.consume([claim])
    executor.client.delete(id)


@pytest.mark.parametrize("code", [lambda job: None, fails])
def test_a_run_that_ends_by_itself_leaves_no_record(executor: Executor, code: Callable[[Job], Any]) -> None:
    executor.code = code
    assert executor.client.record(executor.run()["id"])["records"] == []


def test_the_stack_of_a_running_job_is_written_as_a_record(executor: Executor) -> None:
    executor.code = waits
    id = executor.add()
    running = executor.begin()
    eventually(lambda: executor.watch.running)
    for job in (id, "job/another"):
        executor.runner.answer(job, lambda work: executor.recorder.asked(work, "a request"))
    found = record(executor, id)
    assert (found["why"], found["request"]) == ("asked", "a request")
    assert "# here it waits" in found["stack"]
    executor.client.operation(id, "stop")
    executor.runner.stop(id)
    running.get(timeout=10)


def test_a_run_leaves_no_cycle_of_references(executor: Executor) -> None:
    seen: list[weakref.ref[Work]] = []
    executor.on_start.append(lambda work: seen.append(weakref.ref(work)))
    gc.disable()
    try:
        executor.run()
        eventually(lambda: seen[0]() is None)
    finally:
        gc.enable()
