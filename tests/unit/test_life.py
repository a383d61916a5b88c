"""The life of a job, row by row and by chance.

docs/job-lifecycle.md has the transitions and refusals; docs/architecture.md, "Delivery contract", the rules.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from geventjob.clock import cimi_time
from geventjob.job.attributes import AFTER_END
from geventjob.job.states import FINAL, TRANSITIONS
from geventjob.server.jobs.lifecycle import Edit, Owner, edited
from geventjob.server.jobs.stops import RETELL, stopped, tells, untold
from geventjob.server.life.changes import added
from geventjob.server.life.conflicts import EntryDiffers, OwnerHolds, Refusal

T0 = datetime(2024, 5, 1, 12, 0, 0, tzinfo=timezone.utc)
E1, E2 = "/job/entries/entry-999-0000000001", "/job/entries/entry-999-0000000002"
ACL = {"owner": {"principal": "ADMIN", "type": "ROLE"}}
A = Owner(E1, 5, "a")
B = Owner(E1, 6, "b")
UNFENCED = None


def at(seconds: float) -> Any:
    return T0 + timedelta(seconds=seconds)


def new(**body: Any) -> Any:
    job = added({"action": "act", **body}, id="job/1", now=T0, acl=ACL)
    job["properties"] = {**job.get("properties", {}), "zookeeper-path": E1}
    return job


def write(
    job: Any,
    owner: Any = None,
    now: float = 1.0,
    delete: Any = (),
    actions: Any = None,
    gone: bool = False,
    holds: bool = False,
    force: bool = False,
    **change: Any,
) -> Any:
    before = copy.deepcopy(job)
    edit = Edit(change, delete, owner, actions, force=force)
    try:
        return edited(job, edit, now=at(now), other_entry_gone=gone, owner_gone=not holds)
    finally:
        assert job == before, "the argument was changed"


def refused(job: Any, owner: Any = None, **kwargs: Any) -> Any:
    with pytest.raises(Refusal) as caught:
        write(job, owner, **kwargs)
    assert caught.value.job is job
    assert job["id"] in caught.value.message
    return caught.value.reason


def running(owner: Any = A, now: float = 1.0) -> Any:
    return write(new(), owner, now, state="RUNNING")


def stopping(owner: Any = A) -> Any:
    return stopped(running(owner), now=at(2))


def ended(state: str = "SUCCESS", owner: Any = A) -> Any:
    return write(running(owner), owner, 4.9, state=state)


IN: dict[str, Callable[[], Any]] = {
    "QUEUED": new,
    "RUNNING": running,
    "STOPPING": stopping,
    "SUCCESS": ended,
    "FAILED": lambda: ended("FAILED"),
    "STOPPED": lambda: ended("STOPPED"),
}


# --- added


def test_a_new_job_is_queued_whatever_was_sent() -> None:
    job = new(state="SUCCESS", fence=9, executor="x", attempts=3, created="long ago", id="job/mine", duration=None)
    assert job["state"] == "QUEUED"
    assert (job["id"], job["created"], job["updated"]) == ("job/1", cimi_time(T0), cimi_time(T0))
    assert (job["priority"], job["progress"], job["attempts"], job["interruptions"]) == (999, 0, 0, 0)
    assert job["interrupted"] is False
    assert job["acl"] == ACL
    assert not {"fence", "executor", "started", "duration", "timeOfStatusChange"} & job.keys()


def test_what_was_sent_is_kept() -> None:
    body = {"action": "act", "priority": 3, "payload": {"a": [1]}, "idempotencyKey": "k", "timeout": 2.5}
    job = added(body, id="job/1", now=T0, acl=ACL)
    assert body.items() <= job.items()


@pytest.mark.parametrize(
    ("affected", "after"),
    [
        (None, [{"href": "job"}]),
        ([{"href": "user"}], [{"href": "user"}, {"href": "job"}]),
        ([{"href": "job"}], [{"href": "job"}]),
    ],
)
def test_the_target_is_affected(affected: Any, after: Any) -> None:
    body = {"action": "act", "targetResource": {"href": "job"}}
    if affected:
        body["affectedResources"] = affected
    before = copy.deepcopy(body)
    assert added(body, id="job/1", now=T0, acl=ACL)["affectedResources"] == after
    assert body == before


def test_the_entry_is_the_servers() -> None:
    body: dict[str, Any] = {"action": "act", "properties": {"zookeeper-path": "/mine", "k": "v"}}
    assert added(body, id="job/1", now=T0, acl=ACL)["properties"] == {"k": "v"}
    del body["properties"]["k"]
    assert "properties" not in added(body, id="job/1", now=T0, acl=ACL)


# --- the table, by an unfenced write (an old engine, an administrator)

REACHED = {
    ("QUEUED", "QUEUED"): "QUEUED",
    ("QUEUED", "RUNNING"): "RUNNING",
    ("QUEUED", "STOPPED"): "STOPPED",
    ("QUEUED", "SUCCESS"): "SUCCESS",
    ("QUEUED", "FAILED"): "FAILED",
    ("QUEUED", "STOPPING"): "transition",
    ("RUNNING", "QUEUED"): "QUEUED",
    ("RUNNING", "RUNNING"): "RUNNING",
    ("RUNNING", "STOPPING"): "STOPPING",
    ("RUNNING", "STOPPED"): "STOPPED",
    ("RUNNING", "SUCCESS"): "SUCCESS",
    ("RUNNING", "FAILED"): "FAILED",
    ("STOPPING", "QUEUED"): "transition",
    ("STOPPING", "RUNNING"): "STOPPED",
    ("STOPPING", "STOPPING"): "STOPPING",
    ("STOPPING", "STOPPED"): "STOPPED",
    ("STOPPING", "SUCCESS"): "SUCCESS",
    ("STOPPING", "FAILED"): "FAILED",
    **{(end, to): end if end == to else "final" for end in FINAL for to in TRANSITIONS},
}


def test_final_states() -> None:
    assert set(FINAL) == {"SUCCESS", "FAILED", "STOPPED"}
    assert len(REACHED) == 36


@pytest.mark.parametrize(("before", "to"), REACHED)
def test_unfenced(before: Any, to: Any) -> None:
    job, expected = IN[before](), REACHED[before, to]
    if expected in TRANSITIONS:
        after = write(job, UNFENCED, 10, state=to)
        assert after["state"] == expected
        assert after["attempts"] == job["attempts"]
        assert after["interruptions"] == job["interruptions"]
        assert (after is job) == (before in FINAL)
    else:
        assert refused(job, UNFENCED, state=to) == expected


# --- the table, by the owner

OWNERS = {
    "RUNNING": {s: s for s in TRANSITIONS},
    "STOPPING": {
        "QUEUED": "stopping",
        "RUNNING": "STOPPING",
        "STOPPING": "STOPPING",
        "SUCCESS": "SUCCESS",
        "FAILED": "FAILED",
        "STOPPED": "STOPPED",
    },
}


@pytest.mark.parametrize(("before", "to"), [(b, to) for b, row in OWNERS.items() for to in row])
def test_owner(before: Any, to: Any) -> None:
    job, expected = IN[before](), OWNERS[before][to]
    if expected in TRANSITIONS:
        assert write(job, A, state=to)["state"] == expected
    else:
        assert refused(job, A, state=to) == expected


def test_owner_writes_beside_the_state() -> None:
    after = write(running(), A, progress=40, statusMessage="half", affectedResources=[{"href": "job/2"}])
    assert (after["progress"], after["statusMessage"]) == (40, "half")
    assert write(stopping(), A, progress=40)["state"] == "STOPPING", "the answer shows the stop"


# --- the table, by a newer claim

TAKERS = {
    "QUEUED": {
        "QUEUED": "fence",
        "RUNNING": "RUNNING",
        "STOPPING": "fence",
        "SUCCESS": "SUCCESS",
        "FAILED": "FAILED",
        "STOPPED": "STOPPED",
    },
    "RUNNING": {
        "QUEUED": "fence",
        "RUNNING": "RUNNING",
        "STOPPING": "fence",
        "SUCCESS": "fence",
        "FAILED": "FAILED",
        "STOPPED": "fence",
    },
    "STOPPING": {
        "QUEUED": "fence",
        "RUNNING": "stopping",
        "STOPPING": "fence",
        "SUCCESS": "SUCCESS",
        "FAILED": "FAILED",
        "STOPPED": "STOPPED",
    },
    **{end: dict.fromkeys(TRANSITIONS, "final") for end in FINAL},
}


@pytest.mark.parametrize(("before", "to"), [(b, to) for b, row in TAKERS.items() for to in row])
def test_newer_claim(before: Any, to: Any) -> None:
    job, expected = IN[before](), TAKERS[before][to]
    if expected not in TRANSITIONS:
        assert refused(job, B, state=to) == expected
        return
    after = write(job, B, state=to)
    assert (after["state"], after["fence"], after["executor"]) == (expected, 6, "b")
    assert refused(after, A, state="RUNNING") in ("fence", "final")


@pytest.mark.parametrize("before", ["QUEUED", "RUNNING", "STOPPING"])
def test_newer_claim_writes_nothing_beside_the_state(before: Any) -> None:
    assert refused(IN[before](), B, progress=3) == "fence"


STALE = [Owner(E1, 4, "b"), Owner(E1, 5, "b"), Owner(E1, 4, "a")]


@pytest.mark.parametrize("claim", STALE)
@pytest.mark.parametrize("change", [{"state": s} for s in TRANSITIONS] + [{"progress": 1}])
@pytest.mark.parametrize("before", ["RUNNING", "STOPPING"])
def test_stale_claim(before: Any, change: Any, claim: Any) -> None:
    assert refused(IN[before](), claim, **change) == "fence"


# --- attempts, interruptions


def test_running_counts_attempts_and_interruptions() -> None:
    job = running(A)
    assert (job["attempts"], job["interruptions"], job["interrupted"]) == (1, 0, False)
    job = write(job, B, state="RUNNING")
    assert (job["attempts"], job["interruptions"], job["interrupted"]) == (2, 1, True)
    job = write(write(job, B, state="QUEUED"), Owner(E1, 7, "a"), state="RUNNING")
    assert (job["attempts"], job["interruptions"], job["interrupted"]) == (3, 1, True)


def test_the_next_after_a_release_is_told_of_an_earlier_attempt() -> None:
    job = write(running(), A, state="QUEUED")
    assert job["interrupted"] is True
    assert write(job, B, state="RUNNING")["interruptions"] == 0


def test_an_old_engine_that_died_counts_as_an_interruption() -> None:
    job = write(write(new(), UNFENCED, state="RUNNING"), A, state="RUNNING")
    assert (job["attempts"], job["interruptions"], job["interrupted"]) == (1, 1, True)


def test_a_success_at_first_was_never_interrupted() -> None:
    assert ended()["interrupted"] is False


# --- the same again (a lost answer)


@pytest.mark.parametrize(
    "change",
    [
        {"state": "RUNNING"},
        {"state": "QUEUED"},
        {"state": "SUCCESS", "returnCode": 0},
        {"state": "FAILED", "statusMessage": "x" * 40_000, "returnCode": 3, "progress": 7},
        {"state": "STOPPED"},
    ],
)
def test_the_same_again_counts_nothing(change: Any) -> None:
    job = new() if change["state"] == "RUNNING" else running()
    after = write(job, A, 5, **change)
    assert write(after, A, 9, **change) is after


def test_running_again_after_a_stop_tells_of_it() -> None:
    job = stopping()
    assert write(job, A, state="RUNNING") is job


def test_another_outcome_of_the_same_owner_is_refused() -> None:
    job = write(running(), A, state="SUCCESS", returnCode=0)
    assert refused(job, A, state="SUCCESS", returnCode=1) == "final"
    assert refused(job, A, state="FAILED") == "final"
    assert refused(job, A, progress=100) == "final"
    assert refused(job, B, state="SUCCESS", returnCode=0) == "final"


def test_a_release_again_after_the_next_took_it_is_refused() -> None:
    job = write(write(running(), A, state="QUEUED"), B, state="RUNNING")
    assert refused(job, A, state="QUEUED") == "fence"


# --- without an owner


@pytest.mark.parametrize("to", ["RUNNING", "QUEUED", "STOPPING"])
@pytest.mark.parametrize("change", [{"progress": 1}, {"state": "SUCCESS"}, {"state": "RUNNING"}, {"state": "FAILED"}])
def test_an_unfenced_state_leaves_no_owner(to: Any, change: Any) -> None:
    job = write(running(), UNFENCED, state=to)
    assert refused(job, A, **change) == "fence"
    if to != "STOPPING":
        assert write(job, B, state="RUNNING")["attempts"] == 2


@pytest.mark.parametrize("before", ["RUNNING", "STOPPING"])
@pytest.mark.parametrize(
    "change",
    [
        *({"state": state} for state in IN),
        {"progress": 1},
        {"returnCode": 0},
        {"statusMessage": "x"},
        {"delete": ["returnCode"]},
    ],
)
def test_no_unfenced_write_lands_on_an_owner_that_holds_the_entry(before: Any, change: Any) -> None:
    job = write(IN[before](), A, returnCode=7)
    with pytest.raises(OwnerHolds) as caught:
        write(job, UNFENCED, holds=True, **change)
    held = caught.value
    assert (held.reason, held.entry, held.fence, held.executor) == ("fence", E1, A.fence, A.executor)
    assert write(job, A, holds=True, progress=6)["progress"] == 6
    with contextlib.suppress(Refusal):  # a transition that the table lacks
        assert write(job, UNFENCED, holds=True, force=True, **change) == write(job, UNFENCED, **change)


def test_what_the_owner_does_not_write_may_be_edited_beside_it() -> None:
    job = write(running(), A, progress=5, statusMessage="m")
    after = write(
        job, UNFENCED, holds=True, name="n", progress=5, statusMessage="m", affectedResources=[{"href": "job"}]
    )
    assert (after["name"], after["_owned"]) == ("n", True)
    ownerless = write(running(), UNFENCED, state="RUNNING")
    assert write(ownerless, UNFENCED, holds=True, state="SUCCESS")["state"] == "SUCCESS"


def test_one_of_many_stops_tells_the_executor() -> None:
    first = stopped(running(), now=at(2), teller="first")
    second = stopped(first, now=at(3), teller="second")
    assert second is first
    assert [tells(first, teller) for teller in ("first", "second")] == [True, False]
    again = stopped(first, now=at(3 + RETELL), teller="third")
    assert [tells(again, teller) for teller in ("first", "third")] == [False, True]
    assert untold(first, "second") is first
    assert tells(stopped(untold(first, "first"), now=at(3), teller="second"), "second")
    ownerless = stopped(write(running(), UNFENCED, state="RUNNING"), now=at(2), teller="first")
    assert not tells(ownerless, "first")
    assert not tells(stopped(new(), now=at(2), teller="first"), "first")


@pytest.mark.parametrize("to", ["RUNNING", "SUCCESS", "FAILED", "STOPPED"])
def test_what_an_old_engine_runs_or_ended_names_no_executor_of_ours(to: Any) -> None:
    job = running()
    assert job["executor"]
    assert "executor" not in write(job, UNFENCED, state=to)
    assert write(job, UNFENCED, state="STOPPING")["executor"] == job["executor"]


def test_other_unfenced_writes_leave_the_owner_alone() -> None:
    job = write(running(), UNFENCED, progress=5, name="n")
    assert write(job, A, progress=6)["progress"] == 6


@pytest.mark.parametrize("change", [{"progress": 1}, {"state": "SUCCESS"}, {"state": "RUNNING"}, {"state": "FAILED"}])
def test_a_release_leaves_no_owner(change: Any) -> None:
    assert refused(write(running(), A, state="QUEUED"), A, **change) == "fence"


# --- entries


@pytest.mark.parametrize(("before", "to"), [("QUEUED", "RUNNING"), ("RUNNING", "RUNNING"), ("QUEUED", "FAILED")])
def test_another_entry(before: Any, to: Any) -> None:
    job, claim = IN[before](), Owner(E2, 1, "b")
    with pytest.raises(EntryDiffers) as caught:
        write(job, claim, state=to)
    assert (caught.value.reason, caught.value.entry, caught.value.sent) == ("entry", E1, E2)
    after = write(job, claim, gone=True, state=to)
    assert after["properties"]["zookeeper-path"] == E2
    assert after["fence"] == 1, "a new entry starts anew"
    if before == "RUNNING":
        assert refused(after, A, progress=1) == "fence"


def test_entry_before_stopping_and_action() -> None:
    assert refused(stopping(), Owner(E2, 9, "b"), state="RUNNING") == "entry"
    assert refused(new(), Owner(E2, 9, "b"), state="RUNNING", actions=frozenset()) == "entry"
    assert refused(stopping(), Owner(E2, 9, "b"), state="RUNNING", gone=True) == "stopping"
    assert write(stopping(), Owner(E2, 9, "b"), state="STOPPED", gone=True)["state"] == "STOPPED"


def test_final_before_entry() -> None:
    assert refused(ended(), Owner(E2, 9, "b"), state="RUNNING") == "final"


# --- action


@pytest.mark.parametrize("owner", [UNFENCED, B])
@pytest.mark.parametrize("before", ["QUEUED", "RUNNING"])
def test_an_action_that_was_not_offered(before: Any, owner: Any) -> None:
    job = IN[before]()
    assert refused(job, owner, state="RUNNING", actions=frozenset({"other"})) == "action"
    assert write(job, owner, state="RUNNING", actions=frozenset({"act"}))["state"] == "RUNNING"
    assert write(job, owner, state="FAILED", actions=frozenset())["state"] == "FAILED"


def test_fence_and_stopping_before_action() -> None:
    none = frozenset[str]()
    assert refused(running(B), A, state="RUNNING", actions=none) == "fence"
    assert refused(stopping(), B, state="RUNNING", actions=none) == "stopping"


# --- stop


@pytest.mark.parametrize(("before", "after"), [("QUEUED", "STOPPED"), ("RUNNING", "STOPPING")])
def test_stop(before: Any, after: Any) -> None:
    assert stopped(IN[before](), now=at(2))["state"] == after


@pytest.mark.parametrize("before", ["STOPPING", *FINAL])
def test_stop_changes_nothing(before: Any) -> None:
    job = IN[before]()
    assert stopped(job, now=at(2)) is job


# --- consequences of a change


def test_started_and_duration_once() -> None:
    job = running(A, 1)
    assert job["started"] == cimi_time(at(1))
    job = write(job, B, 3, state="RUNNING")
    assert job["started"] == cimi_time(at(1))
    job = write(job, B, 4.9, state="SUCCESS")
    assert job["duration"] == 3
    assert write(job, UNFENCED, 60, name="n")["duration"] == 3


@pytest.mark.parametrize("before", ["QUEUED", "RUNNING"])
def test_a_final_state_is_at_100(before: Any) -> None:
    after = write(IN[before](), UNFENCED, state="FAILED", progress=3)
    assert after["progress"] == 100
    assert ("duration" in after) == (before == "RUNNING")


def test_a_clock_set_back_gives_no_negative_duration() -> None:
    assert write(running(A, 100), A, 1, state="SUCCESS")["duration"] == 0


def test_a_message_sets_its_time() -> None:
    job = write(running(), A, 7, statusMessage="m")
    assert job["timeOfStatusChange"] == cimi_time(at(7))
    assert write(job, A, 8, progress=3)["timeOfStatusChange"] == cimi_time(at(7))
    assert new(statusMessage="m")["timeOfStatusChange"] == cimi_time(T0)


@pytest.mark.parametrize(("text", "length"), [("x", 1), ("x" * 40_000, 32_000), ("a" + "€" * 20_000, 31_999)])
def test_a_message_is_cut_between_characters(text: str, length: Any) -> None:
    cut = write(running(), A, statusMessage=text)["statusMessage"]
    assert len(cut.encode()) == length
    assert text.startswith(cut)


def test_priority_is_kept() -> None:
    job = write(new(priority=7), UNFENCED, delete=["priority"], name="n")
    assert write(job, A, state="RUNNING")["priority"] == 7


def test_the_servers_attributes_are_not_set_by_others() -> None:
    before = running()
    sent: dict[str, Any] = {
        "id": "job/2",
        "created": "x",
        "fence": 99,
        "attempts": 0,
        "executor": "x",
        "duration": 5,
        "started": "x",
    }
    after = write(before, UNFENCED, 9, idempotencyKey="other", **sent)
    assert after == {**before, "updated": cimi_time(at(9))}


def test_delete() -> None:
    job = write(new(name="n", description="d", payload={}), UNFENCED, delete=["name", "description"], description="e")
    assert "name" not in job
    assert job["description"] == "e", "a set wins over a delete"
    gone = ["id", "acl", "state", "action", "progress", "fence", "properties", "created", "nonsense"]
    after = write(running(), A, delete=gone)
    assert set(gone[:-1]) <= after.keys()


def test_properties_keep_the_entry() -> None:
    job = write(new(), UNFENCED, properties={"k": "v", "zookeeper-path": "/x"})
    assert job["properties"] == {"k": "v", "zookeeper-path": E1}
    assert write(job, UNFENCED, delete=["properties"])["properties"] == {"zookeeper-path": E1}


@pytest.mark.parametrize("end", FINAL)
def test_what_is_editable_at_the_end(end: Any) -> None:
    job = IN[end]()
    change: dict[str, Any] = {"name": "n", "description": "d", "properties": {"k": "v"}, "acl": {"owner": {}}}
    after = write(job, UNFENCED, 9, **change)
    assert after["properties"] == {"k": "v", "zookeeper-path": E1}
    assert (after["name"], after["acl"], after["state"]) == ("n", {"owner": {}}, end)
    assert "name" not in write(after, UNFENCED, delete=["name"])
    assert refused(job, A, **change) == "final"
    for name, value in {"progress": 3, "payload": {}, "statusMessage": "m", "priority": 3, "action": "b"}.items():
        assert refused(job, UNFENCED, **{name: value}) == "final"
    assert refused(write(running(), A, state=end, returnCode=3), UNFENCED, delete=["returnCode"]) == "final"


def test_a_whole_document_may_come_back_at_the_end() -> None:
    job = write(running(), A, state="FAILED", statusMessage="m")
    after = write(job, UNFENCED, 9, **{k: v for k, v in job.items() if k[0] != "_"}, name="n")
    assert after == {**job, "name": "n", "updated": cimi_time(at(9))}


# --- by chance


ALIVE = ["RUNNING", "QUEUED", "STOPPING"]


class Life(RuleBasedStateMachine):
    """Two executors whose claims go stale, an old engine, an administrator, stops, and answers that were lost.

    The model has the holder of the entry (the last claim taken) and the last claim that wrote. `_landed` states the
    invariants of each change.
    """

    sent = Bundle("sent")

    @initialize()
    def add(self) -> None:
        self.job = new()
        self.clock = 1
        self.fence = 0
        self.entry = E1
        self.claims: list[Owner] = []
        self.begun: list[Owner] = []
        self.owner: Owner | None = None
        self.ran = 0
        self.cut_short: list[Owner | None] = []
        self.duration: int | None = None
        self.started: str | None = None

    @precondition(lambda self: self.job["state"] in FINAL)
    @rule()
    def deleted_and_added_anew(self) -> None:
        self.add()

    @rule(
        target=sent,
        executor=st.sampled_from("ab"),
        known=st.sampled_from([True, True, False]),
        most=st.sampled_from([None, 0, 1]),
    )
    def take(self, executor: Any, known: Any, most: Any) -> Any:
        """Take the entry: earlier claims are stale, and may not know yet."""
        self.fence += 1
        self.claims.append(Owner(self.entry, self.fence, executor))
        return self._claims(-1, {"state": "RUNNING"}, known, most)

    @precondition(lambda self: self.claims)
    @rule()
    def put_again(self) -> None:
        """Lose the entry, and put the job into another entry, whose fences may be lower."""
        self.entry = f"/job/entries/entry-999-{int(self.entry[-10:]) + 1:010d}"
        self.fence = 0

    @precondition(lambda self: self.claims)
    @rule(target=sent, which=st.sampled_from([-1, -1, -1, -2, -3]), state=st.sampled_from([None, *ALIVE]))
    def owner_goes_on(self, which: Any, state: Any) -> Any:
        return self._claims(which, {"state": state} if state else {"progress": 7})

    @precondition(lambda self: self.claims)
    @rule(target=sent, which=st.sampled_from([-1, -1, -2]), state=st.sampled_from(sorted(FINAL)))
    def owner_ends(self, which: Any, state: Any) -> Any:
        return self._claims(which, {"state": state, "progress": 7})

    def _claims(self, which: Any, change: Any, known: bool = True, most: Any = None) -> Any:
        owner = self.claims[max(-len(self.claims), which)]
        edit = Edit(change, (), owner, frozenset({"act"} if known else {"other"}), most)
        self._send(edit)
        return edit

    @rule(edit=sent)
    def lost_answer(self, edit: Any) -> None:
        """Send an edit again, or deliver a late one."""
        self._send(edit)

    @rule(state=st.sampled_from([None, *ALIVE]), name=st.sampled_from([None, "n"]))
    def unfenced_write(self, state: Any, name: Any) -> None:
        change = {k: v for k, v in {"state": state, "name": name}.items() if v is not None}
        self._send(Edit(change, ("name",) if name is None else ()))

    @precondition(lambda self: self.clock % 3 == 0)
    @rule(state=st.sampled_from(sorted(FINAL)))
    def unfenced_end(self, state: Any) -> None:
        self._send(Edit({"state": state}))

    @precondition(lambda self: self.clock % 3 == 1)
    @rule()
    def stop(self) -> None:
        before = copy.deepcopy(self.job)
        after = stopped(self.job, now=self._now())
        assert self.job == before
        self._landed(before, after, None, {})

    def _now(self) -> Any:
        self.clock += 1
        return at(self.clock)

    def _send(self, edit: Any) -> None:
        before = copy.deepcopy(self.job)
        now = self._now()
        try:
            try:
                after = edited(self.job, edit, now=now, owner_gone=True)
            except EntryDiffers as differs:
                assert edit.owner.entry != before["properties"]["zookeeper-path"]
                if differs.entry == self.entry or edit.owner.entry != self.entry:
                    raise
                after = edited(self.job, edit, now=now, other_entry_gone=True)
        except Refusal as refusal:
            self._refused(refusal.reason, before, edit)
            return
        finally:
            assert self.job == before
        self._landed(before, after, edit.owner, edit.set)
        if edit.owner and after is not before and edit.set:
            again = edited(after, edit, now=now)
            assert {**again, "updated": 0} == {**after, "updated": 0}

    def _refused(self, reason: Any, before: Any, edit: Any) -> None:
        assert (reason == "final") == (before["state"] in FINAL)
        if edit.owner and edit.owner == self.owner:
            assert reason != "fence"
            assert edit.set.get("state") != "RUNNING", "a repeat after a lost answer is accepted"

    def _landed(self, before: Any, after: Any, owner: Any, change: Any) -> None:
        """Check the invariants of a change that was accepted."""
        self.job = after
        if before["state"] in FINAL:
            free = {*AFTER_END, "updated"}
            assert {k: v for k, v in before.items() if k not in free} == {
                k: v for k, v in after.items() if k not in free
            }
            return
        assert after["state"] in {*TRANSITIONS[before["state"]], before["state"]}
        state = change.get("state")
        if after["interruptions"] < before["interruptions"]:
            assert state == "QUEUED"
            assert {k for k in after if after[k] != before[k]} == {"interruptions", "_interrupted"}
            self.cut_short.remove(owner)
            return
        if state == "RUNNING" and owner and after["state"] == "QUEUED":
            assert after["attempts"] == before["attempts"]
            if before["state"] == "RUNNING":
                self.cut_short.append(self.owner)
                self.owner = None
            return
        if owner and after != before and owner != self.owner:
            assert owner.entry in (self.entry, before["properties"]["zookeeper-path"]), "an entry that is gone"
            assert state in {"RUNNING", *FINAL}, "only a claim that begins or ends the job may write"
            assert all(owner.entry != o.entry or owner.fence > o.fence for o in self.begun[-1:]), "a stale claim landed"
            if state == "RUNNING":
                self.ran += 1
                self.cut_short += [self.owner] if before["state"] == "RUNNING" else []
            self.begun.append(owner)
            self.owner = owner
        if (owner is None and state is not None and before["state"] != "QUEUED") or after["state"] in FINAL | {
            "QUEUED"
        }:
            self.owner = None

    @invariant()
    def counted(self) -> None:
        assert (self.job["attempts"], self.job["interruptions"]) == (self.ran, len(self.cut_short))
        if self.ran > 1 or self.cut_short:
            assert self.job["interrupted"]

    @invariant()
    def ended_for_good(self) -> None:
        job = self.job
        assert (job["progress"] == 100) == (job["state"] in FINAL)
        assert ("duration" in job) == (job["state"] in FINAL and "started" in job)
        assert self.duration in (None, job.get("duration"))
        assert self.started in (None, job.get("started"))
        self.duration, self.started = job.get("duration"), job.get("started")

    @invariant()
    def owned(self) -> None:
        assert ("_owned" in self.job) == (self.owner is not None)
        if self.owner:
            assert (self.job["fence"], self.job["executor"]) == (self.owner.fence, self.owner.executor)
            assert self.job["properties"]["zookeeper-path"] == self.owner.entry


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
