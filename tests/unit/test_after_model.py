"""Random graphs of jobs, their ends in any order, servers that die at any step: no job is early, none is forgotten."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from geventjob.coordination.sqlite import SqliteCoordination
from geventjob.job.states import FINAL
from geventjob.server.accounts.caller import Caller
from geventjob.server.gate import after
from geventjob.server.jobs.lifecycle import Edit, JobEdit
from geventjob.server.jobs.service import Jobs
from geventjob.server.leaders.promoter import Promoter
from geventjob.server.leaders.reconcile import Reconciler
from geventjob.server.life.changes import entry_of
from geventjob.server.store.base import StoreAway
from geventjob.server.store.sqlite import SqliteStore

ADMIN = Caller("super", frozenset({"super", "ADMIN", "USER", "ANON"}))


class Graph(RuleBasedStateMachine):
    """A server without HTTP, whose promoter runs only when a rule says so, and may die or miss a notice."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name)
        self.store, self.queue = SqliteStore(path / "store.db"), SqliteCoordination(str(path / "queue.db"), "s", 10)
        self.store.start()
        self.queue.start()
        self.promoter = Promoter(self.store, self.queue)
        self.jobs = Jobs(self.store, self.queue, promoter=self.promoter)
        self.reconciler = Reconciler(self.store, self.queue, self.promoter)
        self.heard = True
        """Whether the promoter hears the notices of this moment."""
        self.promoter._notify = lambda notice: self.promoter._heed(notice) if self.heard else None  # type: ignore[method-assign]
        self.ids: list[str] = []
        self.ends: dict[str, str] = {}
        """Id of a job → the state in which it has ended, or `deleted`, as the server tells."""
        self.model: dict[str, tuple[list[str], str]] = {}
        """Id of a job → its predecessors, and what it does if one does not succeed."""

    def teardown(self) -> None:
        self.queue.close()
        self.store.close()
        self.folder.cleanup()

    def documents(self) -> dict[str, dict[str, Any] | None]:
        return dict(zip(self.ids, self.store.get(self.ids), strict=True))

    # --- what happens

    @rule(data=st.data(), wish=st.sampled_from(["fail", "stop", "run"]), watched=st.booleans())
    def add(self, data: st.DataObject, wish: str, watched: bool) -> None:
        """Add a job after any others; without `watched` the server dies before it marks a predecessor."""
        there = [id for id in self.ids if self.ends.get(id) != "deleted"]
        named = data.draw(st.lists(st.sampled_from(there), max_size=4, unique=True)) if there else []
        body = {"action": "a"} | ({"after": {"jobs": named, "whenFailed": wish}} if named else {})
        watch = self.promoter.successors.watch
        if not watched:
            self.promoter.successors.watch = _away  # type: ignore[method-assign]
        [id] = self.jobs.add([body], ADMIN)
        self.promoter.successors.watch = watch  # type: ignore[method-assign]
        assert isinstance(id, str)
        self.ids.append(id)
        self.model[id] = (named, wish)

    @precondition(lambda self: self.ids)
    @rule(
        data=st.data(),
        state=st.sampled_from(["SUCCESS", "SUCCESS", "FAILED", "STOPPED", "deleted"]),
        heard=st.booleans(),
    )
    def end(self, data: st.DataObject, state: str, heard: bool) -> None:
        """End a job that runs, or stop or delete any; without `heard` the notice to the promoter is lost."""
        found = self.documents()
        may = [
            id for id, job in found.items()
            if job and (state == "deleted" or (job["state"] not in FINAL and (state == "STOPPED" or "held" not in job)))
        ]  # fmt: skip
        if not may:
            return
        id = data.draw(st.sampled_from(may))
        self.heard = heard
        if state == "deleted":
            self.jobs.delete(id, ADMIN)
            self.ends.setdefault(id, "deleted")
        elif state == "STOPPED":
            self.jobs.stop(id, ADMIN)
        else:
            self.jobs.edit([JobEdit(id, Edit({"state": state}))], ADMIN)
        self.heard = True

    @rule()
    def round_of_the_promoter(self) -> None:
        self.promoter.run()

    @rule()
    def another_promoter_leads(self) -> None:
        """Lose all notices to the last promoter."""
        self.promoter._ended.clear()
        self.promoter._waiters.clear()

    @rule()
    def all_is_found_in_the_end(self) -> None:
        """After rounds without a failure each job that waits has a predecessor that is not over."""
        for _ in range(2):
            self.reconciler.run(grace=0)
            self.promoter.run()
        found = self.documents()
        for id, job in found.items():
            if job and after.waits(job):
                named, _ = self.model[id]
                assert any((other := found[one]) and other["state"] not in FINAL for one in named), "forgotten"
            elif job and job["state"] == "QUEUED":
                assert entry_of(job) is not None, "without an entry"

    # --- what always holds

    @invariant()
    def none_is_early(self) -> None:
        found = self.documents()
        for id, job in found.items():
            named, wish = self.model[id]
            if job is None or not named or after.waits(job):
                continue
            others = [found[one] for one in named]
            over = all(other is None or other["state"] in FINAL for other in others)
            succeeded = all(other is None or other["state"] == "SUCCESS" for other in others)
            if job["state"] == "QUEUED":
                assert over, "let through early"
                assert wish == "run" or succeeded, "let through after a failure"
            elif "this job comes after it" in job.get("statusMessage", ""):
                assert over, "ended early"
                assert job["state"] == {"fail": "FAILED", "stop": "STOPPED"}[wish]

    @invariant()
    def a_job_that_waits_has_no_entry(self) -> None:
        for job in self.documents().values():
            if job and after.waits(job):
                assert entry_of(job) is None
                assert job["held"]["on"] in job["after"]["jobs"]


def _away(jobs: Any) -> Any:
    raise StoreAway("of the test")


Graph.TestCase.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
TestGraph = Graph.TestCase
