"""kill -9 and SIGSTOP of each kind of process at each step of a job: the job ends once, with the right outcome.

Six executors of one slot each take a job and stand still, each at another step: proxies hold the executor's messages
back, a gate holds up the action. Then all executors, the server or the distributor die or freeze at that moment.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from geventjob import Client
from tests.support.fleet import Fleet, Process, Way, ended, until
from tests.support.holding import Hold
from tests.support.http_proxy import HttpProxy
from tests.support.noted import Notes, add
from tests.support.zookeeper import shared
from tests.support.zookeeper_proxy import MULTI, ZooKeeperProxy

TIMEOUT = 3.0
"""Session timeout of all processes, seconds."""
SESSION = ("--session-timeout", str(TIMEOUT))
RECOVERY = TIMEOUT + 2
RETRY = 5.0
"""The longest pause of an executor between two tries whether the server is back, seconds."""

RUNNING, SUCCESS = b'"state":"RUNNING"', b'"state":"SUCCESS"'


@dataclass(frozen=True)
class After:
    """How a job looks in the end whose executor died at a step, beside SUCCESS."""

    again: bool
    """Whether another executor had to run it."""
    attempts: int
    begins: int
    """How many times its action began."""


STEPS = {
    "taken": After(again=True, attempts=1, begins=1),
    "running_written": After(again=True, attempts=2, begins=1),
    "in_the_action": After(again=True, attempts=2, begins=2),
    "outcome_on_its_way": After(again=True, attempts=2, begins=2),
    "outcome_written": After(again=False, attempts=1, begins=1),
    "before_consume": After(again=False, attempts=1, begins=1),
}
AGAIN = {step for step, after in STEPS.items() if after.again}
GATED = ("in_the_action", "before_consume")


class Executor:
    """An executor that stands still at a step of its first job, behind proxies of its own."""

    def __init__(self, engine: Fleet, step: str) -> None:
        self.step = step
        self.http = HttpProxy(engine.port)
        self.zookeeper = ZooKeeperProxy(shared().port) if engine.zk_hosts else None
        self.hold = self._hold()
        way = Way(self.http.url, self.zookeeper.hosts if self.zookeeper else "")
        self.process = engine.start_executor(step, "--threads", "1", *SESSION, way=way)

    def _hold(self) -> Hold | None:
        if self.step in ("taken", "outcome_on_its_way"):
            return self.http.hold_request(RUNNING if self.step == "taken" else SUCCESS)
        if self.step in ("running_written", "outcome_written"):
            return self.http.hold_answer(RUNNING if self.step == "running_written" else SUCCESS)
        return None

    def stands(self, notes: Notes) -> bool:
        """Return whether the executor is at its step; for `before_consume`, still in the action."""
        return self.hold.reached.is_set() if self.hold else bool(notes.jobs("begin", self.process.pid))

    def close(self) -> None:
        self.http.close()
        if self.zookeeper:
            self.zookeeper.close()


class Stage:
    """The executors at their steps, and the job of each."""

    def __init__(self, engine: Fleet, notes: Notes) -> None:
        self.engine = engine
        self.notes = notes
        self.client = engine.client()
        notes.close(*GATED)
        self.executors = {step: Executor(engine, step) for step in STEPS}
        engine.await_nodes(*STEPS)
        self.jobs: dict[str, str] = {}

    def fill(self) -> None:
        """Wait until each executor has one of as many jobs, and is at its step."""
        until(lambda: all(each.stands(self.notes) for each in self.executors.values()))
        self.jobs = self.held()
        assert self.jobs.keys() == STEPS.keys()

    def held(self) -> dict[str, str]:
        """Return the taken jobs by executor."""
        return {each["takenBy"]: each["job"] for each in self.client.queue()["head"] if each["takenBy"]}

    @contextmanager
    def at_the_last_step(self) -> Iterator[None]:
        """Let the executor of that step write its outcome, and hold the consumption of its entry meanwhile."""
        last = self.executors["before_consume"]
        with self.engine.in_no_transaction():  # SQLite: no process can consume; ZooKeeper: the proxy holds
            if last.zookeeper:
                last.hold = last.zookeeper.hold_request(MULTI, b"/job/entries/entry-")
            self.notes.open(last.step)
            until(lambda: last.hold is None or last.hold.reached.is_set(), every=0.01)
            until(lambda: self.client.get(self.jobs[last.step])["state"] == "SUCCESS", every=0.01)
            yield

    def let_go(self) -> None:
        """Pass on everything that was held back."""
        for each in self.executors.values():
            if each.hold:
                each.hold.let_go()

    def drop(self) -> None:
        """Drop everything that was held back between executors and the server."""
        for each in self.executors.values():
            if each.hold and each.step != "before_consume":
                each.hold.drop()

    def documents(self) -> dict[str, dict[str, Any]]:
        return {step: self.client.get(job) for step, job in self.jobs.items()}

    def close(self) -> None:
        for each in self.executors.values():
            each.close()


@pytest.fixture
def stage(engine: Fleet, notes: Notes) -> Iterator[Stage]:
    engine.server(*SESSION, "--name", "server")
    made = Stage(engine, notes)
    yield made
    made.close()


def strike(process: Process, how: str) -> None:
    if how == "killed":
        process.kill()
    else:
        process.freeze()


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_executors(stage: Stage, engine: Fleet, notes: Notes, how: str) -> None:
    client, processes = stage.client, [each.process for each in stage.executors.values()]
    add(client, notes, len(STEPS), "gated")
    stage.fill()
    notes.close("heir")
    heir = engine.executor("heir", "--threads", "10", *SESSION)
    with stage.at_the_last_step():
        struck = time.monotonic()
        for process in processes:
            strike(process, how)

    again = {stage.jobs[step] for step in AGAIN}
    until(lambda: set(notes.jobs("begin", heir.pid)) == again, every=0.02)
    until(lambda: client.queue()["entries"] == len(again), every=0.02)
    recovery = time.monotonic() - struck
    print(f"executors, {how}: all jobs in other hands after {recovery:.2f} s of {TIMEOUT:g} s session timeout")
    assert recovery < RECOVERY

    before = stage.documents()
    stage.let_go()
    for step in ("taken", "outcome_on_its_way"):
        hold = stage.executors[step].hold
        assert hold
        assert hold.passed_on.wait(10), "what the old owner sent arrives late"
    if how == "frozen":
        wake(stage, processes)
        until(lambda: all(job["interruptions"] == 0 for job in stage.documents().values()))
        before = {step: {**job, "interruptions": 0} for step, job in before.items()}  # they live, and have told so
    assert stage.documents() == before
    notes.open("heir")
    jobs = ended(client, list(stage.jobs.values()))
    until(lambda: client.queue()["entries"] == 0)
    if how == "frozen":
        assert heir.stop() == 0
        work_on(stage, client)
    for step, after in STEPS.items():
        job = jobs[stage.jobs[step]]
        interruptions = after.attempts - 1 if how == "killed" else 0
        assert seen(job, notes) == ("SUCCESS", after.attempts, interruptions, after.begins), step
        assert job["executor"] == ("heir" if after.again else step), step
        assert job == client.search("job", filter=f"id='{job['id']}'")["jobs"][0], "nothing was written after the end"


def seen(job: dict[str, Any], notes: Notes) -> tuple[str, int, int, int]:
    return job["state"], job["attempts"], job["interruptions"], notes.jobs("begin").count(job["id"])


def wake(stage: Stage, processes: list[Process]) -> None:
    for process in processes:
        process.thaw()
    until(lambda: all("was lost with its claim" in process.log for process in processes))
    until(lambda: stage.jobs["in_the_action"] in stage.notes.jobs("lost"))


def work_on(stage: Stage, client: Client) -> None:
    """Check that each process that woke up takes a job and runs the action."""
    stage.notes.close(*(set(STEPS) - {"in_the_action"}))  # whose gate was never opened
    later = add(client, stage.notes, len(STEPS), "gated")
    until(lambda: set(stage.notes.jobs("begin")).issuperset(later))
    assert stage.held().keys() == STEPS.keys()
    stage.notes.open(*STEPS)
    jobs = ended(client, later)
    assert Counter((job["state"], job["attempts"]) for job in jobs.values()) == {("SUCCESS", 1): len(STEPS)}


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_the_server(stage: Stage, engine: Fleet, notes: Notes, how: str) -> None:
    client, server = stage.client, engine.processes[0]
    add(client, notes, len(STEPS), "gated")
    stage.fill()
    with stage.at_the_last_step():
        struck = time.monotonic()
        strike(server, how)
    notes.open("in_the_action")
    if how == "killed":
        stage.drop()
        stage.let_go()
        server = engine.server(*SESSION, "--name", "server")
    else:
        stage.let_go()
        until(lambda: time.monotonic() > struck + TIMEOUT + 0.5)
        server.thaw()
    back = time.monotonic()
    jobs = ended(client, list(stage.jobs.values()))
    until(lambda: client.queue()["entries"] == 0, every=0.02)
    recovery = time.monotonic() - back
    print(f"the server, {how}: all jobs ended {recovery:.2f} s after it was back")
    assert recovery < RETRY + 2
    for step in STEPS:
        job = jobs[stage.jobs[step]]
        assert seen(job, notes) == ("SUCCESS", 1, 0, 1), step
        assert job["executor"] == step
    engine.await_nodes("server")
    later = add(client, notes, len(STEPS), "gated")
    assert {job["state"] for job in ended(client, later).values()} == {"SUCCESS"}
    assert jobs == ended(client, list(jobs))


DISTRIBUTOR = """
from geventjob import Distributor, distributor

@distributor("six")
class Six(Distributor):
    interval = 86400
    unless_pending = False

    def jobs(self):
        for number in range(6):
            yield {{"action": "gated", "payload": {{"file": {file!r}, "number": number}}}}
"""


@pytest.mark.parametrize("engine", ["zookeeper"], indirect=True)
@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_the_distributor(stage: Stage, engine: Fleet, notes: Notes, tmp_path: Path, how: str) -> None:
    (tmp_path / "six.py").write_text(DISTRIBUTOR.format(file=str(notes.path)))
    client = stage.client
    distributors = {name: start_distributor(engine, name) for name in ("one", "two")}
    first = until(lambda: leader(client))
    leads = distributors.pop(first)
    (second,) = distributors
    stage.fill()
    engine.await_nodes(second)
    with stage.at_the_last_step():
        struck = time.monotonic()
        strike(leads, how)
    until(lambda: leader(client) == second, every=0.02)
    recovery = time.monotonic() - struck
    print(f"the distributor, {how}: the next one leads after {recovery:.2f} s")
    assert recovery < RECOVERY
    notes.open("in_the_action")
    stage.let_go()
    jobs = ended(client, list(stage.jobs.values()))
    for step in STEPS:
        assert seen(jobs[stage.jobs[step]], notes) == ("SUCCESS", 1, 0, 1), step
    if how == "frozen":
        leads.thaw()
        until(lambda: "leads no longer" in leads.log)
        assert distributors[second].stop() == 0
        until(lambda: leader(client) == first)
        assert leads.stop() == 0
    assert client.search("job", last=0)["count"] == len(STEPS), "the tick was not doubled"


def start_distributor(engine: Fleet, name: str) -> Process:
    return engine.distributor(name, f"--distributors-dir={engine.folder}", *SESSION, "six")


def leader(client: Client) -> str | None:
    found = [node["name"] for node in client.nodes() if "six" in node.get("leads", ())]
    return found[0] if found else None
