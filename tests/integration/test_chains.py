"""Jobs that come after others, on the command line and from end to end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import Cli
from tests.support.fleet import PASSWORD, Fleet, ended, fleet

ACTION = """
from geventjob import action

@action("says_no")
def says_no(job):
    raise RuntimeError("no")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("chains")) as made:
        (made.actions_dir / "own.py").write_text(ACTION)
        made.server()
        yield made


def test_a_chain_on_the_command_line(made: Fleet) -> None:
    cli = Cli(None, GEVENTJOB_SS_URL=made.url, GEVENTJOB_SS_USER="super", GEVENTJOB_SS_PASS=PASSWORD)
    [bad] = cli.json("submit", "says_no")
    [good] = cli.json("submit", "dummy_test_action", "--payload", '{"seconds": 0}')
    short = bad.removeprefix("job/")[:12]
    options = {wish: ("--after", good, "--after", short, *wish.split()) for wish in ("", "--when-failed run")}
    ids = {wish: cli.json("submit", "dummy_test_action", *words)[0] for wish, words in options.items()}
    waits = f"The job waits: comes after {good} and 1 more.\n"
    assert cli("why", ids[""]).stdout == waits
    assert f"not released: it waits for {good}, not for a time" in cli("release", ids[""]).stdout
    assert made.client().get(ids[""])["after"] == {"jobs": [good, bad]}
    assert "--when-failed: says something only with --after" in cli.wrong("submit", "says_no", "--when-failed", "run")
    assert "no such job" in cli.wrong("submit", "says_no", "--after", "job/nothing", code=6)
    made.executor("worker")
    client = made.client()
    found = ended(client, [*ids.values()])
    assert found[ids[""]]["statusMessage"] == f"{bad} is FAILED, and this job comes after it"
    assert found[ids["--when-failed run"]]["state"] == "SUCCESS"


def test_a_long_chain_runs_in_its_order(made: Fleet, tmp_path: Path) -> None:
    made.await_nodes("worker")
    client = made.client()
    ids = [client.submit("dummy_test_action", {"seconds": 0})]
    for _ in range(20):
        ids.append(client.submit("dummy_test_action", {"seconds": 0}, after=[ids[-1]]))
    jobs = ended(client, ids)
    assert {job["state"] for job in jobs.values()} == {"SUCCESS"}
    started = [jobs[id]["started"] for id in ids]
    assert started == sorted(started)
