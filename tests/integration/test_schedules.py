"""Schedules as data, with a real server, real distributors and the commands: one leads, and a tick makes one job."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geventjob import Client
from tests.support.answering import Asked, Reply, answering
from tests.support.command_line import Cli
from tests.support.fleet import PASSWORD, Fleet, fleet, until
from tests.support.zookeeper import shared

EACH_YEAR = """
from geventjob import Distributor, distributor

@distributor("each_year")
class EachYear(Distributor):
    cron = "0 0 1 1 *"
    unless_pending = False

    def jobs(self):
        yield {"action": "nothing", "name": "of each_year"}
"""


@pytest.fixture(params=["sqlite", "zookeeper"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    (tmp_path / "distributors").mkdir()
    (tmp_path / "distributors" / "each_year.py").write_text(EACH_YEAR)
    with fleet(tmp_path, shared().hosts if request.param == "zookeeper" else "") as made:
        ini = made.data_dir / "client.ini"
        ini.write_text(f"ss-url = {made.url}\nss-user = super\nss-pass = {PASSWORD}\n")
        ini.chmod(0o600)
        made.server()
        yield made


@pytest.fixture
def client(made: Fleet) -> Iterator[Client]:
    with made.client() as client:
        yield client


@pytest.fixture
def cli(made: Fleet) -> Cli:
    return Cli(made.data_dir)


def jobs(client: Client, name: str) -> list[dict[str, Any]]:
    """Return the jobs of the ticks of a schedule, in the order of the ticks."""
    found = client.search("job", filter=f"idempotencyKey^='schedule/{name}@1'")["jobs"]
    return sorted(found, key=lambda job: str(job["idempotencyKey"]))


def more(client: Client, name: str, count: int = 2) -> None:
    """Wait until a schedule has fired as often again."""
    before = len(jobs(client, name))
    until(lambda: len(jobs(client, name)) >= before + count)


def leads(client: Client) -> str | None:
    return next((one.get("leader") for one in client.distributors() if one["name"] == "schedules"), None)


def test_a_schedule_fires_though_its_leader_dies(made: Fleet, client: Client, cli: Cli) -> None:
    processes = {name: made.distributor(name, "--session-timeout", "3", "schedules") for name in ("a", "b")}
    cli("schedules", "add", "tick", "--every", "1s", "--action", "nothing", "--payload", '{"a": 1}')
    cli("schedules", "add", "clock", "--every", "1s", "--action", "nothing")
    more(client, "tick")
    killed = until(lambda: leads(client))
    processes[killed].kill()
    other = until(lambda: (name := leads(client)) and name != killed and name)
    more(client, "tick")
    assert "schedule/tick fired its tick" in processes[other].log

    cli("schedules", "pause", "tick", "--why", "the disk is full")
    paused = jobs(client, "tick")
    more(client, "clock", 3)
    assert jobs(client, "tick") == paused
    cli("schedules", "resume", "tick")
    more(client, "tick")

    cli("schedules", "edit", "tick", "--payload", '{"a": 2}')
    edited = time.time()
    until(lambda: jobs(client, "tick")[-1]["payload"] == {"a": 2})
    print(f"an edit is seen after {time.time() - edited:.1f} s")
    cli("schedules", "delete", "tick")
    deleted = jobs(client, "tick")
    more(client, "clock", 3)
    assert jobs(client, "tick") == deleted
    ticks = [int(job["idempotencyKey"].partition("@")[2]) for job in deleted]
    assert all(tick % 1000 == 0 for tick in ticks)
    assert len(set(ticks)) == len(ticks)
    assert processes[other].stop() == 0


def test_the_list_tells_of_schedules_and_distributors(made: Fleet, client: Client, cli: Cli) -> None:
    folder = f"--distributors-dir={made.folder / 'distributors'}"
    assert "no process fires schedules" in cli("schedules", "add", "early", "--every", "1d", "--action", "a").stderr
    made.distributor("one", folder, "schedules", "each_year")
    until(lambda: leads(client))
    line = ["--cron", "30 2 * * *", "--timezone", "Europe/Berlin"]
    assert "schedule/nightly  added" in cli("schedules", "add", "nightly", *line, "--action", "report").stdout
    assert cli.wrong("schedules", "add", "nightly", *line, "--action", "report").startswith(
        "geventjob: there is a schedule nightly already"
    )
    fired = [cli.json("schedules", "fire", "each_year", "--key", "k")["jobs"] for _ in range(2)]
    assert fired[0] == fired[1]
    assert client.search("job", filter="name='of each_year'")["count"] == 1
    (job,) = cli.json("schedules", "fire", "nightly")["jobs"]
    assert client.get(job)["action"] == "report"
    assert "schedule/nightly  was not paused" in cli("schedules", "resume", "nightly").stdout
    assert "by super since 0 s" in cli("schedules", "pause", "nightly", "--why", "why not", "--until", "+2h").stdout

    head, *lines = cli("schedules").stdout.splitlines()
    assert head.split() == ["NAME", "KIND", "FIRES", "ACTION", "NEXT", "LAST", "LEADER", "PAUSED"]
    assert [line.split()[0] for line in lines] == ["each_year", "early", "nightly", "schedules"]
    assert [line.split()[1] for line in lines] == ["distributor", "schedule", "schedule", "distributor"]
    nightly = lines[2]
    assert "30 2 * * *  Europe/Berlin  report" in nightly
    assert nightly.endswith("Z  one     why not")
    assert cli.wrong("schedules", "resume", "nihgtly").endswith("no schedule nihgtly: did you mean nightly?")
    found = {entry["name"]: entry for entry in cli.json("schedules", "list")}
    assert (found["nightly"]["kind"], found["each_year"]["kind"]) == ("schedule", "distributor")
    assert found["nightly"]["leader"] == found["each_year"]["leader"] == "one"


class SlipStream:
    """A server that has an entry point of SlipStream's kind, and no collection but those of SlipStream."""

    entry_point = True

    def __call__(self, asked: Asked) -> Reply:
        if asked.path == "/api/cloud-entry-point":
            return Reply(json={"resourceURI": "http://schemas.dmtf.org/cimi/2/CloudEntryPoint"})
        return Reply(405, {"status": 405, "message": f"invalid method for {asked.path}"})


def test_a_slipstream_server_has_no_schedules() -> None:
    with answering(SlipStream()) as server:
        cli = Cli(None, GEVENTJOB_SS_URL=server.url, GEVENTJOB_SS_USER="alice", GEVENTJOB_SS_PASS="secret")
        for command in ("list", "add x --every 5 --action a", "edit x --every 5", "pause x", "resume x", "fire x"):
            assert "is a SlipStream server, which has no" in cli.wrong("schedules", *command.split(), code=1)


def test_wrong_commands_say_what_is_wrong(made: Fleet, cli: Cli) -> None:
    add = ["schedules", "add", "x", "--action", "a"]
    assert "cron: expected either cron" in cli.wrong(*add)
    assert "cron: '61 * * * *'" in cli.wrong(*add, "--cron", "61 * * * *")
    assert "--every: expected a time as" in cli.wrong(*add, "--every", "soon")
    assert "--jitter: expected seconds" in cli.wrong(*add, "--every", "1m", "--jitter", "nan")
    assert "--catchup: expected none, last" in cli.wrong(*add, "--every", "1m", "--catchup", "all")
    for command in (["pause"], ["resume"], ["delete"], ["fire"], ["edit", "--every", "5"]):
        assert "there is no schedule nothing" in cli.wrong("schedules", command[0], "nothing", *command[1:])
    assert "nothing to change" in cli.wrong("schedules", "edit", "nothing")
