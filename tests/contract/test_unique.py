"""Unique jobs over a real store and a real queue: one job of a key at a time, whichever server dies at any step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import gevent
import pytest
from gevent.event import Event

from geventjob import Client
from geventjob.cimi.errors import Conflict
from geventjob.clock import cimi_time, now
from geventjob.coordination.base import CoordinationAway
from geventjob.job.states import FINAL
from geventjob.server.accounts.caller import Caller
from geventjob.server.filter import parse
from geventjob.server.gate.gate import is_pending
from geventjob.server.jobs.lifecycle import Edit, JobEdit, Owner
from geventjob.server.jobs.rights import Rights
from geventjob.server.jobs.service import Jobs
from geventjob.server.leaders.promoter import SWEEP, Promoter
from geventjob.server.life.changes import entry_of
from geventjob.server.problem import Problem
from geventjob.server.store.base import Query, StoreAway, StoreRefused, Update
from tests.contract.test_promoter import ADMIN, Site
from tests.contract.test_reconcile import Both, both  # noqa: F401  (a fixture)
from tests.contract.test_two_servers import Mortal
from tests.support.callers import PASSWORD, STORES, LocalServer, local_server
from tests.support.job_server import good

ACTIVE = {"by": ["action", "payload.account"], "while": "active"}
QUEUED = {"by": ["action", "payload.account"], "while": "queued"}
REPLACING = {**QUEUED, "replace": True}
ALICE = Caller("alice", frozenset({"USER", "SUBMITTER", "ANON"}))
BOB = Caller("bob", frozenset({"USER", "SUBMITTER", "ANON"}))


class Server(Site):
    """A server without HTTP, and unique jobs in it."""

    def __init__(self, both: Both) -> None:  # noqa: F811
        super().__init__(both)
        self.jobs = Jobs(both.store, both.coordination, Rights({"*": ["*"]}), self.promoter)

    def try_to_add(self, unique: Any = ACTIVE, caller: Caller = ADMIN, **attributes: Any) -> str | Problem:
        [result] = self.jobs.add([body(unique, **attributes)], caller)
        assert isinstance(result, (str, Problem)), result
        return result

    def unique(self, unique: Any = ACTIVE, caller: Caller = ADMIN, **attributes: Any) -> str:
        result = self.try_to_add(unique, caller, **attributes)
        assert isinstance(result, str), result
        return result

    def met(self, unique: Any = ACTIVE, caller: Caller = ADMIN, **attributes: Any) -> str:
        """Return the job that an add has met."""
        result = self.try_to_add(unique, caller, **attributes)
        assert isinstance(result, Problem), result
        assert (result.status, result.reason) == (409, "unique")
        assert result.resource_id
        return result.resource_id

    def run(self, id: str, state: str = "SUCCESS") -> None:
        """Begin and end a job as an executor does."""
        owner = self.start(id)
        [ended] = self.jobs.edit([JobEdit(id, Edit({"state": state}, owner=owner))], ADMIN)
        assert isinstance(ended, dict), ended

    def start(self, id: str) -> Owner:
        owner = Owner(str(entry_of(self.job(id))), 1, "e")
        [begun] = self.jobs.edit([JobEdit(id, Edit({"state": "RUNNING"}, owner=owner))], ADMIN)
        assert isinstance(begun, dict), begun
        return owner

    def claims(self) -> int:
        return self.both.store.search("claim", Query(last=0)).count

    def all_jobs(self) -> list[dict[str, Any]]:
        return self.both.store.search("job", Query()).documents

    def live(self) -> list[str]:
        return [job["id"] for job in self.all_jobs() if job["state"] not in FINAL and not is_pending(job)]


def body(unique: Any = ACTIVE, **attributes: Any) -> dict[str, Any]:
    return {"action": "charge", "payload": {"account": 7}, "unique": unique, **attributes}


@pytest.fixture
def server(both: Both) -> Server:  # noqa: F811
    return Server(both)


def test_while_active_one_job_waits_or_runs(server: Server) -> None:
    first = server.unique()
    assert server.state(first) == ("QUEUED", False, True)
    assert server.met() == first
    other = server.unique(payload={"account": 8})
    server.start(first)
    assert server.met(ACTIVE) == first
    owner = Owner(str(entry_of(server.job(first))), 1, "e")
    [ended] = server.jobs.edit([JobEdit(first, Edit({"state": "FAILED"}, owner=owner))], ADMIN)
    assert isinstance(ended, dict)
    assert server.claims() == 1
    second = server.unique()
    assert sorted(server.live()) == sorted([other, second])
    assert server.both.run().requeued == 0


def test_while_queued_a_job_that_has_begun_is_in_nobodys_way(server: Server) -> None:
    first = server.unique(QUEUED)
    assert server.met(QUEUED) == first
    owner = server.start(first)
    second = server.unique(QUEUED)
    [released] = server.jobs.edit([JobEdit(first, Edit({"state": "QUEUED"}, owner=owner))], ADMIN)
    assert isinstance(released, dict)
    assert released["state"] == "QUEUED"
    assert server.met(QUEUED) == second


def test_for_seconds_the_state_does_not_matter(server: Server) -> None:
    rule = {"by": ["action"], "for": 3600}
    first = server.unique(rule)
    server.run(first)
    assert server.met(rule) == first
    server.pass_time(first, 0)
    server.both.store.write([Update(first, lambda job: {**job, "created": "2020-01-01T00:00:00.000Z"})])
    second = server.unique(rule)
    assert server.met(rule) == second
    server.jobs.delete(second, ADMIN)
    assert server.claims() == 0
    server.unique(rule)


@pytest.mark.parametrize("end", ["stop", "delete", "delete_all", "end"])
def test_no_claim_is_left_of_a_job_that_is_over(server: Server, end: str) -> None:
    id = server.unique()
    assert server.claims() == 1
    if end == "stop":
        server.jobs.stop(id, ADMIN)
    elif end == "delete":
        server.jobs.delete(id, ADMIN)
    elif end == "end":
        server.run(id)
    else:
        assert server.jobs.delete_all(parse("state='QUEUED'"), 10, ADMIN) == [id]
    assert server.claims() == 0
    server.unique()


def test_the_sweep_removes_what_a_server_has_left(server: Server) -> None:
    left, kept = server.unique(), server.unique(payload={"account": 8})
    server.both.store.write([Update(left, lambda _: None)])
    past = {"until": "2020-01-01T00:00:00.000Z"}
    for claim in server.both.store.search("claim", Query()).documents:
        server.both.store.write([Update(claim["id"], lambda claim: {**claim, "held": past})])
    server.promoter.run()
    [claim] = server.both.store.search("claim", Query()).documents
    assert claim["job"] == kept
    assert claim["held"]["until"] > "2021"
    assert SWEEP > 0
    server.both.store.write([Update(kept, lambda _: None), Update(claim["id"], lambda c: {**c, "held": past})])
    server.promoter.run()  # the next sweep is due later
    assert server.claims() == 1


def test_missing_values_are_equal_to_each_other_alone(server: Server) -> None:
    first = server.unique(payload={})
    assert server.met(payload={}) == first
    null = server.unique(payload={"account": None})
    assert server.met(payload={"account": None, "more": 1}) == null
    server.unique(payload={"account": {"b": 1, "a": 2}})
    server.met(payload={"account": {"a": 2, "b": 1}})
    server.unique(payload={"account": "null"})
    server.unique(payload={"account": [None]})


def test_jobs_without_unique_do_not_take_part(server: Server) -> None:
    server.unique()
    server.add(action="charge", payload={"account": 7})
    assert len(server.live()) == 2


def test_two_users_share_no_keys(server: Server) -> None:
    admins, alices = server.unique(), server.unique(caller=ALICE)
    bobs = server.unique(caller=BOB)
    assert (server.met(), server.met(caller=ALICE), server.met(caller=BOB)) == (admins, alices, bobs)


def test_who_may_not_see_the_job_is_shown_its_id_alone(server: Server) -> None:
    acl = {"owner": {"principal": "ADMIN", "type": "ROLE"}, "rules": []}
    id = server.unique(caller=ALICE, acl=acl)
    refused = server.try_to_add(caller=ALICE)
    assert isinstance(refused, Problem)
    assert (refused.resource_id, refused.job) == (id, None)
    mine = server.unique(QUEUED | {"by": ["action"]}, caller=ALICE, acl=acl)
    assert server.met({"by": ["action"], "while": "queued", "replace": True}, caller=ALICE) == mine


def test_of_one_bulk_add_the_first_wins(server: Server) -> None:
    results = server.jobs.add([body(), {"action": "noop"}, body(), body(payload={"account": 1})], ADMIN)
    assert [isinstance(result, str) for result in results] == [True, True, False, True]
    refused = results[2]
    assert isinstance(refused, Problem)
    assert refused.resource_id == results[0]
    assert refused.job
    assert not is_pending(refused.job)
    assert len(server.all_jobs()) == len(server.queue()) == 3


def test_a_repeated_add_is_answered_as_before(server: Server) -> None:
    first = server.unique(idempotencyKey="k")
    assert server.unique(idempotencyKey="k") == first
    server.run(first)
    assert server.unique(idempotencyKey="k") == first
    different = server.try_to_add(idempotencyKey="k", payload={})
    assert isinstance(different, Problem)
    assert (different.reason, different.resource_id) == (None, first)
    assert server.claims() == 0


# --- replace


def test_replace_gives_the_waiting_job_the_new_payload_and_time(server: Server) -> None:
    first = server.unique(REPLACING, payload={"account": 7, "sum": 1})
    entry = entry_of(server.job(first))
    assert server.unique(REPLACING, payload={"account": 7, "sum": 2}) == first
    assert (server.job(first)["payload"]["sum"], entry_of(server.job(first))) == (2, entry)
    assert server.unique(REPLACING, payload={"account": 7, "sum": 3}, notBefore="+1h") == first
    assert server.state(first) == ("QUEUED", True, False)
    assert server.queue() == []
    assert server.unique(REPLACING, payload={"account": 7}, notBefore="+2h") == first
    assert server.job(first)["held"]["until"] == server.job(first)["notBefore"]
    assert server.unique(REPLACING, payload={"account": 7, "sum": 4}) == first
    assert "notBefore" not in server.job(first)
    server.promoter.run()
    assert server.state(first) == ("QUEUED", False, True)
    server.run(first)
    assert server.unique(REPLACING, payload={"account": 7, "sum": 4}) != first
    assert len(server.all_jobs()) == 2


def test_replace_leaves_a_job_that_has_begun(server: Server) -> None:
    rule = {**ACTIVE, "replace": True}
    first = server.unique(rule, payload={"account": 7, "sum": 1})
    server.start(first)
    assert server.met(rule, payload={"account": 7, "sum": 2}) == first
    assert server.job(first)["payload"]["sum"] == 1


def test_a_claim_of_the_former_entry_does_not_begin_a_job_whose_time_was_replaced(server: Server) -> None:
    first = server.unique(REPLACING)
    [claim] = server.both.coordination.take(1)
    assert server.unique(REPLACING, notBefore="+1h") == first
    [refused] = server.jobs.edit(
        [JobEdit(first, Edit({"state": "RUNNING"}, owner=Owner(claim.entry, claim.fence, "e")))], ADMIN
    )
    assert getattr(refused, "reason", "") == "entry"


def test_a_repeated_replacement_makes_no_second_job(server: Server) -> None:
    first = server.unique(REPLACING)
    assert server.unique(REPLACING, payload={"account": 7, "sum": 2}, idempotencyKey="k") == first
    server.start(first)
    assert server.unique(REPLACING, payload={"account": 7, "sum": 2}, idempotencyKey="k") == first
    assert server.unique(REPLACING, payload={"account": 7, "sum": 2}, idempotencyKey="l") != first


# --- servers that die


STEPS = ["write:1 after", "write:2 before", "write:2 after", "put before", "put after", "write:3 before"]


@pytest.mark.parametrize("then", ["the client", "another client", "the promoter"])
def test_a_server_that_dies_at_any_step_leaves_one_job(server: Server, then: str) -> None:
    for number, step in enumerate(STEPS):
        job: dict[str, Any] = {"payload": {"account": number}}
        with pytest.raises((StoreAway, CoordinationAway)):
            doomed(server, step).add([body(**job, idempotencyKey=f"k{number}")], ADMIN)
        assert len(server.live()) <= 1
        if then == "another client":
            other = made_or_met(server.try_to_add(**job, idempotencyKey=f"l{number}"))
            assert server.live() == [other]
        elif then == "the promoter":
            release_all(server)
            assert len(server.live()) <= 1
        first = made_or_met(server.try_to_add(**job, idempotencyKey=f"k{number}"))
        assert server.live() == [first]
        release_all(server)  # what another add has left behind
        for id in server.live():
            server.run(id)
        assert server.live() == []
        assert server.claims() == 0


@pytest.mark.parametrize("ends", [False, True])
def test_a_server_that_is_frozen_at_any_step_and_goes_on_adds_no_second_job(server: Server, ends: bool) -> None:
    for number, step in enumerate(STEPS):
        job: dict[str, Any] = {"payload": {"account": number}}
        frozen, thawed = Event(), Event()

        def freeze(frozen: Event = frozen, thawed: Event = thawed) -> None:
            frozen.set()
            thawed.wait()

        slow = gevent.spawn(doomed(server, step, freeze).add, [body(**job)], ADMIN)
        frozen.wait()
        other = made_or_met(server.try_to_add(**job))
        assert server.live() == [other]
        if ends:
            server.run(str(other))
            other = server.unique(**job)
        thawed.set()
        [late] = slow.get(timeout=20)
        assert server.live() == [other]
        assert isinstance(late, (str, Problem, StoreRefused)), late
        release_all(server)
        assert server.live() == [other]
        server.run(str(other))
        assert server.claims() == 0


def doomed(server: Server, step: str, happens: Callable[[], None] | None = None) -> Jobs:
    """Return the jobs of a server that dies before or after a call of its store or queue, as `write:2 before`.

    `happens` is called in place of the death, once.
    """
    call, _, when = step.partition(" ")
    name, _, number = call.partition(":")
    store, queue = Mortal(server.both.store, StoreAway), Mortal(server.both.coordination, CoordinationAway)
    calls = {"write": 0, "put": 0}
    reached: list[str] = []

    def reach(called: str, moment: str) -> None:
        if reached or called != name or calls[called] != int(number or 1) or when != moment:
            return
        reached.append(moment)
        if happens is None:
            store.dead = queue.dead = True
        else:
            happens()

    def before(called: str) -> None:
        if called in calls:
            calls[called] += 1
        reach(called, "before")

    store.before = queue.before = before
    store.after = queue.after = lambda called, *_: reach(called, "after")
    return Jobs(store, queue, promoter=Promoter(store, queue))  # type: ignore[arg-type]


def made_or_met(result: str | Problem) -> str | None:
    """Return the job that an add has made, or has met."""
    return result if isinstance(result, str) else result.resource_id


def release_all(server: Server) -> None:
    """Have all adds completed that dead servers have left."""
    for job in server.all_jobs():
        if job["state"] not in FINAL:
            server.jobs.release(job["id"], ADMIN)
    server.promoter.run()
    assert not any(is_pending(job) for job in server.all_jobs())


def test_a_queue_that_is_away_leaves_no_job(server: Server) -> None:
    queue = Mortal(server.both.coordination, CoordinationAway)
    queue.dead = True
    jobs = Jobs(server.both.store, queue, promoter=server.promoter)  # type: ignore[arg-type]
    with pytest.raises(CoordinationAway):
        jobs.add([body()], ADMIN)
    assert server.all_jobs() == []
    assert server.claims() == 0


def test_an_executor_may_be_quicker_than_the_store(server: Server) -> None:
    store = Mortal(server.both.store, StoreAway)
    begun: list[Any] = []
    put = [False]

    def run(called: str) -> None:
        if called != "write" or not put[0]:
            return
        for claim in server.both.coordination.take(1):
            edit = Edit({"state": "RUNNING"}, owner=Owner(claim.entry, claim.fence, "e"))
            begun.extend(server.jobs.edit([JobEdit(claim.job, edit)], ADMIN))

    def note(called: str, *_: object) -> None:
        put[0] = put[0] or called == "put"

    store.before = run
    queue = Mortal(server.both.coordination, CoordinationAway)
    queue.after = note
    jobs = Jobs(store, queue, promoter=server.promoter)  # type: ignore[arg-type]
    [id] = jobs.add([body()], ADMIN)
    assert [job["id"] for job in begun] == [id]
    assert server.job(str(id))["state"] == "RUNNING"
    assert entry_of(server.job(str(id))) in server.queue()


def test_many_clients_of_two_servers_make_one_job_at_a_time(both: Both) -> None:  # noqa: F811
    servers = [Server(both), Server(both)]
    made: list[str] = []
    ended = [0]

    def client(number: int) -> None:
        while len(made) < 10:
            [result] = servers[number % 2].jobs.add([body(ACTIVE)], ADMIN)
            assert isinstance(result, (str, Problem, StoreRefused)), result  # a slow insert is told to try again
            if isinstance(result, str):
                made.append(result)
                live = servers[0].live()
                assert len(live) <= 1, live
                servers[number % 2].run(result)
                ended[0] += 1

    greenlets = [gevent.spawn(client, number) for number in range(16)]
    gevent.joinall(greenlets, raise_error=True)
    assert len(made) == len(set(made)) == ended[0] >= 10
    assert servers[0].claims() == 0
    left = [job for job in servers[0].all_jobs() if job["id"] not in made]
    assert all(is_pending(job) for job in left), "only an add whose client was told to try again may be left"
    release_all(servers[0])
    assert len(servers[0].live()) == min(1, len(left)), "one of them keeps the key, and the others are removed"
    assert len(servers[0].all_jobs()) == len(made) + len(servers[0].live())


# --- over HTTP


@pytest.fixture(scope="module", params=STORES)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with local_server(request.param, tmp_path_factory.mktemp("house")) as made:
        yield made


def test_a_client_gets_the_id_or_the_conflict(here: LocalServer) -> None:
    unique = {"by": ["payload.of"], "while": "active"}
    with Client(here.url, "super", PASSWORD) as client:
        first = client.submit("mirror", {"of": "client"}, unique=unique)
        assert client.submit("mirror", {"of": "client"}, unique=unique, if_exists="return") == first
        with pytest.raises(Conflict) as refused:
            client.submit("mirror", {"of": "client"}, unique=unique)
        assert (refused.value.reason, refused.value.resource_id) == ("unique", first)
        assert refused.value.job is not None
        assert not [name for name in refused.value.job if name.startswith("_")]
        [id, other] = client.bulk_add([{"action": "mirror", "payload": {"of": n}, "unique": unique} for n in (1, 1)])
        assert isinstance(other, Conflict)
        assert (other.reason, other.resource_id) == ("unique", id)


@pytest.mark.parametrize(
    ("unique", "words"),
    [
        ({"while": "active"}, "unique: expected an object of by"),
        ({"by": []}, "unique.by: expected an object of by"),
        ({"by": ["action"]}, "either while or for is needed, and not both"),
        ({"by": ["action"], "while": "active", "for": 1}, "either while or for is needed, and not both"),
        ({"by": ["action"], "while": "waiting"}, "unique.while: expected an object of by"),
        ({"by": ["action"], "for": 0}, "unique.for: expected an object of by"),
        ({"by": ["action"], "for": "1h"}, "unique.for: expected an object of by"),
        ({"by": ["state"], "for": 1}, "unique.by[0]: expected an object of by"),
        ({"by": ["payload."], "for": 1}, "unique.by[0]: expected an object of by"),
        ({"by": ["payload." + "x" * 255], "for": 1}, "unique.by[0]: expected an object of by"),
        ({"by": ["name"] * 11, "for": 1}, "unique.by: expected an object of by"),
        ({"by": ["name"], "for": 1, "replace": True}, "replace needs action among the paths of by"),
        ({"by": ["action"], "for": 1, "until": "end"}, "unique.until: unknown attribute"),
    ],
)
def test_a_wrong_rule_is_refused(here: LocalServer, unique: Any, words: str) -> None:
    answer = here.admin.post("job", {"action": "mirror", "unique": unique})
    assert answer.status_code == 400
    assert words in answer.json()["message"]


def test_a_tick_makes_no_job_where_another_job_has_the_values(here: LocalServer) -> None:
    name = f"s{uuid4().hex[:12]}"
    rule = {"by": ["action", "payload"], "while": "active"}
    schedule = {"name": name, "action": "mirror", "payload": {"of": name}, "every": 3600, "unique": rule}
    assert here.admin.post("schedule", schedule).status_code == 201
    first = good_id(here, {"action": "mirror", "payload": {"of": name}, "unique": rule})
    id = f"schedule/{name}"
    back = cimi_time(now() - timedelta(days=1))
    here.store.write([Update(id, lambda stored: {**stored, "since": back})])
    tick = int(now().timestamp()) // 3600 * 3_600_000
    [result] = good(here.admin.post("schedule/bulk-fire", {"ticks": [{"id": id, "tick": tick}]}))["results"]
    assert (result["status"], result["jobs"]) == (200, [])
    fired = good(here.admin.get(id))["fired"]
    assert fired["pending"] == first
    answer = here.admin.post(f"{id}/fire", {"idempotencyKey": "k"})
    assert (answer.status_code, answer.json()["reason"]) == (409, "unique")


def good_id(here: LocalServer, job: dict[str, Any]) -> str:
    answer = here.admin.post("job", job)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["resource-id"])
