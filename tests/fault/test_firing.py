"""kill -9 and SIGSTOP of distributors at each step of a firing: the tick creates its job once.

Each of four distributors is led by a process that stands still at another step of its first firing; one process
stands by for all of them. Their ticks are days, so that the next leader fires the very same tick.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from geventjob import Client
from tests.support.fleet import Fleet, Process, Way, ended, until
from tests.support.holding import Hold
from tests.support.http_proxy import HttpProxy
from tests.support.noted import Notes
from tests.support.zookeeper import shared
from tests.support.zookeeper_proxy import SET_DATA, ZooKeeperProxy

TIMEOUT = 3.0
SESSION = ("--session-timeout", str(TIMEOUT))
STEPS = ("on_its_way", "added", "noting", "noted")
"""The job is sent; the server has it, and has not said so; the note of the tick is sent; it is there."""
FIRES_AGAIN = {"on_its_way", "added", "noting"}

DAILY = """
from geventjob import Distributor, distributor

@distributor("{step}")
class Daily(Distributor):
    interval = 86400
    unless_pending = False

    def jobs(self):
        yield {{"action": "gated", "name": "{step}", "payload": {{"file": {file!r}}}}}
"""


class Leader:
    """Stands still at a step of its first firing, behind a network of its own."""

    def __init__(self, engine: Fleet, step: str) -> None:
        self.step = step
        self.http = HttpProxy(engine.port)
        self.zookeeper = ZooKeeperProxy(shared().port)
        self.hold = self._hold(b'"idempotencyKey":"%b@' % step.encode())
        self.process = start(engine, step, step, way=Way(self.http.url, self.zookeeper.hosts))

    def _hold(self, key: bytes) -> Hold | None:
        if self.step == "noted":
            return None
        return self.http.hold_request(key) if self.step == "on_its_way" else self.http.hold_answer(key)

    def stands(self) -> bool:
        return self.hold.reached.is_set() if self.hold else fired(self.process, self.step)

    def go_on_to_the_note(self) -> None:
        """Hold the distributor's requests to ZooKeeper from there on, heartbeats too."""
        assert self.hold
        at_the_server, self.hold = self.hold, self.zookeeper.hold_request(SET_DATA, b"/distribution/noting")
        at_the_server.let_go()
        until(self.stands, every=0.01)

    def close(self) -> None:
        self.http.close()
        self.zookeeper.close()


def start(engine: Fleet, name: str, *distributors: str, way: Way | None = None) -> Process:
    folder = f"--distributors-dir={engine.folder / 'distributors'}"
    return engine.distributor(name, folder, *SESSION, *distributors, way=way)


def fired(process: Process, distributor: str) -> bool:
    return f"{distributor} fired its tick" in process.log


def leads(client: Client) -> dict[str, str]:
    """Return the process that leads each distributor."""
    distributors = [node for node in client.nodes() if node["role"] == "distributor"]
    return {election: node["name"] for node in distributors for election in node["leads"]}


@pytest.fixture
def leaders(engine: Fleet, notes: Notes) -> Iterator[dict[str, Leader]]:
    """Wait until each distributor is at its step, and `noting` just before."""
    (engine.folder / "distributors").mkdir()
    for step in STEPS:
        file = engine.folder / "distributors" / f"{step}.py"
        file.write_text(DAILY.format(step=step, file=str(notes.path)))
    engine.server(*SESSION)
    made = {step: Leader(engine, step) for step in STEPS}
    engine.await_nodes(*STEPS)
    until(lambda: all(leader.stands() for leader in made.values()))
    yield made
    for leader in made.values():
        leader.close()


@pytest.mark.parametrize("engine", ["zookeeper"], indirect=True)
@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_distributors(leaders: dict[str, Leader], engine: Fleet, how: str) -> None:
    client = engine.client()
    heir = start(engine, "heir", *STEPS)
    engine.await_nodes("heir")
    leaders["noting"].go_on_to_the_note()
    struck = time.monotonic()
    for leader in leaders.values():
        if how == "killed":
            leader.process.kill()
        else:
            leader.process.freeze()
    until(lambda: leads(client) == dict.fromkeys(STEPS, "heir"), every=0.02)
    until(lambda: all(fired(heir, step) for step in FIRES_AGAIN), every=0.02)
    recovery = time.monotonic() - struck
    print(f"distributors, {how}: the next one leads and has fired after {recovery:.2f} s")
    assert recovery < TIMEOUT + 2

    for leader in leaders.values():
        if leader.hold:
            leader.hold.let_go()
    late = leaders["on_its_way"].hold
    assert late
    assert late.passed_on.wait(10)
    if how == "frozen":
        wake(leaders, heir, client)
    assert not fired(heir, "noted")
    found = client.search("job", orderby="name")["jobs"]
    assert [job["idempotencyKey"].partition("@")[0] for job in found] == sorted(STEPS)
    engine.executor("worker", *SESSION)
    jobs = ended(client, [job["id"] for job in found])
    assert {(job["state"], job["attempts"]) for job in jobs.values()} == {("SUCCESS", 1)}


def wake(leaders: dict[str, Leader], heir: Process, client: Client) -> None:
    """Check that no old leader leads, and that each is a candidate again in a new session."""
    for leader in leaders.values():
        leader.process.thaw()
    until(lambda: all(f"{step} leads no longer" in leader.process.log for step, leader in leaders.items()))
    assert leads(client) == dict.fromkeys(STEPS, "heir")
    assert heir.stop() == 0
    until(lambda: leads(client) == {step: step for step in STEPS})
    assert not [step for step in FIRES_AGAIN if fired(leaders[step].process, step)]
    assert [leader.process.stop() for leader in leaders.values()] == [0] * len(STEPS)
