"""Batches in any order of adds, ends, stops, deletions, closes, rounds and lost notices: each callback is right."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from geventjob.job.states import FINAL
from geventjob.server.life.changes import entry_of
from geventjob.server.store.sqlite import SqliteStore
from tests.contract.coordination.fleets import connect
from tests.contract.test_batches import Server
from tests.contract.test_promoter import ADMIN
from tests.contract.test_reconcile import Both


class Model(RuleBasedStateMachine):
    """The expected jobs of each batch, beside the jobs of the server."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name)
        both = Both(SqliteStore(path / "store.db"), connect({"path": str(path / "coordination.db")}, "server", 10))
        self.server = Server(both)
        self.children: dict[str, dict[str, str]] = {}
        """Callback → job of its batch → state, as the model knows it; deleted jobs are left out."""
        self.then: dict[str, str] = {}
        self.closed: set[str] = set()
        self.stopped: set[str] = set()

    def teardown(self) -> None:
        self.server.promoter.look()
        self.server.promoter.run()
        self.server.promoter.run()
        for callback in self.children:
            assert self.server.waits(callback) == self._should_wait(callback), "none is forgotten"
        self.server.both.close()
        self.folder.cleanup()

    def _should_wait(self, callback: str) -> bool:
        unfinished = any(state not in FINAL for state in self.children[callback].values())
        return callback not in self.stopped and (callback not in self.closed or unfinished)

    def _not_closed(self) -> list[str]:
        return [callback for callback in self.children if callback not in self.closed]

    def _open(self) -> list[str]:
        return [callback for callback in self._not_closed() if callback not in self.stopped]

    def _unfinished(self) -> list[tuple[str, str]]:
        found = self.children.items()
        return [(callback, id) for callback, all in found for id, state in all.items() if state not in FINAL]

    # --- what happens

    @initialize(then=st.sampled_from(["fail", "stop", "run"]))
    def open_first(self, then: str) -> None:
        self.open(then)

    @precondition(lambda self: len(self.children) < 3)
    @rule(then=st.sampled_from(["fail", "stop", "run"]))
    def open(self, then: str) -> None:
        callback = self.server.open(then)
        self.children[callback], self.then[callback] = {}, then

    @precondition(lambda self: self._open())
    @rule(data=st.data(), count=st.integers(1, 3))
    def add(self, data: st.DataObject, count: int) -> None:
        callback = data.draw(st.sampled_from(self._open()))
        self.children[callback].update(dict.fromkeys(self.server.children(callback, count), "QUEUED"))

    @precondition(lambda self: self._unfinished())
    @rule(
        data=st.data(),
        how=st.sampled_from(["SUCCESS", "SUCCESS", "FAILED", "STOPPED", "deleted"]),
        at_once=st.booleans(),
    )
    def end(self, data: st.DataObject, how: str, at_once: bool) -> None:
        callback, id = data.draw(st.sampled_from(self._unfinished()))
        self.children[callback][id] = how
        if how == "deleted":
            self.server.jobs.delete(id, ADMIN)
            del self.children[callback][id]
        elif how == "STOPPED":
            self.server.jobs.stop(id, ADMIN)
        else:
            self.server.end_quietly(id, how)
        if at_once:
            self.round()

    @precondition(lambda self: self._not_closed())
    @rule(data=st.data(), at_once=st.booleans())
    def close(self, data: st.DataObject, at_once: bool) -> None:
        callback = data.draw(st.sampled_from(self._not_closed()))
        self.server.jobs.close_batch(callback, ADMIN)
        self.closed.add(callback)
        if at_once:
            self.round()

    @precondition(lambda self: self._waiting())
    @rule(data=st.data())
    def stop_callback(self, data: st.DataObject) -> None:
        callback = data.draw(st.sampled_from(self._waiting()))
        self.server.jobs.stop(callback, ADMIN)
        self.stopped.add(callback)

    def _waiting(self) -> list[str]:
        return [callback for callback in self.children if self.server.job(callback)["state"] == "QUEUED"]

    @rule()
    def round(self) -> None:
        self.server.promoter.run()

    @rule()
    def notices_are_lost(self) -> None:
        self.server.promoter._ended.clear()
        self.server.promoter._waiters.clear()

    # --- what always holds

    @invariant()
    def no_callback_is_let_through_before_all_have_ended(self) -> None:
        for callback, children in self.children.items():
            job = self.server.job(callback)
            if callback in self.stopped or (job.get("held", {}).get("why") == "batch" and "total" not in job["batch"]):
                continue
            failed = sum(state != "SUCCESS" for state in children.values())
            assert callback in self.closed
            assert all(state in FINAL for state in children.values())
            self._check_end(callback, job, len(children), failed)

    def _check_end(self, callback: str, job: dict[str, Any], total: int, failed: int) -> None:
        assert (job["batch"]["total"], job["batch"]["failed"]) == (total, failed)
        ends = {"fail": "FAILED", "stop": "STOPPED", "run": "QUEUED"}
        assert job["state"] == (ends[self.then[callback]] if failed else "QUEUED")
        entries = [
            waiting.entry for waiting in self.server.both.coordination.stats(2000).head if waiting.job == callback
        ]
        assert entries == ([entry_of(job)] if entry_of(job) else []), "put once"


Model.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestModel = Model.TestCase
