"""Distributors over HTTP: a list of them, and firings on request (docs/reference/api.md, "Distributors")."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import gevent
import pytest

from geventjob import Client, Distributor
from geventjob.calendar.schedule import plan
from geventjob.clock import unix_milliseconds
from geventjob.coordination.requests import VALID, Requests
from geventjob.scheduling.leader import Leader
from geventjob.scheduling.ticking import Ticking
from tests.support.callers import PASSWORD, STORES, LocalServer, local_server
from tests.support.job_server import good, problem
from tests.support.waiting import eventually

TIMING = {"cron": "30 2 1 1 *", "timezone": "Europe/Berlin", "catchup": "last", "jitter": 0}


@pytest.fixture(scope="module", params=STORES)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """Start one server of each kind for all tests, which use names of their own."""
    with local_server(request.param, tmp_path_factory.mktemp("house")) as made:
        yield made


class Yearly(Distributor):
    cron = "30 2 1 1 *"
    timezone = "Europe/Berlin"
    unless_pending = False

    def jobs(self) -> Iterator[dict[str, Any]]:
        for number in range(7):
            yield {"action": "nothing", "payload": {"number": number, "at": self.tick.timestamp()}}


@pytest.fixture
def name() -> str:
    return f"d{uuid4().hex[:12]}"


@pytest.fixture
def lead(here: LocalServer, name: str) -> Iterator[Callable[[], gevent.Greenlet[..., Any]]]:
    """Return a function that announces a distributor of this name and leads it until the end of the test."""
    greenlets: list[gevent.Greenlet[..., Any]] = []
    info = {"distributors": [name, f"{name}-old"], "elections": {name: name}, "timing": {name: TIMING}}
    here.coordination.announce("distributors", info)

    def led() -> gevent.Greenlet[..., Any]:
        made = Yearly(Client(here.url, "super", PASSWORD), None)
        work = Ticking(plan(name, made), made, made.client, here.coordination)
        greenlets.append(gevent.spawn(Leader(name, here.coordination, work).run))
        eventually(lambda: here.coordination.leaders([name]))
        return greenlets[-1]

    yield led
    gevent.killall(greenlets)


def listed(here: LocalServer, name: str) -> dict[str, Any]:
    found = {each["name"]: each for each in good(here.admin.get("distributor"))["distributors"]}
    one: dict[str, Any] = found[name]
    return one


def jobs(here: LocalServer, name: str) -> list[str]:
    """Return the jobs of a distributor. A caller who has just written finds all writes, in Elasticsearch too."""
    here.admin.add()
    return [job["id"] for job in here.admin.search("job", filter=f"idempotencyKey^='{name}@'")["jobs"]]


def test_a_distributor_is_listed_with_its_timing_and_its_leader(here: LocalServer, name: str, lead: Any) -> None:
    before = listed(here, name)
    process = here.coordination.name
    assert {**before, **TIMING, "election": name, "processes": [process]} == before
    assert "leader" not in before
    assert before["next"].endswith("-01-01T01:30:00.000Z")
    assert listed(here, f"{name}-old").keys() == {"name", "election", "processes"}
    here.coordination.save_note(name, {"tick": 1_798_767_000_000})
    lead()
    after = listed(here, name)
    assert after["leader"] == process
    assert after["fired"]["tick"] == "2027-01-01T01:30:00.000Z"


def test_a_distributor_fires_once_for_each_key(here: LocalServer, name: str, lead: Any) -> None:
    first = lead()
    answer = good(here.admin.post(f"distributor/{name}/fire", {"idempotencyKey": "k1"}))
    assert (answer["made"], len(answer["jobs"])) == (7, 5)
    assert set(answer["jobs"]) < set(jobs(here, name))
    assert good(here.admin.post(f"distributor/{name}/fire", {"idempotencyKey": "k1"})) == answer
    first.kill()
    lead()
    assert good(here.admin.post(f"distributor/{name}/fire", {"idempotencyKey": "k1"})) == answer, "of another leader"
    assert len(jobs(here, name)) == 7
    other = good(here.admin.post(f"distributor/{name}/fire", {"idempotencyKey": "k2"}))
    assert len(jobs(here, name)) == 14
    fired = listed(here, name)["fired"]
    assert (fired["by"], fired["made"], fired["jobs"]) == ("super", 7, other["jobs"])


def test_requests_at_the_same_time_are_all_answered(here: LocalServer, name: str, lead: Any) -> None:
    lead()
    requests = Requests(name, here.coordination)
    keys = {"k1", "k2", "k3"}

    def answered() -> bool:
        for key in keys:
            if requests.answer(key) is None:
                requests.ask(key, "super")
        return all(requests.answer(key) for key in keys)

    eventually(answered)
    assert len(jobs(here, name)) == 7 * len(keys)


def test_a_leader_that_comes_late_fires_no_old_request(here: LocalServer, name: str, lead: Any) -> None:
    old = {"key": "old", "at": unix_milliseconds() - VALID, "by": "super"}
    here.coordination.save_note(f"fire {name}", old)
    lead()
    good(here.admin.post(f"distributor/{name}/fire", {"idempotencyKey": "new"}))
    assert len(jobs(here, name)) == 7


def test_what_cannot_be_fired_says_why(here: LocalServer, name: str, lead: Any) -> None:
    body = {"idempotencyKey": "k"}
    problem(here.admin.post(f"distributor/{name}/fire", body), 409, "has no leader at present")
    problem(here.admin.post(f"distributor/{name}-old/fire", body), 409, "has no ticks of its own")
    problem(here.admin.post("distributor/nobody/fire", body), 404, "distributor/nobody")
    problem(here.admin.post(f"distributor/{name}/fire", {}), 400, "idempotencyKey")
    problem(here.admin.post(f"distributor/{name}/fire", {"tick": 5, **body}), 400, "tick")
    problem(here.admin.post(f"distributor/{name}/fire", {"idempotencyKey": "a b"}), 400, "idempotencyKey")
