"""Pauses over both stores and both queues: jobs leave the queue, wait, and come back to their places."""

from __future__ import annotations

from typing import Any

import pytest

from geventjob.cimi.document import ALL_ACTIONS
from geventjob.clock import cimi_time, now
from geventjob.coordination.base import Claim
from geventjob.server.jobs.lifecycle import Edit, JobEdit, Owner
from geventjob.server.jobs.pauses import PauseService
from geventjob.server.leaders.reconcile import Reconciler
from geventjob.server.life.changes import entry_of
from geventjob.server.life.conflicts import Refusal
from geventjob.server.problem import Problem
from geventjob.server.store.base import Update
from tests.contract.test_promoter import ADMIN, Site
from tests.contract.test_reconcile import Both, both  # noqa: F401  (a fixture)


class PauseSite(Site):
    """A server without HTTP whose promoter runs only when it is called."""

    def __init__(self, both: Both) -> None:  # noqa: F811
        super().__init__(both)
        self.pauses = PauseService(both.store, self.promoter.book)

    def pause(self, action: str = "noop", **more: Any) -> None:
        self.pauses.pause(action, "alice", more.get("why"), more.get("until"))
        self.rounds()

    def resume(self, action: str = "noop") -> None:
        self.pauses.resume(action)
        self.rounds()

    def rounds(self) -> None:
        """Run rounds until the promoter has nothing left to do."""
        while self.promoter.run() == 0.0:
            pass

    def take(self, count: int = 100) -> list[Claim]:
        return self.both.coordination.take(count, timeout=0)

    def jobs_in_queue(self) -> list[str]:
        return [waiting.job for waiting in self.both.coordination.stats(2000).head]

    def start(self, claim: Claim, **set: Any) -> Any:
        owner = Owner(claim.entry, claim.fence, "worker")
        [outcome] = self.jobs.edit([JobEdit(claim.job, Edit({"state": "RUNNING", **set}, owner=owner))], ADMIN)
        return outcome

    def end(self, claim: Claim, state: str) -> Any:
        owner = Owner(claim.entry, claim.fence, "worker")
        [outcome] = self.jobs.edit([JobEdit(claim.job, Edit({"state": state}, owner=owner))], ADMIN)
        return outcome


@pytest.fixture
def site(both: Both) -> PauseSite:  # noqa: F811
    return PauseSite(both)


def why(site: PauseSite, id: str) -> str | None:
    held = site.job(id).get("held", {})
    return f"{held['why']} {held['on']}" if held else None


def test_queued_jobs_leave_the_queue_and_come_back_to_their_places(site: PauseSite) -> None:
    ids = [site.add(priority=500), site.add(action="other"), site.add(priority=10), site.add(priority=500)]
    before = site.queue()
    site.pause(why="the bank is down")
    assert site.jobs_in_queue() == [ids[1]]
    assert [why(site, id) for id in ids] == ["paused pause/noop", None, "paused pause/noop", "paused pause/noop"]
    detail = site.job(ids[0])["held"]["detail"]
    assert detail.startswith("the action noop is paused by alice since 2")
    assert detail.endswith("Z: the bank is down")
    younger = site.add(priority=500, action="other")
    site.resume()
    after = site.queue()
    assert [entry for entry in after if entry in before] == before
    assert site.jobs_in_queue() == [ids[2], ids[0], ids[3], younger, ids[1]]
    assert not any("held" in site.job(id) for id in ids)


def test_new_jobs_of_a_paused_action_wait_and_run_in_the_order_of_their_adds(site: PauseSite) -> None:
    first = site.add()
    site.pause()
    more = [site.add() for _ in range(5)]
    assert site.jobs_in_queue() == []
    site.resume()
    assert site.jobs_in_queue() == [first, *more]


def test_all_actions_are_paused_beside_one(site: PauseSite) -> None:
    noop, other = site.add(), site.add(action="other")
    site.pause(ALL_ACTIONS)
    assert site.jobs_in_queue() == []
    assert [why(site, id) for id in (noop, other)] == ["paused pause/*"] * 2
    site.pause("noop")
    site.resume(ALL_ACTIONS)
    assert site.jobs_in_queue() == [other]
    assert why(site, noop) == "paused pause/noop"
    site.resume("noop")
    assert site.jobs_in_queue() == [noop, other]


def test_what_runs_goes_on_and_ends(site: PauseSite) -> None:
    id = site.add()
    [claim] = site.take()
    site.start(claim)
    site.pause()
    assert site.state(id) == ("RUNNING", False, True)
    assert site.end(claim, "SUCCESS")["state"] == "SUCCESS"


def test_a_claim_that_had_not_begun_is_refused_and_its_job_waits(site: PauseSite) -> None:
    id = site.add()
    [claim] = site.take()
    site.pause()
    refusal = site.start(claim)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "entry"
    site.both.coordination.consume([claim])  # as executors do after this refusal
    assert why(site, id) == "paused pause/noop"
    site.resume()
    [again] = site.take()
    assert (again.job, again.entry) == (id, claim.entry)
    assert again.fence > claim.fence
    assert site.start(again)["state"] == "RUNNING"


def test_a_claim_of_an_entry_that_was_not_swept_yet_begins_nothing(site: PauseSite) -> None:
    id = site.add()
    site.pauses.pause("noop", "alice", None, None)
    [claim] = site.take()
    assert isinstance(site.start(claim), Refusal)
    assert why(site, id) == "paused pause/noop"
    assert site.job(id)["attempts"] == 0


def test_a_job_whose_executor_dies_while_the_action_is_paused_waits(site: PauseSite) -> None:
    """The next claim of the entry does not begin another attempt; the attempt that died counts as interrupted."""
    id = site.add()
    [claim] = site.take()
    site.start(claim)
    site.pause()
    site.both.coordination.release([claim])  # as the end of its session does
    [next_one] = site.take()
    assert isinstance(site.start(next_one), Refusal)
    site.both.coordination.consume([next_one])
    job = site.job(id)
    assert (job["state"], job["interruptions"], job["interrupted"]) == ("QUEUED", 1, True)
    site.resume()
    [again] = site.take()
    assert site.start(again)["attempts"] == 2


def test_a_job_that_is_given_back_waits(site: PauseSite) -> None:
    id = site.add()
    [claim] = site.take()
    site.start(claim)
    site.pause()
    assert site.end(claim, "QUEUED")["state"] == "QUEUED"
    site.both.coordination.release([claim])
    [next_one] = site.take()
    assert isinstance(site.start(next_one), Refusal)
    assert why(site, id) == "paused pause/noop"


def test_a_job_that_is_due_while_its_action_is_paused_waits_on(site: PauseSite) -> None:
    id = site.add(notBefore="+1h")
    site.pause()
    assert site.job(id)["held"]["why"] == "notBefore"
    site.pass_time(id, 3601)

    def earlier(job: dict[str, Any]) -> dict[str, Any]:
        return {**job, "notBefore": job["created"]}

    site.both.store.write([Update(id, earlier)])
    site.rounds()
    assert why(site, id) == "paused pause/noop"
    site.resume()
    assert site.jobs_in_queue() == [id]


def test_a_pause_ends_by_itself(site: PauseSite) -> None:
    id = site.add()
    site.pause(until=now().replace(year=2099))
    assert 0 < site.promoter.run() <= 30
    assert "until 2099" in site.job(id)["held"]["detail"]
    site.both.store.write([Update("pause/noop", lambda pause: {**pause, "until": cimi_time(now())})])
    site.promoter.book.read()
    site.rounds()
    assert site.jobs_in_queue() == [id]
    assert site.both.store.get(["pause/noop"]) == [None]
    assert site.pauses.all() == []


def test_the_promoter_wakes_for_the_end_of_a_pause(site: PauseSite) -> None:
    site.add()
    site.pauses.pause("noop", "alice", None, now().replace(microsecond=0).replace(year=2099))
    site.rounds()
    site.both.store.write([Update("pause/noop", lambda pause: {**pause, "until": _soon(0.5)})])
    site.promoter.book.read()
    assert site.promoter.run() <= 0.5


def _soon(seconds: float) -> str:
    from datetime import timedelta

    return cimi_time(now() + timedelta(seconds=seconds))


def test_a_second_pause_changes_reason_and_end_and_keeps_the_beginning(site: PauseSite) -> None:
    id = site.add()
    site.pause(why="first")
    [before] = site.pauses.all()
    site.pauses.pause("noop", "bob", "second", None)
    site.rounds()
    [after] = site.pauses.all()
    assert (after["by"], after["why"], after["since"]) == ("bob", "second", before["since"])
    assert site.job(id)["held"]["detail"].endswith(": second")


def test_what_is_not_paused_cannot_be_resumed(site: PauseSite) -> None:
    with pytest.raises(Problem, match="pause/noop"):
        site.pauses.resume("noop")


# --- what dies in between


def test_a_leader_that_died_between_store_and_queue_leaves_no_job_that_runs(site: PauseSite) -> None:
    """The job is held, its entry stands: a claim is refused, and the job comes back to the same place."""
    ids = [site.add(), site.add()]
    site.pauses.pause("noop", "alice", None, None)
    site.promoter.hold([{"id": ids[0]}])
    [claim] = site.take(1)
    assert claim.job == ids[0]
    assert isinstance(site.start(claim), Refusal)
    site.both.coordination.consume([claim])
    site.rounds()
    site.pauses.resume("noop")
    site.rounds()
    assert sorted(site.jobs_in_queue()) == sorted(ids)


def test_entries_that_still_stand_are_not_doubled_by_the_resume(site: PauseSite) -> None:
    ids = [site.add(), site.add()]
    before = site.queue()
    site.pauses.pause("noop", "alice", None, None)
    site.promoter.hold([{"id": id} for id in ids])
    assert site.queue() == before
    site.resume()
    assert (site.queue(), site.jobs_in_queue()) == (before, ids)


def test_the_reconciler_holds_a_job_whose_entry_is_gone(site: PauseSite) -> None:
    id = site.add()
    entry = entry_of(site.job(id))
    site.pauses.pause("noop", "alice", None, None)
    site.both.coordination.remove([entry or ""])
    Reconciler(site.both.store, site.both.coordination, site.promoter).run(grace=0)
    assert why(site, id) == "paused pause/noop"
    site.resume()
    assert site.queue() == [entry]


def test_a_job_that_was_held_by_rules_of_the_past_is_let_through(site: PauseSite) -> None:
    """A server that was frozen in a sweep holds a job after the resume; the leader finds it by what it waits on."""
    id = site.add()
    frozen = PauseSite(site.both)
    frozen.pauses.pause("noop", "alice", None, None)
    frozen.promoter.rules()
    site.promoter.book.read()
    site.resume()
    frozen.promoter.hold([{"id": id}])
    assert why(site, id) == "paused pause/noop"
    site.rounds()
    assert site.jobs_in_queue() == [id]


def test_another_leader_removes_the_entries_that_were_left(site: PauseSite) -> None:
    ids = [site.add() for _ in range(3)]
    before = site.queue()
    site.pauses.pause("noop", "alice", None, None)
    site.promoter.hold([{"id": id} for id in ids])
    assert site.queue() == before
    other = PauseSite(site.both)
    other.promoter.rules()
    other.promoter._pauses._leadership = site.both.coordination.lead("another", timeout=5)  # not the one of the round
    other.rounds()
    assert other.queue() == []
    other.resume()
    assert other.queue() == before


def test_another_server_goes_on_with_a_sweep(site: PauseSite) -> None:
    ids = [site.add(priority=n % 7) for n in range(50)]
    before = site.queue()
    site.pauses.pause("noop", "alice", None, None)
    site.promoter.hold([{"id": id} for id in ids[:20]])
    other = PauseSite(site.both)
    other.rounds()
    assert {why(site, id) for id in ids} == {"paused pause/noop"}
    other.resume()
    assert other.queue() == before
