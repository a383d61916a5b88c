"""docs/how-to/batches.md and unique-jobs.md as they stand, with a real server and executor, and the commands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.command_line import Cli
from tests.support.examples import ROOT, files
from tests.support.fleet import PASSWORD, Fleet, ended, fleet, until

BATCHES = files(ROOT / "docs" / "how-to" / "batches.md")
UNIQUE = files(ROOT / "docs" / "how-to" / "unique-jobs.md")
WAITS = """
import time
from geventjob import action

@action("waits")
def waits(job):
    while True:
        time.sleep(0.1)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("batches")) as made:
        (made.actions_dir / "monthly_report.py").write_text(BATCHES["actions/monthly_report.py"])
        (made.actions_dir / "waits.py").write_text(WAITS)
        made.server()
        made.executor("worker")
        yield made


@pytest.fixture(scope="module")
def cli(made: Fleet) -> Cli:
    ini = made.folder / "client.ini"
    ini.write_text(f"ss-url = {made.url}\nss-user = super\nss-pass = {PASSWORD}\n")
    ini.chmod(0o600)
    return Cli(made.folder)


def script(made: Fleet, text: str, *arguments: str) -> str:
    file = made.folder / "script.py"
    file.write_text(text)
    password = made.folder / "password"
    password.write_text(PASSWORD)
    command = [sys.executable, str(file), made.url, "super", str(password), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_the_program_of_the_page_makes_one_report_however_often_it_is_started(made: Fleet) -> None:
    expected = "{'month': 'May', 'sales': 60, 'failed': 0}"
    assert script(made, BATCHES["scripts/report_month.py"], "May") == expected
    assert script(made, BATCHES["scripts/report_month.py"], "May") == expected
    with made.client() as client:
        assert client.search("job", filter="action='report_sales'", last=0)["count"] == 1
        assert client.search("job", filter="action='count_sales'", last=0)["count"] == 3


def test_the_program_of_the_page_about_unique_jobs(made: Fleet) -> None:
    first = script(made, UNIQUE["scripts/invoice.py"], "7")
    assert script(made, UNIQUE["scripts/invoice.py"], "7") == first
    assert script(made, UNIQUE["scripts/invoice.py"], "8") != first


def test_unique_on_the_command_line(cli: Cli) -> None:
    submit = ["submit", "nobody_knows", "--payload", '{"a": 1}', "--unique", "action,payload.a"]
    first = cli(*submit).stdout.strip()
    assert cli(*submit, "--if-exists", "return").stdout.strip() == first
    assert first in cli(*submit, code=1).stderr
    assert cli(*submit, "--replace", "--priority", "3").stdout.strip() == first
    assert "--unique-while, --unique-for and --replace go with --unique" in cli.wrong("submit", "a", "--replace")
    assert "not both" in cli.wrong(*submit, "--unique-while", "queued", "--unique-for", "3")
    assert "unique.by[0]: expected" in cli("submit", "a", "--unique", "state", code=2).stderr
    cli("stop", first)


def test_watch_shows_how_far_a_batch_is(made: Fleet, cli: Cli) -> None:
    with made.client() as client:
        batch = client.batch("report_sales", {"month": "June"})
        batch.add("count_sales", {"shop": 1})
        batch.add("waits")
        callback = batch.close()["id"]
        children = {job["action"]: job["id"] for job in client.children(callback, select=["action"])}
        until(lambda: client.get(children["count_sales"])["state"] == "SUCCESS")
        watching = cli.start("watch", callback)
        try:
            assert watching.stdout is not None
            seen = watching.stdout.readline()
            assert "1 of 2 jobs of the batch have ended" in seen
            cli("stop", children["waits"])
            out, _ = watching.communicate(timeout=30)
        finally:
            watching.kill()
        assert "1 of 2 jobs of the batch did not succeed" in out
        assert watching.returncode == 1


def test_stop_cascade_stops_a_whole_batch_and_the_batches_in_it(made: Fleet, cli: Cli) -> None:
    with made.client() as client:
        outer = client.batch("report_sales", {"month": "July"})
        inner = client.batch("report_sales", {"month": "July"}, parentJob=outer.id)
        for batch in (outer, inner):
            for _ in range(3):
                batch.add("waits")
            batch.close()
        ids = [
            outer.id,
            *(job["id"] for job in client.children(outer.id)),
            *(job["id"] for job in client.children(inner.id)),
        ]
        assert len(ids) == 8
        out = cli("stop", "--cascade", outer.id).stdout
        assert f"{outer.id}  7 jobs of its batch were told to stop" in out
        states = {job["state"] for job in ended(client, ids).values()}
        assert states == {"STOPPED"}


def test_a_thousand_and_more(made: Fleet) -> None:
    with made.client() as client:
        with client.batch("report_sales", {"month": "August"}) as batch:
            for shop in range(1200):
                batch.add("count_sales", {"shop": shop})
        assert client.result(batch.id, timeout=60) == {"month": "August", "sales": 7194000, "failed": 0}
        callback = client.get(batch.id)
        assert (callback["batch"]["total"], callback["attempts"]) == (1200, 1)
