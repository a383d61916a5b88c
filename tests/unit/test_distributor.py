"""A leader and its firings: over real elections, against a server that fails at times."""

from __future__ import annotations

import logging
import re
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from geventjob import Client, Distributor
from geventjob.calendar.schedule import Every, Plan
from geventjob.cimi.errors import ServerAway
from geventjob.coordination.base import Coordination, CoordinationAway
from geventjob.coordination.requests import Requests
from geventjob.coordination.sqlite import SqliteCoordination
from geventjob.plugins import Distributors, DistributorSpec, PluginError, find_distributors
from geventjob.scheduling.endless import Endless
from geventjob.scheduling.engine import DistributorEngine, chosen
from geventjob.scheduling.firing import PAGE, gathered, key, without_pending
from geventjob.scheduling.leader import Leader
from geventjob.scheduling.ticking import Ticking
from tests.support.answering import Answering, Asked, Reply, answering
from tests.support.ports import free_port
from tests.support.waiting import eventually

JOB = {"action": "act", "targetResource": {"href": "dummy"}}
AGE = 10**12
"""Milliseconds of a step whose next tick lies in 2033, after all runs of these tests."""


class Server:
    """A server with bulk adds as the real one, searches that find `pending`, and `away` as a switch."""

    def __init__(self) -> None:
        self.away = False
        self.pending: list[dict[str, Any]] = []
        self.filters: list[str] = []
        self.added: list[dict[str, Any]] = []
        self.statuses: dict[str, int] = {}
        self.on_add: Callable[[], None] = lambda: None
        self.pages = 0
        self.tried = False
        """Whether a request came while the server was away."""

    def __call__(self, asked: Asked) -> Reply:
        if self.away:
            self.tried = True
            return Reply(503, {"status": 503, "message": "away"})
        if asked.path == "/api/job/bulk-add":
            self.pages += 1
            self.on_add()
            return Reply(200, {"results": [self.add(job) for job in asked.json["jobs"]]})
        if asked.method == "PUT":
            self.filters += asked.form["$filter"]
            return Reply(200, {"count": len(self.pending), "jobs": self.pending})
        self.added.append(asked.json)
        return Reply(201, {"status": 201, "resource-id": f"job/{len(self.added)}"})

    def add(self, job: dict[str, Any]) -> dict[str, Any]:
        status = self.statuses.get(job["action"], 201)
        if status != 201:
            return {"status": status, "message": "no"}
        self.added.append(job)
        return {"status": 201, "resource-id": f"job/{len(self.added)}"}

    @property
    def keys(self) -> list[str]:
        return [job["idempotencyKey"] for job in self.added]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def http(server: Server) -> Iterator[Answering]:
    with answering(server) as made:
        yield made


@pytest.fixture
def client(http: Answering) -> Client:
    return Client(http.url, "alice", "secret", patience=0, timeout=(2, 2))


@pytest.fixture
def member(tmp_path: Path) -> Iterator[Callable[[str], Coordination]]:
    """Return a function that joins the fleet as one more process."""
    made: list[Coordination] = []

    def make(name: str) -> Coordination:
        made.append(SqliteCoordination(str(tmp_path / "c.db"), name, 2.0))
        made[-1].start()
        return made[-1]

    yield make
    for coordination in made:
        coordination.close()


class Made(Distributor):
    unless_pending = False

    def __init__(self, *jobs: dict[str, Any]) -> None:
        self.made = jobs

    def jobs(self) -> Iterator[dict[str, Any]]:
        yield from self.made


@pytest.fixture
def running() -> Iterator[Callable[..., gevent.Greenlet[..., Any]]]:
    """Return a function that runs a leader until the end of the test."""
    greenlets: list[gevent.Greenlet[..., Any]] = []

    def run(coordination: Coordination, work: Any) -> gevent.Greenlet[..., Any]:
        greenlets.append(gevent.spawn(Leader("d", coordination, work).run))
        return greenlets[-1]

    yield run
    gevent.killall(greenlets)


def noted(coordination: Coordination) -> int | None:
    """Return the last tick that fired, from the note for the next leader."""
    tick: int | None = (coordination.load_note("d") or {}).get("tick")
    return tick


def once(distributor: Distributor, client: Client, coordination: Coordination, step: int = AGE) -> Ticking:
    return Ticking(Plan("d", Every(step)), distributor, client, coordination)


def tick(step: int = AGE) -> int:
    now = time.time_ns() // 1_000_000
    return now - now % step


# --- keys


def test_a_key_is_the_same_in_every_leader() -> None:
    one = key("d", 5, {"action": "a", "targetResource": {"href": "x"}, "payload": {"a": 1, "b": 2}, "name": "n"})
    other = key("d", 5, {"payload": {"b": 2, "a": 1}, "action": "a", "targetResource": {"href": "x"}})
    assert one == other
    assert one.startswith("d@5#")
    assert len(one.partition("#")[2]) == 8


@pytest.mark.parametrize(
    "job", [{"action": "b"}, {"action": "a", "targetResource": {"href": "x"}}, {"action": "a", "payload": {}}]
)
def test_a_key_tells_jobs_apart(job: dict[str, Any]) -> None:
    assert key("d", 5, job) != key("d", 5, {"action": "a"}) != key("d", 6, {"action": "a"})


# --- what a distributor makes


def test_jobs_alike_are_one_and_an_own_key_is_kept() -> None:
    jobs = gathered("d", 1, lambda: [JOB, dict(JOB), {"action": "b", "idempotencyKey": "mine"}])
    assert [job["idempotencyKey"] for job in jobs] == [key("d", 1, JOB), "mine"]


def test_an_error_keeps_what_was_made_before_it(caplog: pytest.LogCaptureFixture) -> None:
    def jobs() -> Iterator[Any]:
        yield JOB
        raise LookupError("no more")

    assert len(gathered("d", 1, jobs)) == 1
    assert "no more" in caplog.text


def test_an_error_of_the_server_is_raised() -> None:
    def jobs() -> Iterator[Any]:
        yield JOB
        raise ServerAway("away")

    with pytest.raises(ServerAway):
        gathered("d", 1, jobs)


@pytest.mark.parametrize(
    "wrong",
    [5, {}, {"action": None}, {"action": "a", "targetResource": {"href": 5}}, {"action": "\"'"}, {"action": "a\\"}],
)
def test_what_is_no_job_is_left_out(wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert [job["action"] for job in gathered("d", 1, lambda: [wrong, JOB])] == ["act"]
    assert "invalid job" in caplog.text


# --- what is pending


def test_a_pending_job_of_the_same_action_and_target_keeps_one_away(client: Client, server: Server) -> None:
    jobs = [{"action": "a", "targetResource": {"href": href}} for href in ("x", "y")] + [
        {"action": "b", "targetResource": {"href": "x"}}
    ]
    server.pending = [{"action": "a", "targetResource": {"href": "x"}}]
    assert without_pending(client, jobs) == jobs[1:]
    assert server.filters == [
        "(state='QUEUED' or state='RUNNING') and (action='a' or action='b')"
        " and (targetResource/href='x' or targetResource/href='y')"
    ]


def test_one_search_for_any_number_of_targets(client: Client, server: Server) -> None:
    jobs = [{"action": "a", "targetResource": {"href": f"credential/c{n}"}} for n in range(3000)]
    server.pending = [dict(job) for job in jobs[1000:]]
    assert without_pending(client, jobs) == jobs[:1000]
    assert server.filters == ["(state='QUEUED' or state='RUNNING') and (action='a')"]


def test_a_job_without_a_target(client: Client, server: Server) -> None:
    server.pending = [{"action": "a", "targetResource": {"href": "x"}}]
    assert without_pending(client, [{"action": "a"}]) == [{"action": "a"}]
    server.pending = [{"action": "a"}]
    assert without_pending(client, [{"action": "a"}]) == []


# --- ticks


def test_a_tick_fires_once_and_is_remembered(client: Client, server: Server, member: Any, running: Any) -> None:
    coordination = member("a")
    running(coordination, once(Made(JOB, {"action": "b"}), client, coordination))
    eventually(lambda: coordination.load_note("d"))
    assert noted(coordination) == tick()
    assert server.keys == [key("d", tick(), JOB), key("d", tick(), {"action": "b"})]


def test_a_tick_that_was_stored_does_not_fire_again(client: Client, server: Server, member: Any, running: Any) -> None:
    coordination = member("a")
    coordination.save_note("d", {"tick": tick()})
    running(coordination, once(Made(JOB), client, coordination))
    eventually(lambda: coordination.leaders(["d"]))
    gevent.sleep(0.3)
    assert server.added == []


def test_a_stored_tick_in_the_future_is_logged_and_passed_over(
    client: Client, server: Server, member: Any, running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    coordination = member("a")
    coordination.save_note("d", {"tick": tick() + 10 * AGE})
    running(coordination, once(Made(JOB), client, coordination))
    eventually(lambda: noted(coordination) == tick())
    assert server.keys == [key("d", tick(), JOB)]
    assert "later than now" in caplog.text


def test_no_tick_is_left_out_by_a_clock_that_was_wrong_for_a_while(
    client: Client, server: Server, member: Any, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader begins with its clock set back, while the server is away; all ticks since the last one are due later."""
    coordination = member("a")
    now = [80_000]
    monkeypatch.setattr("geventjob.scheduling.ticking.unix_milliseconds", lambda: now[0])
    coordination.save_note("d", {"tick": 100_000})
    server.away = True
    ticking = Ticking(Plan("d", Every(1000), catchup=100), Made(JOB), client, coordination)
    running(coordination, ticking)
    eventually(lambda: server.tried)
    now[0] = 103_500
    server.away = False
    eventually(lambda: noted(coordination) == 103_000)
    assert server.keys == [key("d", each, JOB) for each in (101_000, 102_000, 103_000)]


@pytest.mark.parametrize("note", [{"tick": "yesterday"}, {"other": 1}])
def test_a_note_that_is_junk_is_as_none(
    client: Client, server: Server, member: Any, running: Any, note: dict[str, Any]
) -> None:
    coordination = member("a")
    coordination.save_note("d", note)
    running(coordination, once(Made(JOB), client, coordination))
    eventually(lambda: noted(coordination) == tick())


def test_ticks_follow_each_other_without_drift(client: Client, server: Server, member: Any, running: Any) -> None:
    coordination = member("a")
    running(coordination, once(Made(JOB), client, coordination, step=100))
    eventually(lambda: len(server.added) >= 8)
    ticks = [int(name.partition("@")[2].partition("#")[0]) for name in server.keys]
    assert ticks == sorted(set(ticks))
    assert all(each % 100 == 0 for each in ticks)


def test_ticks_that_passed_collapse_into_one(client: Client, server: Server, member: Any, running: Any) -> None:
    coordination = member("a")
    coordination.save_note("d", {"tick": tick() - 50 * AGE})
    running(coordination, once(Made(JOB), client, coordination))
    eventually(lambda: noted(coordination) == tick())
    assert server.keys == [key("d", tick(), JOB)]


# --- bad days


def test_a_server_that_is_away_is_tried_again_and_told_once(
    client: Client, server: Server, member: Any, running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    coordination = member("a")
    server.away = True
    running(coordination, once(Made(JOB), client, coordination))
    eventually(lambda: "retrying" in caplog.text)
    gevent.sleep(0.5)
    assert coordination.load_note("d") is None
    server.away = False
    eventually(lambda: coordination.load_note("d"))
    assert server.keys == [key("d", tick(), JOB)]
    assert caplog.text.count("retrying") == 1
    assert caplog.text.count(": recovered") == 1


def test_ones_own_key_is_done_and_a_refusal_is_logged(
    client: Client, server: Server, member: Any, running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    coordination = member("a")
    server.statuses = {"known": 409, "wrong": 400}
    running(coordination, once(Made({"action": "known"}, {"action": "wrong"}, JOB), client, coordination))
    eventually(lambda: coordination.load_note("d"))
    assert server.keys == [key("d", tick(), JOB)]
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors == ["d: a job of wrong was refused: no"]


def test_a_tick_that_cannot_be_remembered_is_not_added_again(
    client: Client, server: Server, member: Any, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordination = member("a")
    save_note = coordination.save_note
    failures = [1, 2]

    def sometimes(*args: Any) -> None:
        if failures:
            failures.pop()
            raise CoordinationAway("away")
        save_note(*args)

    monkeypatch.setattr(coordination, "save_note", sometimes)
    running(coordination, once(Made(JOB), client, coordination))
    eventually(lambda: coordination.load_note("d"))
    assert failures == []
    assert len(server.added) == 1


# --- leading


def test_one_leads_and_the_next_takes_over(client: Client, server: Server, member: Any, running: Any) -> None:
    one, two = member("a"), member("b")
    first = running(one, once(Made(JOB), client, one))
    eventually(lambda: one.leaders(["d"]) == {"d": "a"})
    running(two, once(Made(JOB), client, two))
    gevent.sleep(0.2)
    assert one.leaders(["d"]) == {"d": "a"}
    first.kill()
    eventually(lambda: two.leaders(["d"]) == {"d": "b"})
    gevent.sleep(0.2)
    assert server.keys == [key("d", tick(), JOB)], "the tick was stored"


def test_what_was_lost_creates_nothing_more(client: Client, server: Server, member: Any, running: Any) -> None:
    """The leadership is lost between two pages of a large firing; the next leader adds the rest."""
    one, two = member("a"), member("b")
    of_a, of_b = ([{"action": "act", "payload": {"n": n, "by": name}} for n in range(3 * PAGE)] for name in "ab")

    def lose() -> None:
        server.on_add = lambda: None
        assert one.session
        one.session.end()
        gevent.spawn(one.close)  # so that it does not lead a second time

    server.on_add = lose
    running(one, once(Made(*of_a), client, one))
    eventually(lambda: server.pages)
    running(two, once(Made(*of_b), client, two))
    eventually(lambda: two.load_note("d"))
    first, all_of_b = ({key("d", tick(), job) for job in jobs} for jobs in (of_a[:PAGE], of_b))
    assert set(server.keys) == first | all_of_b, "one page by the first leader, all pages by the next"


def test_code_that_waits_is_ended_with_the_leadership(client: Client, member: Any, running: Any) -> None:
    ended = []

    class Waits(Distributor):
        def __init__(self) -> None:
            pass

        def jobs(self) -> Iterator[dict[str, Any]]:
            try:
                gevent.sleep(600)
                yield JOB
            finally:
                ended.append(True)

    one = member("a")
    running(one, once(Waits(), client, one))
    eventually(lambda: one.leaders(["d"]))
    gevent.sleep(0.1)
    assert one.session
    one.session.end()
    eventually(lambda: ended)


# --- old ones


class Old:
    ACTION_NAME = "old_action"

    def __init__(self) -> None:
        self.collect_interval = 0.05
        self.seen = (self.name, self.args.name, self.ss_api)  # type: ignore[attr-defined]

    def job_generator(self) -> Iterator[dict[str, Any]]:
        while True:
            yield {"action": self.ACTION_NAME}
            time.sleep(self.collect_interval)


def old(target: Any, client: Client) -> Endless:
    return Endless(DistributorSpec("d", target, "old.py", old=True), client, Namespace(name="me"))


def test_an_old_one_runs_while_it_leads(client: Client, server: Server, member: Any, running: Any) -> None:
    one = member("a")
    greenlet = running(one, old(Old, client))
    eventually(lambda: len(server.added) >= 3)
    assert {job["action"] for job in server.added} == {"old_action"}
    assert len(set(server.keys)) == len(server.added), "no key of a tick"
    greenlet.kill()
    count = len(server.added)
    gevent.sleep(0.3)
    assert len(server.added) == count


def test_an_old_one_that_fails_is_run_again(
    client: Client, server: Server, member: Any, running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(Old):
        def job_generator(self) -> Iterator[dict[str, Any]]:
            yield {"action": "old_action"}
            raise LookupError("bad day")

    one = member("a")
    running(one, old(Fails, client))
    eventually(lambda: len(server.added) >= 2)
    assert "bad day" in caplog.text


def test_an_old_one_waits_for_a_server_that_is_away(
    client: Client, server: Server, member: Any, running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    one = member("a")
    server.away = True
    running(one, old(Old, client))
    eventually(lambda: "retrying" in caplog.text)
    server.away = False
    eventually(lambda: len(server.added) >= 2)


def test_each_job_that_is_added_is_told(
    client: Client, server: Server, member: Any, running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one = member("a")
    greenlet = running(one, old(Old, client))
    eventually(lambda: re.search(r"^d added job/\S+: old_action$", "\n".join(caplog.messages), re.MULTILINE))
    greenlet.kill()
    running(one, once(Made({"action": "x", "targetResource": {"href": "vm/1"}}, {"action": "y"}), client, one))
    told = r"^d added job/\S+: {}$"
    for what in ("x of vm/1", "y"):
        eventually(lambda what=what: re.search(told.format(what), "\n".join(caplog.messages), re.MULTILINE))


ELECTIONS = {
    "dummy_test_action": "dummy_test_action",
    "jobs_cleanup": "cleanup_jobs",
    "nb_state_snaps_cleanup": "cleanup_nb_state_snaps",
    "nuvlabox_state_check": "nuvlabox_state_check",
    "quotas_collect": "collect_quotas",
    "storage_buckets_collect": "collect_storage_buckets",
    "vms_cleanup": "cleanup_virtual_machines",
    "vms_collect": "collect_virtual_machines",
}
"""Unit of SlipStream's engine → its election (CIMI as SlipStream speaks it, docs/reference)."""
OLD_SCRIPT = """
from slipstream.job.distributor import Distributor

class Script(Distributor):
    ACTION_NAME = "{election}"

    def job_generator(self):
        yield {{}}

    def _get_jobs_type(self):
        return "{election}"
"""


def test_all_old_names_stand_in_the_elections_in_which_the_old_engine_stands(
    tmp_path: Path, client: Client, member: Any
) -> None:
    for unit, election in ELECTIONS.items():
        (tmp_path / f"job_distributor_{unit}.py").write_text(OLD_SCRIPT.format(election=election))
    found = find_distributors([str(tmp_path)])
    specs = chosen(found, list(ELECTIONS), all=False)
    assert sum(spec.old for spec in specs) == 6, "two of them are shipped"
    assert DistributorEngine(member("a"), client, specs, Namespace(name="me"))._elections == ELECTIONS
    cleanup = next(spec for spec in specs if spec.name == "jobs_cleanup").target(None, None)
    assert [job["action"] for job in cleanup.jobs()] == ["cleanup_jobs"]


def test_two_in_one_election_are_refused(client: Client, member: Any) -> None:
    class Second(Old):
        def _get_jobs_type(self) -> str:
            return "one"

    specs = [DistributorSpec(name, Second, "a.py", old=True) for name in ("a", "b")]
    with pytest.raises(PluginError, match="'a' and 'b' share the election 'one'"):
        DistributorEngine(member("a"), client, specs, Namespace(name="me"))


def test_an_election_that_is_no_name_is_refused(client: Client, member: Any) -> None:
    class Strange(Old):
        def _get_jobs_type(self) -> str:
            return "a/b"

    with pytest.raises(PluginError, match="a name is up to 100"):
        DistributorEngine(member("a"), client, [DistributorSpec("d", Strange, "a.py", old=True)], Namespace(name="me"))


# --- the process's parts


def spec(name: str, target: Any) -> DistributorSpec:
    return DistributorSpec(name, target, f"{name}.py")


def test_names_that_are_chosen() -> None:
    found = Distributors([spec("a", Made), spec("b", Old)], failures={"/x/c.py": "SyntaxError: no"})
    assert [each.name for each in chosen(found, ["b", "a", "b"], False)] == ["b", "a"]
    assert [each.name for each in chosen(found, [], True)] == ["a", "b"]
    with pytest.raises(PluginError, match=r"no distributor 'c'; there are a, b; /x/c\.py did not import: SyntaxError"):
        chosen(found, ["c"], False)
    with pytest.raises(PluginError, match="no distributor was found"):
        chosen(Distributors(), [], True)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({}, "either `interval`"),
        ({"cron": "never"}, "`cron`"),
        ({"interval": "x"}, "`interval`"),
        ({"cron": "@daily", "timezone": "Europe/Berln"}, "did you mean Europe/Berlin"),
    ],
)
def test_what_has_no_schedule_is_refused(attributes: dict[str, Any], words: str) -> None:
    class Wrong(Distributor):
        def jobs(self) -> Iterator[dict[str, Any]]:
            return iter(())

    for name, value in attributes.items():
        setattr(Wrong, name, value)
    coordination = SqliteCoordination("unused", "a", 2.0)
    client = Client(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(PluginError, match=r"'w' in w\.py: ValueError") as refused:
        DistributorEngine(coordination, client, [spec("w", Wrong)], Namespace())
    assert words in str(refused.value)


def test_a_constructor_that_fails_is_named() -> None:
    def fails(client: Any, settings: Any) -> Iterable[Any]:
        raise LookupError("no such thing")

    coordination = SqliteCoordination("unused", "a", 2.0)
    with pytest.raises(PluginError, match=r"'f' in f\.py: LookupError: no such thing"):
        DistributorEngine(coordination, Client("http://127.0.0.1:1"), [spec("f", fails)], Namespace())


def test_what_needs_a_restart_is_named(client: Client, member: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Daily(Made):
        interval = 86_400

    class Moved(Daily):
        election = "elsewhere"

    class Later(Old):
        pass

    def script(target: Any) -> DistributorSpec:
        return DistributorSpec("b", target, "b.py", old=True)

    settings = Namespace(name="me")
    engine = DistributorEngine(member("a"), client, [spec("a", Daily), script(Old)], settings)
    engine.renew([spec("a", Moved), script(Later), spec("c", Daily)], {})
    assert [line.message for line in caplog.records if line.levelno == logging.WARNING] == [
        "restart to change the election of a to elsewhere: it goes on in its old code",
        "restart to run the new code of b, which adds jobs at times of its own",
        "restart to run the distributor c",
    ]
    caplog.clear()
    engine.renew([spec("a", Daily), script(Old)], {})
    assert not [line for line in caplog.records if line.levelno == logging.WARNING], "the same code again"


# --- requests to fire


def asked(coordination: Coordination, key: str) -> dict[str, Any] | None:
    """Ask for a firing, and return what it made once the leader has answered."""
    requests = Requests("d", coordination)
    if (answer := requests.answer(key)) is None:
        requests.ask(key, "ann")
    return answer


def answered(coordination: Coordination, key: str) -> dict[str, Any]:
    """Ask until the leader has answered, and return what the firing made."""
    answer = eventually(lambda: asked(coordination, key))
    assert answer
    return answer


def test_a_request_fires_once_though_the_server_is_away(
    client: Client, server: Server, member: Any, running: Any, caplog: pytest.LogCaptureFixture
) -> None:
    coordination = member("a")
    coordination.save_note("d", {"tick": tick()})
    server.away = True
    running(coordination, once(Made(JOB), client, coordination))
    assert asked(coordination, "k") is None
    eventually(lambda: "retrying" in caplog.text)
    server.away = False
    answer = answered(coordination, "k")
    assert answer == {"at": answer["at"], "made": 1, "jobs": ["job/1"], "by": "ann"}
    assert server.keys == [key("d", "fire:k", JOB)]
    assert answered(coordination, "k2")["made"] == 1
    assert asked(coordination, "k") == answer
    assert len(server.keys) == 2
    assert noted(coordination) == tick(), "ticks go on as before"


def test_a_request_leaves_out_what_is_pending(client: Client, server: Server, member: Any, running: Any) -> None:
    coordination = member("a")
    coordination.save_note("d", {"tick": tick()})
    server.pending = [JOB]
    made = Made(JOB)
    made.unless_pending = True
    running(coordination, once(made, client, coordination))
    assert answered(coordination, "k")["made"] == 0
    assert server.keys == []
