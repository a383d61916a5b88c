"""Distributors as processes: one leads, and a tick creates its jobs exactly once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from geventjob import Client
from tests.support.fleet import Fleet, Process, Way, ended, fleet, until
from tests.support.zookeeper import shared
from tests.support.zookeeper_proxy import ZooKeeperProxy

STEP = 0.5
TIMEOUT = 3.0
"""Session timeout of the processes, seconds."""

TICKER = f"""
import os
from geventjob import Distributor, distributor

@distributor("ticker")
class Ticker(Distributor):
    interval = {STEP}
    unless_pending = False

    def jobs(self):
        yield {{"action": "tick", "name": self.settings.name}}

@distributor("careful")
class Careful(Distributor):
    interval = 0.1

    def jobs(self):
        yield {{"action": "careful", "targetResource": {{"href": "dummy"}}}}

@distributor("broken")
class Broken(Distributor):
    interval = 0.1

    def jobs(self):
        yield {{"action": "broken"}}

    @property
    def unless_pending(self):
        raise LookupError("the part is broken")
"""

OLD = """
import time

class Collect:
    ACTION_NAME = "old_collect"

    def __init__(self):
        self.collect_interval = 0.1

    def job_generator(self):
        while True:
            yield {"action": self.ACTION_NAME, "targetResource": {"href": "job"}}
            time.sleep(self.collect_interval)
"""


@pytest.fixture
def made(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """Yield a server and a folder of distributors, over SQLite unless a test asks for ZooKeeper."""
    (tmp_path / "distributors").mkdir()
    (tmp_path / "distributors" / "ticker.py").write_text(TICKER)
    (tmp_path / "distributors" / "job_distributor_vms_collect.py").write_text(OLD)
    with fleet(tmp_path, shared().hosts if getattr(request, "param", "") == "zookeeper" else "") as made:
        made.server()
        yield made


over_both = pytest.mark.parametrize("made", ["sqlite", "zookeeper"], indirect=True)
over_zookeeper = pytest.mark.parametrize("made", ["zookeeper"], indirect=True)


@pytest.fixture
def networks() -> Iterator[dict[str, ZooKeeperProxy]]:
    """Yield three proxies to ZooKeeper by name."""
    made = {name: ZooKeeperProxy(shared().port) for name in "abc"}
    yield made
    for network in made.values():
        network.close()


@pytest.fixture
def client(made: Fleet) -> Iterator[Client]:
    with made.client() as client:
        yield client


def start(
    made: Fleet, name: str, *arguments: str, timeout: float = TIMEOUT, network: ZooKeeperProxy | None = None
) -> Process:
    folder = f"--distributors-dir={made.folder / 'distributors'}"
    way = Way(made.url, network.hosts) if network else None
    return made.distributor(name, folder, "--session-timeout", str(timeout), *arguments, way=way)


def leads(client: Client, election: str) -> str | None:
    """Return the name of the leader."""
    found = [node["name"] for node in client.nodes() if election in node.get("leads", ())]
    assert len(found) <= 1
    return found[0] if found else None


def jobs(client: Client, action: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.search("job", filter=f"action='{action}'", orderby="created")["jobs"]
    return found


def ticks(client: Client) -> list[int]:
    """Return the times of the jobs of `ticker` in order, in milliseconds."""
    return sorted(int(job["idempotencyKey"].partition("@")[2].partition("#")[0]) for job in jobs(client, "tick"))


def assert_none_doubled_and_some_collapsed(client: Client) -> None:
    steps = [after - before for before, after in pairwise(ticks(client))]
    assert min(steps) > 0, "a tick was doubled"
    assert max(steps) >= 2 * 500, "ticks passed without a leader, and were not made up for one by one"


def fired(process: Process) -> int:
    return process.log.count("fired its tick")


def just_fired(process: Process) -> None:
    """Wait for the moment after a firing, so that the next is half a second away."""
    before = fired(process)
    until(lambda: fired(process) > before, every=0.01)


@over_both
def test_leaders_die_and_freeze(made: Fleet, client: Client) -> None:
    processes = {name: start(made, name, "ticker") for name in "abc"}
    killed = until(lambda: leads(client, "ticker"))

    just_fired(processes[killed])
    processes[killed].kill()
    died = time.monotonic()
    frozen = until(lambda: (name := leads(client, "ticker")) and name != killed and name, every=0.02)
    print(f"killed: the next one leads after {time.monotonic() - died:.2f} s")
    assert time.monotonic() - died < TIMEOUT + 2

    just_fired(processes[frozen])
    made.freeze(processes[frozen])
    stopped = time.monotonic()
    counted = fired(processes[frozen])
    last = until(lambda: (name := leads(client, "ticker")) and name not in (killed, frozen) and name, every=0.02)
    until(lambda: fired(processes[last]), every=0.02)
    print(f"frozen: the next one leads and has fired after {time.monotonic() - stopped:.2f} s")
    assert time.monotonic() - stopped < TIMEOUT + 2

    processes[frozen].thaw()
    until(lambda: "leads no longer" in processes[frozen].log)
    just_fired(processes[last])
    assert fired(processes[frozen]) == counted, "it woke up and led no more"
    assert leads(client, "ticker") == last
    assert all(tick % 500 == 0 for tick in ticks(client))
    assert_none_doubled_and_some_collapsed(client)
    assert all(fired(process) for process in processes.values())
    assert processes[last].stop() == processes[frozen].stop() == 0


@over_zookeeper
def test_a_leader_is_cut_off(made: Fleet, client: Client, networks: dict[str, ZooKeeperProxy]) -> None:
    """Its network is silent: it gives up before another leads, and stands again when the network is back."""
    processes = {name: start(made, name, "ticker", network=network) for name, network in networks.items()}
    made.await_nodes(*processes)
    first = until(lambda: leads(client, "ticker"))
    just_fired(processes[first])
    networks[first].go_silent()
    cut_off = time.monotonic()
    second = until(lambda: (name := leads(client, "ticker")) and name != first and name, every=0.02)
    until(lambda: fired(processes[second]), every=0.02)
    print(f"cut off: the next one leads and has fired after {time.monotonic() - cut_off:.2f} s")
    assert time.monotonic() - cut_off < TIMEOUT + 2
    until(lambda: "leads no longer" in processes[first].log)
    counted = fired(processes[first])

    networks[first].speak()
    until(lambda: processes[first].log.count("session ") > 2)  # it began, was over, and another one began
    for name in networks.keys() - {first}:
        assert processes[name].stop() == 0
    until(lambda: leads(client, "ticker") == first)
    until(lambda: fired(processes[first]) > counted)
    assert processes[first].stop() == 0
    assert_none_doubled_and_some_collapsed(client)


@over_zookeeper
def test_a_silent_zookeeper_blocks_no_shutdown(
    made: Fleet, client: Client, networks: dict[str, ZooKeeperProxy]
) -> None:
    """A leader, a candidate and an undecided process stop at once, also with a session timeout of a minute."""
    processes = {name: start(made, name, "ticker", timeout=60, network=networks[name]) for name in "ab"}
    made.await_nodes("a", "b")
    until(lambda: leads(client, "ticker"))
    networks["c"].go_silent()
    processes["c"] = start(made, "c", "ticker", timeout=60, network=networks["c"])
    until(networks["c"].tried.is_set)
    for network in networks.values():
        network.go_silent()
    began = time.monotonic()
    for process in processes.values():
        process.signal(signal.SIGTERM)
    assert [process.wait() for process in processes.values()] == [0, 0, 0]
    took = time.monotonic() - began
    print(f"stopped with a silent ZooKeeper after {took:.2f} s")
    assert took < 5


def test_a_leader_that_is_stopped_resigns(made: Fleet, client: Client) -> None:
    """With a session timeout of a minute no candidate could take over by waiting for the timeout."""
    one = start(made, "one", "ticker", timeout=60)
    until(lambda: leads(client, "ticker") == "one")
    start(made, "two", "ticker", timeout=60)
    until(lambda: {node["name"] for node in client.nodes()} >= {"one", "two"})
    began = time.monotonic()
    assert one.stop() == 0
    until(lambda: leads(client, "ticker") == "two")
    assert time.monotonic() - began < 10
    assert [node["name"] for node in client.nodes() if node["role"] == "distributor"] == ["two"]


def test_the_server_is_away_for_some_ticks(made: Fleet, client: Client) -> None:
    process = start(made, "one", "ticker")
    until(lambda: fired(process) >= 2)
    server = made.processes[0]
    just_fired(process)
    server.kill()
    away = time.time()
    until(lambda: time.time() - away > 4 * STEP and "retrying" in process.log)
    made.server()
    back = time.time()
    just_fired(process)
    just_fired(process)
    found = ticks(client)
    assert len(found) == len(set(found))
    between = [tick for tick in found if away * 1000 < tick < (back - STEP - 1) * 1000]
    assert not between, "those that passed collapse into the one after"
    assert "ticker: recovered" in process.log
    assert process.stop() == 0


def test_nothing_while_one_is_pending(made: Fleet, client: Client) -> None:
    process = start(made, "one", "careful")
    until(lambda: fired(process) >= 5)
    (first,) = jobs(client, "careful")
    client.edit(first["id"], {"state": "RUNNING"})
    before = fired(process)
    until(lambda: fired(process) >= before + 5)
    assert len(jobs(client, "careful")) == 1
    client.edit(first["id"], {"state": "SUCCESS"})
    until(lambda: len(jobs(client, "careful")) == 2)


def test_an_old_one_runs_under_the_name_of_its_file(made: Fleet, client: Client) -> None:
    process = start(made, "one", "vms_collect")
    found = until(lambda: (found := jobs(client, "old_collect")) and len(found) >= 3 and found)
    assert not [job for job in found if job["idempotencyKey"].startswith("vms_collect@")]
    assert leads(client, "vms_collect") == "one"
    assert process.stop() == 0


def test_all_of_them_and_what_a_node_tells(made: Fleet, client: Client) -> None:
    for file in (made.folder / "distributors").iterdir():
        file.unlink()
    process = start(made, "one", "--all")
    node = until(lambda: next((n for n in client.nodes() if n["name"] == "one" and len(n["leads"]) == 3), None))
    assert sorted(node["leads"]) == ["dummy_test_action", "jobs_cleanup", "schedules"]
    assert node["pid"] == process.pid
    assert {"role": "distributor", "name": "one"}.items() <= node.items()
    assert {"host", "version", "since"} <= node.keys()
    until(lambda: jobs(client, "dummy_test_action") and jobs(client, "cleanup_jobs"))
    until(lambda: fired(process) >= 2)  # both sleep until their next tick
    process.signal(signal.SIGUSR1)
    until(lambda: "distributor jobs_cleanup" in process.log and "_until_next" in process.log)
    assert process.stop() == 0


def test_cleanup_from_end_to_end(made: Fleet, client: Client) -> None:
    """A distributor creates the job, an executor runs the action, and jobs that ended a second ago are gone."""
    made.executor("worker", "--cleanup-days", "0.00001")
    ids = client.bulk_add([{"action": "dummy_test_action"} for _ in range(1200)])
    assert {job["state"] for job in ended(client, [str(id) for id in ids]).values()} == {"SUCCESS"}
    waiting = client.add("job", {"action": "nobody_has_it"})
    over = time.time()
    until(lambda: time.time() - over > 1)
    start(made, "one", "jobs_cleanup")
    (cleanup,) = until(lambda: client.search("job", filter="action='cleanup_jobs' and state='SUCCESS'")["jobs"])
    assert cleanup["statusMessage"] == "1200 jobs deleted that ended more than 1e-05 days ago"
    assert client.search("job", filter="action='dummy_test_action'", last=0)["count"] == 0
    assert client.get(waiting)["state"] == "QUEUED"


# --- what an operator has to mend


def test_a_part_that_fails_ends_the_process(made: Fleet) -> None:
    process = start(made, "one", "broken", "ticker")
    assert process.wait() == 1
    assert "LookupError: the part is broken" in process.log


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ["nobody"],
            "no distributor 'nobody'; there are broken, careful, dummy_test_action, jobs_cleanup, schedules, ticker",
        ),
        ([], "name the distributors to run"),
        (["ticker", "--all"], "name the distributors to run"),
        (["ticker", "--session-timeout", "x"], "--session-timeout"),
    ],
)
def test_wrong_usage_is_one_line(made: Fleet, names: list[str], words: str) -> None:
    process = start(made, "one", *names)
    assert process.wait() == 2
    (line,) = process.log.strip().splitlines()
    assert line.startswith("geventjob-distributor: ")
    assert words in line


def test_a_schedule_that_is_none_names_the_file(made: Fleet) -> None:
    file = made.folder / "distributors" / "wrong.py"
    file.write_text(TICKER.replace(f"interval = {STEP}", "cron = 'often'").replace('"ticker"', '"wrong"'))
    (made.folder / "distributors" / "ticker.py").unlink()
    process = start(made, "one", "wrong")
    assert process.wait() == 2
    assert "`cron` 'often': 1 fields: a crontab line has five" in process.log
    assert str(file) in process.log


def test_a_name_in_use(made: Fleet, client: Client) -> None:
    start(made, "one", "ticker")
    until(lambda: leads(client, "ticker"))
    other = start(made, "one", "ticker")
    until(lambda: "one-2 runs ticker" in other.log)
    assert "one: another live process among the distributors has this name: this process is called one-2" in other.log
    assert other.stop() == 0
