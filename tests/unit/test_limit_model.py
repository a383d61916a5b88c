"""Servers that let jobs through a limit, stopped and taken over at any call: never one too many, and none forgotten.

The servers are real, over one real store and queue. Each call of a server to store or queue waits for a turn, which
hypothesis gives; a server that gets no more turns is frozen, and may go on when others have led since.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from geventjob.coordination.base import CoordinationError, Leadership
from geventjob.coordination.sqlite import SqliteCoordination
from geventjob.server.accounts.caller import Caller
from geventjob.server.gate.limit import counts
from geventjob.server.gate.limit_schema import validate_limit
from geventjob.server.jobs.lifecycle import Edit, JobEdit, Owner
from geventjob.server.jobs.limits import LimitService
from geventjob.server.jobs.service import Jobs
from geventjob.server.leaders.promoter import ELECTION, Promoter
from geventjob.server.life.conflicts import Refusal
from geventjob.server.life.failures import FailureReport, RetryWish
from geventjob.server.store.base import Query
from geventjob.server.store.sqlite import SqliteStore

ADMIN = Caller("super", frozenset({"super", "ADMIN", "USER", "ANON"}))
RUNNING = 2
KEYS = 2


class Turns:
    """A part of a server, each of whose calls waits for a turn."""

    def __init__(self, part: Any, server: Server) -> None:
        self._part = part
        self._server = server

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **named: Any) -> Any:
            self._server.wait()
            return value(*arguments, **named)

        return call


class Server:
    """A server that does one round after another as its turns come."""

    def __init__(self, store: SqliteStore, coordination: SqliteCoordination) -> None:
        parts: list[Any] = [Turns(store, self), Turns(coordination, self)]
        self.promoter = Promoter(*parts)
        self.leadership: Leadership | None = None
        self._blocked, self._turn = Event(), Event()
        self._round: gevent.Greenlet[..., Any] | None = None

    def lead(self, leadership: Leadership) -> None:
        self.leadership = leadership
        confirm = leadership.confirm
        leadership.confirm = lambda: (self.wait(), confirm())[1]  # type: ignore[method-assign]
        self.promoter._task._leadership = leadership

    def wait(self) -> None:
        if gevent.getcurrent() is self._round:
            self._blocked.set()
            self._turn.wait()
            self._turn.clear()

    def step(self) -> bool:
        """Let the server make one call. Return False at the end of a round."""
        if self._round is None:
            self._round = gevent.spawn(self._run)
        else:
            self._blocked.clear()
            self._turn.set()
        while not self._blocked.wait(0.001) and not self._round.ready():
            pass
        if not self._round.ready():
            return True
        self._round.get()
        self._round = None
        self._blocked.clear()
        return False

    def _run(self) -> None:
        try:
            self.promoter._round()
        except CoordinationError:  # the leadership is over
            self.promoter._limiter.rules_changed()

    def end(self) -> None:
        if self._round is not None:
            self._round.kill()


class Fleet(RuleBasedStateMachine):
    """Servers, of which one leads, and jobs that come under a limit."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.store = SqliteStore(self.folder / "store.db")
        self.store.start()
        self.coordination = SqliteCoordination(str(self.folder / "coordination.db"), "server", 60)
        self.coordination.start()
        self.outside = Promoter(self.store, self.coordination)
        self.outside._notify = self.tell  # type: ignore[method-assign]
        self.jobs = Jobs(self.store, self.coordination, promoter=self.outside)
        LimitService(self.store, self.outside.book).set(
            validate_limit("l", {"action": "a", "per": "payload.key", "running": RUNNING})
        )
        self.servers: list[Server] = []
        self.fence = 0
        self.elect()

    def tell(self, notice: dict[str, Any]) -> None:
        self.servers[-1].promoter._heed(notice)

    @rule()
    def elect(self) -> None:
        """Let another server lead; the last one does not know yet."""
        if self.servers:
            leadership = self.servers[-1].leadership
            assert leadership is not None
            leadership.resign()
        leadership = self.coordination.lead(ELECTION, 5)
        assert leadership is not None
        self.servers.append(Server(self.store, self.coordination))
        self.servers[-1].lead(leadership)

    @rule(count=st.integers(1, 3), key=st.integers(0, KEYS - 1), priority=st.integers(0, 9))
    def add(self, count: int, key: int, priority: int) -> None:
        self.jobs.add([{"action": "a", "priority": priority, "payload": {"key": key}}] * count, ADMIN)

    @rule(server=st.integers(1, 3), calls=st.integers(1, 25))
    def go_on(self, server: int, calls: int) -> None:
        """Let one of the last servers make some calls, or end its round."""
        chosen = self.servers[-min(server, len(self.servers))]
        for _ in range(calls):
            if not chosen.step():
                return

    @rule(data=st.data(), end=st.sampled_from(["SUCCESS", "FAILED", "retry", "stop", "delete"]))
    def run_and_end(self, data: st.DataObject, end: str) -> None:
        """Take any entry of the queue, begin its job, and end it later; or stop or delete a job."""
        entries = self.coordination.stats(50).head
        if not entries:
            return
        entry = data.draw(st.sampled_from(entries))
        self.fence += 1
        owner = Owner(entry.entry, self.fence, "e")
        if isinstance(self.edit(entry.job, Edit({"state": "RUNNING"}, owner=owner)), Exception):
            self.coordination.discard([entry.entry])
            return
        self.never_too_many()
        if end in ("stop", "delete"):
            getattr(self.jobs, end)(entry.job, ADMIN)
            self.edit(entry.job, Edit({"state": "STOPPED"}, owner=owner))
        elif end == "retry":
            report = FailureReport("E", "no")
            self.edit(entry.job, Edit({"state": "FAILED"}, owner=owner, failure=report, retry=RetryWish(0.0, 2)))
        else:
            self.edit(entry.job, Edit({"state": end}, owner=owner))
        self.coordination.discard([entry.entry])

    def edit(self, id: str, edit: Edit) -> Any:
        [outcome] = self.jobs.edit([JobEdit(id, edit)], ADMIN)
        assert not isinstance(outcome, Exception) or isinstance(outcome, Refusal) or edit.set["state"] == "STOPPED"
        return outcome

    def all(self) -> list[dict[str, Any]]:
        return self.store.search("job", Query()).documents

    @invariant()
    def never_too_many(self) -> None:
        """No more jobs than the limit says run, or could be begun by an executor that finds an entry."""
        may_run: Counter[int] = Counter()
        for job in self.all() if hasattr(self, "store") else ():
            if counts(job) and ("held" not in job or "until" in job["held"]):
                may_run[job["payload"]["key"]] += 1
            assert job["state"] not in ("RUNNING", "STOPPING") or counts(job)
        assert all(count <= RUNNING for count in may_run.values()), may_run

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        try:
            self.none_is_forgotten()
        finally:
            for server in self.servers:
                server.end()
            self.coordination.close()
            self.store.close()
            shutil.rmtree(self.folder)

    def none_is_forgotten(self) -> None:
        self.elect()
        last = self.servers[-1]
        for _ in range(200):
            while last.step():
                pass
            for entry in self.coordination.stats(50).head:
                self.fence += 1
                owner = Owner(entry.entry, self.fence, "e")
                self.edit(entry.job, Edit({"state": "RUNNING"}, owner=owner))
                self.edit(entry.job, Edit({"state": "SUCCESS"}, owner=owner))
                self.coordination.discard([entry.entry])
            if all(job["state"] in ("SUCCESS", "FAILED", "STOPPED") for job in self.all()):
                return
            self.never_too_many()
        raise AssertionError([(job["state"], job.get("held")) for job in self.all()])


Fleet.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestFleet = Fleet.TestCase
