"""The checklist of docs/slipstream.md walked through, and what the page says of SlipStream's executors."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from tests.support.fleet import Fleet, Process, ended, fleet, until
from tests.support.noted import ACTIONS, Notes, add
from tests.support.old_executor import THREADS, OldExecutor
from tests.support.slipstream_fleet import SlipStreamFleet, slipstream_fleet
from tests.support.zookeeper import shared
from tests.support.zookeeper_proxy import ZooKeeperProxy

PAGE = (Path(__file__).parents[2] / "docs" / "slipstream.md").read_text()
STEP = re.compile(r"^- \[ \] \*\*(.+?)\.\*\*", re.MULTILINE)
JOB = {"action": "noted", "targetResource": {"href": "dummy"}, "description": "0.2"}
"""A job of SlipStream's: the description has its seconds."""


Start = Callable[..., OldExecutor]


@pytest.fixture
def old(notes: Notes) -> Iterator[Start]:
    """Return a function that starts an old executor of a fleet."""
    made: list[OldExecutor] = []

    def start(engine: Fleet, name: str, zk_hosts: str = "") -> OldExecutor:
        made.append(OldExecutor(engine, notes, name, zk_hosts))
        return made[-1]

    yield start
    for executor in made:
        executor.kill()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Fleet]:
    """Yield the server of geventjob over ZooKeeper."""
    with fleet(tmp_path, shared().hosts) as made:
        (made.actions_dir / ACTIONS.name).write_text(ACTIONS.read_text())
        made.server()
        yield made


def sleeping(pid: int) -> bool:
    """Return whether no thread of the process runs now, nor within some milliseconds."""
    time.sleep(0.01)
    states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").iterdir()]
    return set(states) == {"S"}


def test_an_old_executor_that_lost_its_session_lives_on_and_takes_nothing(
    engine: Fleet, notes: Notes, old: Start
) -> None:
    client, (server,) = engine.client(), shared().servers
    with contextlib.closing(ZooKeeperProxy(server.port)) as network:
        executor = old(engine, "old", network.hosts)
        ended(client, add(client, notes, 1, "noted"))
        until(lambda: client.queue()["entries"] == 0)
        until(lambda: all(sleeping(executor.pid) for _ in range(10)))  # its thread waits for a job again
        (session,) = re.findall(r"session (0x\w+)", executor.log)
        assert session in server.ask("dump")
        network.go_silent()
        network.cut()
        until(lambda: session not in server.ask("dump"))
        network.speak()
        until(lambda: "expired" in executor.log)
        ids = add(client, notes, 8, "noted")
        engine.executor("ours")  # whose start takes longer than a take
        jobs = ended(client, ids)
        assert Counter(job["executor"] for job in jobs.values()) == {"ours": 8}
        assert len(notes.jobs("take", executor.pid)) == 1
        assert executor.running


def test_an_idle_old_executor_hangs_in_sigterm_until_each_thread_had_a_job(
    engine: Fleet, notes: Notes, old: Start
) -> None:
    client = engine.client()
    executor = old(engine, "old")
    ended(client, add(client, notes, 1, "noted"))
    until(lambda: client.queue()["entries"] == 0)
    until(lambda: all(sleeping(executor.process.pid) for _ in range(10)))  # its thread waits for a job again
    executor.terminate()
    ended(client, add(client, notes, THREADS - 1, "noted"))
    assert executor.running
    ended(client, add(client, notes, 1, "noted"))
    assert executor.process.wait(30) == 0
    (waiting,) = add(client, notes, 1, "noted")
    engine.executor("ours")
    assert ended(client, [waiting])[waiting]["executor"] == "ours"


class Migration:
    """A fleet of SlipStream's server and engine that goes over, while jobs are added all the time."""

    def __init__(self, engine: SlipStreamFleet, old: Start) -> None:
        self.engine = engine
        self.client = engine.serve()
        self.ids: list[str] = []
        self._old = old
        self.old = [old(engine, "old-1"), old(engine, "old-2")]
        self.killed: list[int] = []
        self.ours: list[Process] = []
        self._resigned, self._enough = threading.Event(), threading.Event()
        self._adder = threading.Thread(target=self._add)

    def _add(self) -> None:
        client = self.engine.client()
        while not self._enough.wait(0.1):
            self.ids += [str(id) for id in client.bulk_add([JOB] * 2)]

    def steps(self) -> dict[str, Callable[[], None]]:
        """Return the steps of the page that processes take part in."""
        return {
            "One executor of ours starts beside the old ones": self.start_ours,
            "Old executors end, one at a time": self.end_old,
            "Distributors go over, one name at a time": self.distributors,
            "Ours end, old ones start": self.back,
        }

    def walk(self) -> None:
        self._adder.start()
        try:
            until(lambda: all(self.engine.notes.jobs("end", each.pid) for each in self.old))
            for name, step in self.steps().items():
                print(name)
                step()
        finally:
            self._enough.set()
            self._adder.join()

    def start_ours(self) -> None:
        self.ours.append(self.engine.executor("ours-1", "--threads", "8"))
        until(lambda: len(self.engine.notes.jobs("end", self.ours[0].pid)) > 10)
        assert all(each.running for each in self.old)

    def end_old(self) -> None:
        first, second = self.old
        first.terminate()
        assert first.process.wait(30) == 0, "jobs come all the time, so that each thread has its last one"
        self.engine.executor("ours-2")
        second.kill()
        self.killed.append(second.pid)

    def distributors(self) -> None:
        leads = threading.Event()
        zookeeper = KazooClient(self.engine.zk_hosts + self.engine.zk_root)
        zookeeper.start()
        election = zookeeper.Election("/election/cleanup_jobs", "old")

        def lead() -> None:
            leads.set()
            self._resigned.wait()

        leading = threading.Thread(target=election.run, args=[lead])
        leading.start()
        try:
            assert leads.wait(30)
            ours = self.engine.distributor("ours-3", "jobs_cleanup")
            until(lambda: len(zookeeper.get_children("/election/cleanup_jobs")) == 2)
            assert "leads" not in ours.log
        finally:
            self._resigned.set()
            leading.join()
            zookeeper.stop()
            zookeeper.close()
        until(lambda: "ours-3 leads" in ours.log)
        assert ours.stop() == 0

    def back(self) -> None:
        third = self._old(self.engine, "old-3")
        until(lambda: self.engine.notes.jobs("end", third.pid))
        for process in self.engine.processes:
            if process.running:
                assert process.stop() == 0
        before = len(self.engine.notes.jobs("end", third.pid))
        until(lambda: len(self.engine.notes.jobs("end", third.pid)) > before + 10)


def test_the_checklist_loses_no_job(tmp_path: Path, old: Start, notes: Notes) -> None:
    with slipstream_fleet(tmp_path, shared().hosts) as engine:
        notes.path = engine.notes.path
        migration = Migration(engine, old)
        assert [step for step in STEP.findall(PAGE) if step in migration.steps()] == list(migration.steps())
        migration.walk()
        jobs = ended(migration.client, migration.ids, seconds=120)
        assert Counter(job["state"] for job in jobs.values()) == {"SUCCESS": len(migration.ids)}
        ends = Counter(notes.jobs("end"))
        assert set(ends) >= set(migration.ids)
        begun = Counter(notes.jobs("begin"))
        again = {id for id in migration.ids if begun[id] > 1}
        assert again <= {id for pid in migration.killed for id in notes.jobs("begin", pid)}
        print(f"{len(jobs)} jobs, {len(again)} ran again")
