"""The life of a job with retries, promotions, late claims and stops in any order: the invariants of the gate hold."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from geventjob.clock import moment_of
from geventjob.job.states import FINAL, TAKER, TRANSITIONS
from geventjob.server.gate import gate
from geventjob.server.jobs.lifecycle import Edit, Owner, edited
from geventjob.server.jobs.stops import stopped
from geventjob.server.life.changes import added, entry_of, set_entry
from geventjob.server.life.conflicts import EntryDiffers, Refusal
from geventjob.server.life.failures import FailureReport, RetryWish
from geventjob.server.life.wait import Hold, hold

LIMIT = 3
ACL = {"owner": {"principal": "a", "type": "USER"}}


class Life(RuleBasedStateMachine):
    """One job, the entries that were ever put for it, and every claim of them that any executor ever had."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 4, 2, tzinfo=timezone.utc)
        self.queue: list[str] = []
        """Entries in the queue."""
        self.put = 0
        self.claims: list[Owner] = []
        """Claims, the old ones too: a late write may come from any of them."""
        self.began: list[Owner] = []
        """Claims that have begun an attempt."""
        self.fences: dict[str, int] = {}
        self.failures = 0
        """Failures of attempts that the server has accepted."""
        self.job: dict[str, Any] = {}

    @initialize(later=st.booleans(), expires=st.booleans())
    def add(self, later: bool, expires: bool) -> None:
        body = {"action": "a", **({"expires": "+500s"} if expires else {})}
        self.job = added(body, id="job/1", now=self.now, acl=ACL)
        if later:
            hold(self.job, Hold("notBefore", "", self.job["created"].replace("00:00:00", "00:01:00")))
        else:
            set_entry(self.job, self._put())

    def _put(self) -> str:
        self.put += 1
        entry = f"/job/entries/entry-999-{self.put:010}"
        self.queue.append(entry)
        return entry

    def _edit(self, edit: Edit) -> bool:
        """Apply an edit as the server does, which asks the queue whether another entry counts."""
        before = self.job
        try:
            self.job = edited(before, edit, now=self.now)
        except EntryDiffers as refusal:
            if refusal.entry in self.queue or refusal.sent not in self.queue:
                return False
            return self._edit_without_entry(edit)
        except Refusal:
            return False
        return True

    def _edit_without_entry(self, edit: Edit) -> bool:
        try:
            self.job = edited(self.job, edit, now=self.now, other_entry_gone=True)
        except Refusal:
            return False
        return True

    # --- what happens

    @rule(seconds=st.sampled_from([1, 30, 100]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(stored=st.booleans())
    def promoter(self, stored: bool) -> None:
        """Put the job if it is due; without `stored` the server dies before the job is stored with its entry."""
        if gate.promoted(self.job, "x", self.now) is self.job:
            return
        entry = self._put()
        if stored:
            self.job = gate.promoted(self.job, entry, self.now)

    @rule()
    def expire(self) -> None:
        self.job = gate.expired(self.job, self.now)

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def claim_and_begin(self, data: st.DataObject) -> None:
        """Take any entry of the queue, and begin its job. A claim of an earlier holder of the entry is over then."""
        entry = data.draw(st.sampled_from(self.queue))
        self.fences[entry] = self.fences.get(entry, 0) + 1
        owner = Owner(entry, self.fences[entry], f"e{len(self.claims)}")
        self.claims.append(owner)
        held = self.job.get("held")
        begun = self._edit(Edit({"state": "RUNNING"}, owner=owner))
        if begun and held:
            assert moment_of(held["until"]) <= self.now + gate.CLOCKS, "no held job begins before it is due"
        if begun:
            self.began.append(owner)

    @precondition(lambda self: self.claims)
    @rule(
        data=st.data(),
        write=st.sampled_from(["fail", "fail", "fail", "release", "progress", "fail for good", "succeed"]),
        after=st.integers(0, 60),
        consumes=st.booleans(),
    )
    def any_claim_writes(self, data: st.DataObject, write: str, after: int, consumes: bool) -> None:
        """Write as a claim; without `consumes` the executor dies before its entry is consumed."""
        owner = data.draw(st.sampled_from(self.claims))
        if write != "fail" or owner in self.began:  # only a run asks for a retry
            self._write(owner, write, after, consumes)

    @precondition(lambda self: self.queue and self.job["state"] not in FINAL)
    @rule(data=st.data(), after=st.integers(0, 60), consumes=st.booleans())
    def an_attempt_fails(self, data: st.DataObject, after: int, consumes: bool) -> None:
        self.claim_and_begin(data)
        if self.claims[-1] in self.began:
            self._write(self.claims[-1], "fail", after, consumes)

    def _write(self, owner: Owner, write: str, after: int, consumes: bool) -> None:
        before = self.job
        changes: dict[str, dict[str, Any]] = {
            "fail": {"state": "FAILED", "statusMessage": "no"},
            "fail for good": {"state": "FAILED"},
            "succeed": {"state": "SUCCESS"},
            "release": {"state": "QUEUED"},
            "progress": {"progress": 50},
        }
        report = FailureReport("OSError", "no") if "fail" in write else None
        wish = RetryWish(after, LIMIT) if write == "fail" else None
        if not self._edit(Edit(changes[write], owner=owner, failure=report, retry=wish)):
            assert self.job is before
        elif self.job is not before:
            owned = before.get("_owned") and (before["fence"], before["executor"]) == (owner.fence, owner.executor)
            takes = TRANSITIONS[before["state"]].get(changes[write].get("state", "")) == TAKER
            assert owned or takes or write == "release", "a stranger wrote"
            assert owned or owner.entry == entry_of(self.job) or write == "release", "a claim of an old entry wrote"
            if "fail" in write:
                self.failures += 1
            if write == "fail" and self.job["state"] == "FAILED":
                left = before["retried"] < LIMIT and before["state"] != "STOPPING" and "expires" not in before
                assert not left, "a failure was final though retries are left"
        if consumes and write in ("fail", "fail for good", "succeed") and owner.entry in self.queue:
            self.queue.remove(owner.entry)  # after the write, and after its refusal

    @precondition(lambda self: self.job["retried"] > 1)
    @rule()
    def stop(self) -> None:
        self.job = stopped(self.job, now=self.now)

    @rule()
    def operator_releases(self) -> None:
        self.job = gate.released(self.job, self.now)

    # --- what always holds

    @invariant()
    def a_held_job_is_queued_without_an_entry(self) -> None:
        if "held" in self.job:
            assert self.job["state"] == "QUEUED"
            assert entry_of(self.job) is None
            assert "_owned" not in self.job
            assert "fence" not in self.job

    @invariant()
    def a_final_job_has_nothing_of_the_gate(self) -> None:
        if self.job and self.job["state"] in FINAL:
            assert not {"held", "_lastEntry", "_owned"} & self.job.keys()

    @invariant()
    def retries_are_counted_once_and_within_their_limit(self) -> None:
        if self.job:
            assert self.job["retried"] <= LIMIT
            assert self.job["retried"] <= len(self.job.get("errors", []))
            assert len(self.job.get("errors", [])) == min(self.failures, 10)
            assert self.job["retried"] <= self.job["attempts"]


Life.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase
