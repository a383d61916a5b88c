"""kill -9 and SIGSTOP of the leader that fires schedules, at each step of a firing: the tick makes its job once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from geventjob import Client
from tests.support.fleet import Fleet, Process, Way, until
from tests.support.http_proxy import HttpProxy

TIMEOUT = 3.0
SESSION = ("--session-timeout", str(TIMEOUT))


@pytest.fixture
def network(engine: Fleet) -> Iterator[HttpProxy]:
    made = HttpProxy(engine.port)
    yield made
    made.close()


def leads(client: Client, name: str) -> bool:
    return any(one.get("leader") == name for one in client.distributors() if one["name"] == "schedules")


def start(engine: Fleet, name: str, url: str | None = None) -> Process:
    way = Way(url, engine.zk_hosts) if url else None
    return engine.distributor(name, *SESSION, "schedules", way=way)


@pytest.mark.parametrize("how", ["killed", "frozen"])
@pytest.mark.parametrize("step", ["on its way", "fired"])
def test_the_leader_of_schedules(engine: Fleet, network: HttpProxy, step: str, how: str) -> None:
    """The request stands before the server; the server has fired the tick, and its answer stands."""
    engine.server(*SESSION)
    client = engine.client()
    leader = start(engine, "leader", network.url)
    until(lambda: leads(client, "leader"))
    heir = start(engine, "heir")
    engine.await_nodes("heir")
    hold = (network.hold_request if step == "on its way" else network.hold_answer)(b"/api/schedule/bulk-fire", b"once")
    id = client.add("schedule", {"name": "once", "every": 2, "action": "nothing"})
    until(hold.reached.is_set, every=0.01)
    struck = time.monotonic()
    if how == "killed":
        leader.kill()
    else:
        engine.freeze(leader)
    until(lambda: f"{id} fired its tick" in heir.log, every=0.02)
    print(f"{step}, {how}: the next one leads and has fired after {time.monotonic() - struck:.2f} s")
    hold.let_go()
    assert hold.passed_on.wait(10)
    if how == "frozen":
        leader.thaw()
        until(lambda: "leads no longer" in leader.log)
    heir.stop()
    (request,) = [request for request in network.requests if b"/api/schedule/bulk-fire" in request][:1]
    held = int(request.partition(b'"tick":')[2].partition(b"}")[0])
    ticks = [tick(job) for job in client.search("job", filter=f"idempotencyKey^='{id}@'")["jobs"]]
    assert len(set(ticks)) == len(ticks) > 0
    assert step == "on its way" or ticks.count(held) == 1
    assert max(ticks) <= client.get(id)["tick"]


def tick(job: dict[str, Any]) -> int:
    return int(job["idempotencyKey"].partition("@")[2])
