"""Pauses against a model: adds, takes, ends, pauses, resumes and deaths in any order keep the order, and lose no job.

A server dies at any step of a round, and another one leads next, over the same store and queue.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from geventjob.coordination.base import Claim, Coordination
from geventjob.server.gate import sweep
from geventjob.server.jobs.lifecycle import Edit, JobEdit, Owner
from geventjob.server.jobs.pauses import PauseService
from geventjob.server.jobs.service import Jobs
from geventjob.server.leaders import pause_rounds
from geventjob.server.leaders.promoter import Promoter
from geventjob.server.life.conflicts import Refusal
from geventjob.server.store.base import Store
from geventjob.server.store.sqlite import SqliteStore
from tests.contract.coordination.fleets import connect
from tests.contract.test_promoter import ADMIN
from tests.support.zookeeper import shared as zookeeper

ACTIONS = ("a", "b")
actions = st.sampled_from(ACTIONS)


LATER = 1_000_000
"""Added to the turn of a job that has no place in the queue yet."""
ANOTHER: Any = object()
"""Another leadership than that of the next round."""


class Dies(BaseException):
    """The death of a server in the middle of a step."""


class Server:
    """A server whose promoter runs when it is called, and dies after so many writes and removals."""

    def __init__(self, store: Store, coordination: Coordination) -> None:
        self.promoter = Promoter(store, coordination)
        self.jobs = Jobs(store, coordination, promoter=self.promoter)
        self.pauses = PauseService(store, self.promoter.book)

    def rounds(self) -> None:
        self.promoter.book.read()
        self.promoter._pauses._next_sweep = -1.0
        for _ in range(100):
            if self.promoter.run() > 0.0:
                return
        raise AssertionError("the rounds do not end")


class Pauses(RuleBasedStateMachine):
    """Jobs of two actions."""

    def __init__(self, store: Store, queue: Coordination, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.store, self.queue, self.patch = store, queue, monkeypatch
        self.server = Server(store, queue)
        self.paused: set[str] = set()
        self.waits: list[tuple[int, int, str]] = []
        """Jobs that wait in the order in which they run: priority, turn, id."""
        self.turns = 0
        self.action: dict[str, str] = {}
        self.running: dict[str, Claim] = {}

    def teardown(self) -> None:
        """Let all that is left run: none is lost, none is doubled, and those of an action run in their order."""
        try:
            for action in sorted(self.paused):
                self.server.pauses.resume(action)
                self.come_back(action)
                self.server.rounds()
            for id in list(self.running):
                self.end(id)
            while self.take():
                for id in list(self.running):
                    self.end(id)
            assert self.waits == []
            assert self.queue.stats(0).entries == 0
        finally:
            self.queue.close()
            self.store.close()

    def state(self, state: str, claim: Claim) -> str:
        """Return the state of the job after the write of a claim; the reason of a refusal."""
        owner = Owner(claim.entry, claim.fence, "worker")
        [outcome] = self.server.jobs.edit([JobEdit(claim.job, Edit({"state": state}, owner=owner))], ADMIN)
        return outcome.reason if isinstance(outcome, Refusal) else str(outcome["state"])  # type: ignore[index]

    # --- what happens

    @rule(action=actions, priority=st.sampled_from([1, 500, 999]))
    def add(self, action: str, priority: int) -> None:
        [id] = self.server.jobs.add([{"action": action, "priority": priority}], ADMIN)
        assert isinstance(id, str)
        self.action[id] = action
        self.waits.append((priority, LATER + len(self.action) if action in self.paused else self.turn(), id))

    def turn(self) -> int:
        self.turns += 1
        return self.turns

    @rule(action=actions, steps=st.none() | st.integers(0, 9))
    def pause(self, action: str, steps: int | None) -> None:
        """Pause an action. A server may die in the sweep, or not have begun it."""
        self.server.pauses.pause(action, "alice", None, None)
        self.paused.add(action)
        if steps is not None:
            self.round_in_which_the_server_dies(steps)

    @precondition(lambda self: self.paused)
    @rule(pick=st.integers(0, 1), steps=st.integers(0, 9))
    def resume(self, pick: int, steps: int) -> None:
        """Resume an action. A server dies while the jobs come back, and another one goes on before the next add."""
        action = sorted(self.paused)[pick % len(self.paused)]
        self.server.pauses.resume(action)
        self.come_back(action)
        self.round_in_which_the_server_dies(steps)
        self.server.rounds()

    def come_back(self, action: str) -> None:
        """Note that jobs come back to their places, and those that had none to the end."""
        self.paused.discard(action)
        new = sorted(wait for wait in self.waits if wait[1] > LATER and self.action[wait[2]] == action)
        self.waits = [wait for wait in self.waits if wait not in new]
        self.waits += [(priority, self.turn(), id) for priority, _, id in sorted(new, key=lambda wait: wait[:2])]

    @rule()
    def round(self) -> None:
        self.server.rounds()

    @rule(steps=st.integers(0, 6))
    def round_in_which_the_server_dies(self, steps: int) -> None:
        """Raise after so many calls that change the store or the queue; another server takes over."""
        left = steps

        def dying(call: Callable[..., Any]) -> Callable[..., Any]:
            def step(*args: Any, **kwargs: Any) -> Any:
                nonlocal left
                if left <= 0:
                    raise Dies
                left -= 1
                return call(*args, **kwargs)

            return step

        with self.patch.context() as patch:
            patch.setattr(self.store, "write", dying(self.store.write))
            for name in ("put", "remove"):
                patch.setattr(self.queue, name, dying(getattr(self.queue, name)))
            with contextlib.suppress(Dies):
                self.server.rounds()
        self.server = Server(self.store, self.queue)
        self.server.promoter._pauses._leadership = ANOTHER

    @rule()
    def take_one(self) -> None:
        self.take()

    def take(self) -> int:
        """Take an entry, and return the number of entries. Its job begins, unless its action is paused.

        The first one begins. A claim of an entry that does not count is refused and consumed.
        """
        claims = self.queue.take(1, timeout=0)
        for claim in claims:
            state, action = self.state("RUNNING", claim), self.action[claim.job]
            if state == "entry":
                self.queue.consume([claim])
                continue
            assert state == "RUNNING"
            assert action not in self.paused
            first = min(wait for wait in self.waits if self.action[wait[2]] not in self.paused)
            assert first[2] == claim.job, "the order is kept, and no job is begun twice"
            self.waits.remove(first)
            self.running[claim.job] = claim
        return len(claims)

    @precondition(lambda self: self.running)
    @rule(pick=st.integers(0, 9))
    def end_one(self, pick: int) -> None:
        self.end(sorted(self.running)[pick % len(self.running)])

    def end(self, id: str) -> None:
        claim = self.running.pop(id)
        assert self.state("SUCCESS", claim) == "SUCCESS"
        self.queue.consume([claim])

    @invariant()
    def none_is_lost(self) -> None:
        jobs = self.store.get([id for _, _, id in self.waits])
        assert all(job is not None and job["state"] == "QUEUED" for job in jobs)


@pytest.mark.parametrize("kind", ["sqlite", "zookeeper"])
def test_the_order_is_kept_and_no_job_lost_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(sweep, "PAGE", 2)
    monkeypatch.setattr(pause_rounds, "PAGE", 2)

    def machine() -> Pauses:
        name = uuid4().hex
        folder = tmp_path / name
        where = {"path": str(folder / "queue.db")} if kind == "sqlite" else {"hosts": hosts, "root": f"/{name}"}
        store, queue = SqliteStore(folder / "store.db"), connect(where, "server", 10)
        queue.start()
        folder.mkdir(exist_ok=True)
        store.start()
        return Pauses(store, queue, monkeypatch)

    hosts = zookeeper().hosts if kind == "zookeeper" else ""
    run_state_machine_as_test(
        machine,  # type: ignore[arg-type]
        settings=settings(
            max_examples=30 if kind == "sqlite" else 10,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
