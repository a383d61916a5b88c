"""Batches over a real store and a real queue: the callback runs once, when all jobs of its batch have ended."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import gevent
import pytest
from gevent.event import Event

from geventjob import Client
from geventjob.cimi import batches
from geventjob.cimi.errors import Conflict, Invalid
from geventjob.job.states import FINAL
from geventjob.server.accounts.caller import Caller
from geventjob.server.filter import parse
from geventjob.server.jobs.lifecycle import Edit, JobEdit, Owner
from geventjob.server.jobs.rights import Rights
from geventjob.server.jobs.service import Jobs
from geventjob.server.leaders.promoter import Promoter
from geventjob.server.leaders.reconcile import Reconciler
from geventjob.server.life.changes import entry_of
from geventjob.server.life.conflicts import Refusal
from geventjob.server.problem import Problem
from geventjob.server.store.base import Query, Update
from tests.contract.test_after import Killed, stepping, stride
from tests.contract.test_promoter import ADMIN, Site
from tests.contract.test_reconcile import Both, both  # noqa: F401  (a fixture)
from tests.support.callers import PASSWORD, STORES, LocalServer, local_server
from tests.support.job_server import good

ALICE = Caller("alice", frozenset({"USER", "SUBMITTER", "ANON"}))
BOB = Caller("bob", frozenset({"USER", "SUBMITTER", "ANON"}))


class Server(Site):
    """A server without HTTP, whose promoter runs only when it is called, and its batches."""

    def __init__(self, both: Both) -> None:  # noqa: F811
        super().__init__(both)
        self.jobs = Jobs(both.store, both.coordination, Rights({"*": ["*"]}), self.promoter)
        self.promoter._task._leadership = self.promoter._led = both.coordination.lead("promoter")  # notices reach it

    def open(self, when_failed: str = "fail", caller: Caller = ADMIN, **attributes: Any) -> str:
        return self.jobs.open_batch({"action": "report", **attributes}, when_failed, caller)

    def children(self, callback: str, count: int = 1, caller: Caller = ADMIN, **attributes: Any) -> list[str]:
        body = {"action": "count", "parentJob": callback, **attributes}
        return [str(id) for id in self.jobs.add([body] * count, caller)]

    def close(self, callback: str) -> None:
        self.jobs.close_batch(callback, ADMIN)
        self.promoter.run()

    def end(self, *ids: str, state: str = "SUCCESS") -> None:
        """Begin and end jobs as an executor does, and let the promoter act on the notices."""
        for id in ids:
            self.end_quietly(id, state)
        self.promoter.run()

    def end_quietly(self, id: str, state: str) -> None:
        owner = Owner(str(entry_of(self.job(id))), 1, "e")
        for to in ("RUNNING", state):
            [edited] = self.jobs.edit([JobEdit(id, Edit({"state": to}, owner=owner))], ADMIN)
            assert isinstance(edited, dict), edited

    def waits(self, callback: str) -> bool:
        job = self.job(callback)
        in_queue = [waiting.job for waiting in self.both.coordination.stats(2000).head].count(callback)
        waits = job["state"] == "QUEUED" and job.get("held", {}).get("why") == "batch"
        assert in_queue == int(job["state"] == "QUEUED" and not waits)
        return bool(waits)

    def counts(self, callback: str) -> tuple[int, int]:
        batch = self.job(callback)["batch"]
        return batch["total"], batch["failed"]


@pytest.fixture
def server(both: Both) -> Server:  # noqa: F811
    return Server(both)


def test_the_callback_waits_until_the_batch_is_closed_and_all_have_ended(server: Server) -> None:
    callback = server.open()
    first, second, third = server.children(callback, 3)
    server.end(first)
    assert server.waits(callback)
    server.close(callback)
    assert server.waits(callback)
    server.end(third)
    assert server.waits(callback)
    assert server.both.run().requeued == 0
    server.end(second)
    assert not server.waits(callback)
    assert server.counts(callback) == (3, 0)
    server.promoter.run()
    server.end(callback)
    assert server.job(callback)["state"] == "SUCCESS"
    assert server.job(callback)["attempts"] == 1


def test_a_batch_without_jobs_runs_its_callback(server: Server) -> None:
    callback = server.open()
    server.close(callback)
    server.promoter.run()
    assert not server.waits(callback)
    assert server.counts(callback) == (0, 0)


@pytest.mark.parametrize(("then", "state"), [("fail", "FAILED"), ("stop", "STOPPED"), ("run", "QUEUED")])
def test_the_callback_says_what_it_does_after_failures(server: Server, then: str, state: str) -> None:
    callback = server.open(then)
    good, bad, stopped = server.children(callback, 3)
    server.end(good)
    server.end(bad, state="FAILED")
    server.jobs.stop(stopped, ADMIN)
    server.close(callback)
    server.promoter.run()
    job = server.job(callback)
    assert (job["state"], server.counts(callback)) == (state, (3, 2))
    if state != "QUEUED":
        assert job["statusMessage"] == "2 of 3 jobs of the batch did not succeed"
    assert not server.waits(callback)


def test_children_that_are_deleted_do_not_count(server: Server) -> None:
    callback = server.open()
    kept, *deleted = server.children(callback, 4)
    server.close(callback)
    server.end(kept)
    server.jobs.delete(deleted[0], ADMIN)
    server.promoter.run()
    assert server.waits(callback)
    server.jobs.delete_all(parse(f"parentJob='{callback}' and state='QUEUED'"), 10, ADMIN)
    server.promoter.run()
    assert not server.waits(callback)
    assert server.counts(callback) == (1, 0)


def test_the_children_of_a_deleted_or_stopped_callback_go_on(server: Server) -> None:
    deleted, stopped = server.open(), server.open()
    for callback in (deleted, stopped):
        server.children(callback)
        server.close(callback)
    server.jobs.delete(deleted, ADMIN)
    server.jobs.stop(stopped, ADMIN)
    children = [job["id"] for job in server.both.store.search("job", Query(filter=parse("action='count'"))).documents]
    server.end(*children)
    assert server.job(stopped)["state"] == "STOPPED"
    [refused] = server.jobs.add([{"action": "count", "parentJob": stopped}], ADMIN)
    assert isinstance(refused, Problem)


def test_no_job_is_added_to_a_closed_batch(server: Server) -> None:
    callback = server.open()
    [child] = server.children(callback, idempotencyKey="k")
    server.close(callback)
    [refused, again] = server.jobs.add(
        [
            {"action": "count", "parentJob": callback},
            {"action": "count", "parentJob": callback, "idempotencyKey": "k"},
        ],
        ADMIN,
    )
    assert isinstance(refused, Problem)
    assert (refused.status, refused.reason, refused.resource_id) == (409, "closed", callback)
    assert again == child
    assert server.jobs.close_batch(callback, ADMIN)["batch"]["open"] is False


def test_others_add_nothing_to_a_batch_and_do_not_close_it(server: Server) -> None:
    callback = server.open(caller=ALICE)
    [refused] = server.jobs.add([{"action": "count", "parentJob": callback}], BOB)
    assert isinstance(refused, Problem)
    assert refused.status == 403
    with pytest.raises(Problem, match="credentials required"):
        server.jobs.close_batch(callback, BOB)
    assert len(server.children(callback, 1, ALICE)) == 1
    with pytest.raises(Problem, match="is no callback of a batch"):
        server.jobs.close_batch(server.add(), ADMIN)


def test_a_repeated_batch_makes_nothing_twice(server: Server) -> None:
    first = server.open(idempotencyKey="k")
    assert server.open(idempotencyKey="k") == first
    with pytest.raises(Problem, match="another job has this idempotencyKey"):
        server.open("run", idempotencyKey="k")


def test_a_callback_may_be_a_job_of_a_batch(server: Server) -> None:
    outer = server.open()
    inner = server.open(parentJob=outer)
    [child] = server.children(inner)
    server.close(outer)
    server.close(inner)
    assert server.waits(outer)
    server.end(child)
    server.promoter.run()
    server.end(inner)
    assert not server.waits(outer)


def test_a_callback_waits_for_its_time_too_and_may_expire(server: Server) -> None:
    later, late = server.open(notBefore="+1h"), server.open(expires="+1h")
    server.close(later)
    server.promoter.run()
    assert server.job(later)["held"]["why"] == "notBefore"
    server.pass_time(later, 3600)
    server.promoter.run()
    server.promoter.run()
    assert server.state(later) == ("QUEUED", False, True)
    server.both.store.write([Update(late, lambda job: {**job, "expires": "2020-01-01T00:00:00.000Z"})])
    server.promoter.run()
    assert server.job(late)["state"] == "STOPPED"


def test_release_does_not_run_a_callback_early(server: Server) -> None:
    callback = server.open()
    [child] = server.children(callback)
    server.jobs.release(callback, ADMIN)
    server.promoter.run()
    assert server.waits(callback)
    server.close(callback)
    server.jobs.release(callback, ADMIN)
    server.promoter.run()
    assert server.waits(callback)
    server.end(child)
    assert not server.waits(callback)


@pytest.mark.parametrize("who", ["the reconciler", "the next leader"])
@pytest.mark.parametrize("lost", ["the close", "the end"])
def test_a_callback_whose_notice_is_lost_is_found(server: Server, who: str, lost: str) -> None:
    parts = server.both
    callback = server.open()
    [child] = server.children(callback)
    deaf = Promoter(parts.store, parts.coordination)
    mute = Jobs(parts.store, parts.coordination, promoter=deaf)  # no server leads its election: notices reach nobody
    if lost == "the close":
        server.end(child)
        mute.close_batch(callback, ADMIN)
    else:
        server.close(callback)
        owner = Owner(str(entry_of(server.job(child))), 1, "e")
        for to in ("RUNNING", "SUCCESS"):
            mute.edit([JobEdit(child, Edit({"state": to}, owner=owner))], ADMIN)
        server.promoter.run()
        assert server.waits(callback)
    if who == "the reconciler":
        Reconciler(parts.store, parts.coordination, server.promoter).run(grace=0.1)
    else:
        server.promoter.look()
    server.promoter.run()
    assert not server.waits(callback)


def test_many_children_end_in_any_order(server: Server) -> None:
    callback = server.open("run")
    children = server.children(callback, 60)
    server.close(callback)
    for at, child in enumerate(children[::7] + [each for n, each in enumerate(children) if n % 7]):
        assert server.waits(callback), at
        server.jobs.stop(child, ADMIN)
        if at % 5 == 0:
            server.promoter.run()
    server.promoter.run()
    assert not server.waits(callback)
    assert server.counts(callback) == (60, 60)
    assert all(server.job(child)["state"] in FINAL for child in children)


# --- a promoter that dies or freezes at each step


class Gathering:
    """A batch whose jobs have just ended, which the promoter does not know yet, and another that was just closed."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.callbacks = [server.open("run"), server.open("run")]
        children = [server.children(callback, 2) for callback in self.callbacks]
        server.close(self.callbacks[0])
        server.end(*children[1])
        for child in children[0]:
            server.jobs.stop(child, ADMIN)
        server.jobs.close_batch(self.callbacks[1], ADMIN)
        server.both.coordination.discard([entry_of(server.job(id)) or "" for each in children for id in each])

    def check(self) -> None:
        """Let another promoter and the reconciler do what is left, then begin all that can be begun."""
        server = self.server
        server.promoter.run()
        Reconciler(server.both.store, server.both.coordination, server.promoter).run(grace=0.01)
        server.promoter.run()
        claims = server.both.coordination.take(9, timeout=0)
        begun = []
        for claim in claims:
            with contextlib.suppress(Refusal):
                server.begin(claim.job, claim.entry, claim.fence)
                begun.append(claim.job)
        server.both.coordination.consume(claims)
        assert sorted(begun) == sorted(self.callbacks)
        assert [server.counts(callback) for callback in self.callbacks] == [(2, 2), (2, 0)]
        for callback in self.callbacks:
            server.jobs.delete(callback, ADMIN)


def test_a_promoter_that_is_killed_at_any_step_forgets_no_callback(server: Server) -> None:
    def kill() -> None:
        raise Killed

    for at in itertools.count(1, 3 * stride(server)):
        gathering = Gathering(server)
        doomed = stepping(server, at, kill)
        with contextlib.suppress(Killed):
            doomed.run()
            break
        gathering.check()
    assert at > 15


def test_a_promoter_that_is_frozen_at_any_step_runs_no_callback_twice(server: Server) -> None:
    for at in itertools.count(1, 3 * stride(server)):
        gathering, frozen, thawed = Gathering(server), Event(), Event()

        def freeze(frozen: Event = frozen, thawed: Event = thawed) -> None:
            frozen.set()
            thawed.wait()

        slow = gevent.spawn(stepping(server, at, freeze).run)
        either: list[Any] = [slow, frozen]
        gevent.wait(either, count=1)
        if not frozen.is_set():
            slow.get()
            break
        Reconciler(server.both.store, server.both.coordination, server.promoter).run(grace=0.01)
        server.promoter.run()
        thawed.set()
        slow.get(timeout=20)
        gathering.check()
    assert at > 15


# --- over HTTP


@pytest.fixture(scope="module", params=STORES)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with local_server(request.param, tmp_path_factory.mktemp("house")) as made:
        yield made


def test_one_request_makes_a_whole_batch_and_may_be_repeated(here: LocalServer) -> None:
    jobs = [{"action": "mirror", "payload": {"n": n}} for n in range(3)]
    body = {"callback": {"action": "mirror", "idempotencyKey": "whole"}, "jobs": jobs, "whenFailed": "run"}
    answer = here.admin.post("job/batch", body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["Location"] == made["resource-id"]
    callback = good(here.admin.get(made["resource-id"]))
    assert (callback["state"], callback["held"]["why"]) == ("QUEUED", "batch")
    assert callback["batch"] == {"open": False, "whenFailed": "run"}
    ids = [result["resource-id"] for result in made["results"]]
    assert {good(here.admin.get(id))["parentJob"] for id in ids} == {callback["id"]}
    assert here.admin.post("job/batch", body).json() == made
    assert good(here.admin.get(f"job?$filter=parentJob='{callback['id']}'"))["count"] == 3
    assert here.admin.post("job/batch", {**body, "whenFailed": "stop"}).status_code == 409


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "callback"),
        ({"callback": {"action": "a"}, "jobs": [{"action": "a"}, {"payload": {}}]}, "jobs[1]: "),
        ({"callback": {"payload": 1}}, "callback: "),
        ({"callback": {"action": "a", "after": {"jobs": [f"job/{uuid4()}"]}}}, "callback.after"),
        ({"callback": {"action": "a"}, "whenFailed": "never"}, "whenFailed"),
        ({"callback": {"action": "a"}, "jobs": [{"action": "a"}] * 1001}, "jobs"),
        ({"callback": {"action": "a"}, "more": 1}, "more"),
    ],
)
def test_a_wrong_batch_adds_nothing(here: LocalServer, body: dict[str, Any], words: str) -> None:
    before = good(here.admin.get("job?$last=0"))["count"]
    answer = here.admin.post("job/batch", body)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["message"]
    assert good(here.admin.get("job?$last=0"))["count"] == before


def test_a_program_goes_on_with_its_batch_by_the_key(here: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "PAGE", 4)
    with Client(here.url, "super", PASSWORD) as client:
        batch = client.batch("mirror", key="program")
        with contextlib.suppress(ZeroDivisionError), batch:
            for n in range(10):
                batch.add("mirror", {"n": n} if n != 9 else {"n": 1 // 0})
        assert len(list(client.children(batch.id))) == 8
        assert client.get(batch.id)["batch"]["open"] is True
        with client.batch("mirror", key="program") as again:
            for n in range(10):
                again.add("mirror", {"n": n})
        assert again.id == batch.id
        children = list(client.children(again.id, select=["payload"], page=3))
        assert sorted(child["payload"]["n"] for child in children) == list(range(10))
        assert client.get(again.id)["batch"]["open"] is False
        with pytest.raises(Conflict), client.batch("mirror", key="program") as late:
            late.add("mirror", {"n": 10}, idempotencyKey="another")


def test_a_job_of_a_batch_that_is_refused_is_raised(here: LocalServer) -> None:
    with Client(here.url, "super", PASSWORD) as client:
        with pytest.raises(Invalid, match="priority"), client.batch("mirror") as batch:
            batch.add("mirror", priority=1000)
        assert client.get(batch.id)["batch"]["open"] is True
