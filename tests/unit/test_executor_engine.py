"""An executor's engine from its start to its end: over a real job server, a real queue (SQLite) and a real watch."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from geventjob import Client
from geventjob.coordination.base import Claim, CoordinationAway, NameInUse
from geventjob.coordination.sqlite import SqliteCoordination
from geventjob.executor import announced
from geventjob.executor.announced import told
from geventjob.executor.context import ExecutorContext
from geventjob.executor.engine import ROLE, ExecutorEngine
from geventjob.executor.limits import JobLimits
from geventjob.executor.runner import Runner
from geventjob.executor.watch import Watch
from geventjob.notify import Notifier
from geventjob.plugins import Actions, ActionSpec
from geventjob.plugins.retries import RetryPolicy
from tests.support.callers import PASSWORD, local_server
from tests.support.waiting import eventually

NUMBERS = count(1)


class Away(SqliteCoordination):
    """A queue that cannot be reached."""

    def start(self) -> None:
        raise CoordinationAway("nobody answers")


class Faulty(SqliteCoordination):
    """A queue whose `take` has a defect."""

    def take(self, limit: int, exclude: Collection[str] = (), timeout: float | None = None) -> list[Claim]:
        raise ZeroDivisionError("of the test")


class Process:
    """An engine in a greenlet of its own, with the action `waits`, which waits for `free`."""

    def __init__(
        self,
        url: str,
        queue: Path,
        *,
        name: str = "",
        kind: type[SqliteCoordination] = SqliteCoordination,
        manager: str = "",
        drain: float = 10,
    ) -> None:
        self.free = Event()
        self.client = Client(url, "super", PASSWORD)
        self.queue = kind(str(queue), name or f"engine-{next(NUMBERS)}", 10)
        self.watch = Watch(abandon=0.1)
        self.context = ExecutorContext(self.client, None)
        actions = Actions([action("waits", lambda job: self.free.wait(60) and None)])
        limits = JobLimits(threads=2, unknown_grace=0.0, shutdown_timeout=drain)
        notifier = Notifier({"NOTIFY_SOCKET": manager})
        self.engine = ExecutorEngine(self.queue, self.context, actions, limits, self.watch, notifier)
        self._run = gevent.spawn(self.engine.run, wait_for_name=False)

    @property
    def code(self) -> int:
        """The exit code, after a wait for the end."""
        return int(self._run.get(timeout=20))

    def running(self, count: int = 1) -> list[str]:
        """Return the ids of the jobs that run, once there are so many."""
        eventually(lambda: len(self.watch.running) == count)
        return [running.job_id for running in self.watch.running.values()]

    def begin(self) -> str:
        """Add a job, and return its id once the job runs."""
        id = self.client.add("job", {"action": "waits"})
        assert self.running() == [id]
        return id

    def close(self) -> None:
        self.free.set()
        for _ in range(2):
            self.engine.stop()
        self._run.join(timeout=20)
        self.watch.close()
        self.client.close()


def action(name: str, code: Callable[[Any], Any]) -> ActionSpec:
    return ActionSpec(name, code, None, True, "here")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    made: list[Process] = []

    with local_server("sqlite", tmp_path) as server:

        def start(**options: Any) -> Process:
            made.append(Process(server.url, tmp_path / "coordination.db", **options))
            return made[-1]

        yield start
        for process in made:
            process.close()


def members(process: Process) -> dict[str, dict[str, Any]]:
    return process.queue.members(ROLE)


def over(process: Process) -> bool:
    session = process.queue.session
    return session is not None and session.over


def test_an_executor_announces_its_slots_and_actions(start: Callable[..., Process]) -> None:
    process = start()
    name = process.queue.name
    eventually(lambda: process.queue.session and name in members(process))
    info = members(process)[name]
    assert (info["slots"], info["actions"], info["leftOut"]) == (2, ["waits"], {})
    assert info["options"]["waits"].keys() == {"file"}


def test_options_that_do_not_fit_are_not_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    def spec(name: str) -> ActionSpec:
        return ActionSpec(name, None, 7.0, True, "/a/file.py", retry=RetryPolicy(retries=3))

    actions = Actions([spec("one"), spec("two")])
    limits = JobLimits(max_timeout=5.0)
    option = {"timeout": 5.0, "retries": 3, "file": "/a/file.py"}
    assert told(actions, limits)["options"] == {"one": option, "two": option}
    monkeypatch.setattr(announced, "LARGEST_OPTIONS", 100)
    assert told(actions, limits)["options"] == {"one": option}


def test_a_stop_waits_for_the_running_jobs_and_takes_no_more(start: Callable[..., Process]) -> None:
    process = start()
    id = process.begin()
    process.engine.stop()
    assert process.context.stop_event.is_set(), "loops of old actions read this"
    other = process.client.add("job", {"action": "waits"})
    process.free.set()
    assert process.code == 0
    assert process.client.get(id)["state"] == "SUCCESS"
    assert process.client.get(other)["state"] == "QUEUED"
    assert over(process), "the session ends with the process"
    heir = start()
    heir.free.set()
    eventually(lambda: heir.client.get(other)["state"] == "SUCCESS")


@pytest.mark.parametrize(("drain", "stops"), [(60, 2), (0.05, 1)], ids=["a second stop", "the shutdown timeout"])
def test_jobs_that_still_run_go_back_to_the_queue(start: Callable[..., Process], drain: float, stops: int) -> None:
    process = start(drain=drain)
    id = process.begin()
    for _ in range(stops):
        process.engine.stop()
    assert process.code == 0
    job = process.client.get(id)
    assert (job["state"], job.get("interruptions", 0)) == ("QUEUED", 0)
    heir = start()
    heir.free.set()
    eventually(lambda: heir.client.get(id)["state"] == "SUCCESS")


def test_a_part_that_fails_ends_the_process_with_1(
    start: Callable[..., Process], caplog: pytest.LogCaptureFixture
) -> None:
    process = start(kind=Faulty)
    assert process.code == 1
    assert "the take loop ended unexpectedly" in caplog.text


def test_an_executor_that_cannot_reach_the_queue_ends_when_it_is_stopped(
    start: Callable[..., Process], caplog: pytest.LogCaptureFixture
) -> None:
    process = start(kind=Away)
    eventually(lambda: "coordination is away" in caplog.text)
    process.engine.stop()
    assert process.code == 0


def test_a_name_in_use_is_raised_and_leaves_no_session(start: Callable[..., Process]) -> None:
    first = start()
    eventually(lambda: first.queue.session and first.queue.name in members(first))
    second = start(name=first.queue.name)
    with pytest.raises(NameInUse):
        assert second.code
    assert over(second)
    assert first.queue.name in members(first)


def test_a_stop_message_stops_a_job(start: Callable[..., Process], caplog: pytest.LogCaptureFixture) -> None:
    process = start()
    id = process.begin()
    process.queue.send(process.queue.name, {"unheard": 1})
    process.client.operation(id, "stop")
    eventually(lambda: process.client.get(id)["state"] == "STOPPED")
    assert "unknown message: {'unheard': 1}" in caplog.text


def test_a_new_session_asks_which_jobs_must_stop(
    start: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message of a stop is lost with the session to which it was sent."""
    process = start()
    id = process.begin()
    monkeypatch.setattr(Runner, "stop", lambda runner, id: None)  # the message comes to nothing
    process.client.operation(id, "stop")
    assert process.running() == [id]
    assert process.queue.session
    assert process.queue.on_session
    process.queue.on_session(process.queue.session)
    eventually(lambda: process.client.get(id)["state"] == "STOPPED")


def test_a_lost_claim_ends_its_action_and_counts_as_no_interruption(
    start: Callable[..., Process], caplog: pytest.LogCaptureFixture
) -> None:
    process = start()
    id = process.begin()
    (running,) = process.watch.running.values()
    running.claim.revoked = True  # what coordination does when it finds the claim gone
    assert process.queue.on_lost
    process.queue.on_lost([running.claim])
    eventually(lambda: process.client.get(id)["state"] == "QUEUED")
    assert process.client.get(id).get("interruptions", 0) == 0
    assert not process.watch.running
    assert f"{id} was lost with its claim" in caplog.text


def test_actions_and_limits_that_were_read_again_are_for_the_next_jobs(start: Callable[..., Process]) -> None:
    process = start()
    old = process.begin()
    ran: list[str] = []
    new = action("new", lambda job: ran.append(job.id) or gevent.sleep(60))
    process.engine.renew(Actions([new]), JobLimits(threads=7, action_timeout=0.1))
    told = members(process)[process.queue.name]
    assert (told["slots"], told["actions"]) == (2, ["new"]), "the number of slots stays"
    job = process.client.add("job", {"action": "new"})
    eventually(lambda: process.client.get(job).get("statusMessage") == "timed out after 0.1 s")
    assert ran == [job]
    assert process.running() == [old], "goes on as it began"
    process.free.set()
    eventually(lambda: process.client.get(old)["state"] == "SUCCESS")


def test_the_service_manager_hears_ready_and_stopping(start: Callable[..., Process], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        process = start(manager=str(tmp_path / "notify"))
        assert manager.recv(4096) == b"READY=1"
        process.engine.stop()
        assert process.code == 0
        stopping, extended = manager.recv(4096).decode().splitlines()
        assert stopping == "STOPPING=1"
        assert int(extended.removeprefix("EXTEND_TIMEOUT_USEC=")) > 10e6, "beyond the shutdown timeout"
