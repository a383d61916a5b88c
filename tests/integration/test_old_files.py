"""Actions and distributors of SlipStream's engine, unchanged, beside the package slipstream-api."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from geventjob import Client
from tests.support.elasticsearch import ask
from tests.support.elasticsearch import shared as elasticsearch
from tests.support.fleet import Fleet, fleet, until
from tests.support.ports import free_port
from tests.support.slipstream_fleet import SlipStreamFleet, job_ended, slipstream_fleet
from tests.support.zookeeper import shared

TESTS = Path(__file__).parent.parent
ACTIONS = TESTS / "actions" / "old"
SCRIPT = TESTS / "distributors" / "old" / "job_distributor_old_inventory.py"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SlipStreamFleet]:
    with slipstream_fleet(tmp_path, shared().hosts) as made:
        shutil.copytree(ACTIONS, made.actions_dir, dirs_exist_ok=True)
        yield made


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Fleet]:
    """Yield a fleet with the server of geventjob."""
    with fleet(tmp_path) as made:
        shutil.copytree(ACTIONS, made.actions_dir, dirs_exist_ok=True)
        made.server()
        yield made


def inventoried(client: Client, shelf: str) -> None:
    """Check that the distributor has created the job of this shelf once, and that the action has run."""
    filter = f"action='old_inventory' and targetResource/href='{shelf}'"
    [made] = until(lambda: client.search("job", filter=filter)["jobs"])
    job = job_ended(client, made["id"])
    assert job["state"] == "SUCCESS", job
    said = job["statusMessage"]
    assert said.startswith(f"target {shelf}, ")
    assert said.endswith("me among them: True, parent None, missing True, state RUNNING")
    assert [each["href"] for each in job["affectedResources"]] == [shelf, "inventory/one", "inventory/two"]
    assert client.search("job", filter=filter)["count"] == 1


def test_they_serve_slipstream(engine: SlipStreamFleet) -> None:
    client = engine.serve()
    executor = engine.executor("one")
    engine.distributor("leader", f"--distributors-dir={SCRIPT.parent}", "--allow-unsafe-plugins", "old_inventory")
    for shelf in ("shelf/0", "shelf/1"):
        inventoried(client, shelf)
    assert "Inventory started" in executor.log
    assert "(old_inventory)" in executor.log or "old_inventory]" in executor.log


def test_they_serve_our_own_server(own: Fleet) -> None:
    own.executor("one")
    own.distributor("leader", f"--distributors-dir={SCRIPT.parent}", "--allow-unsafe-plugins", "old_inventory")
    inventoried(own.client(), "shelf/1")


@pytest.mark.parametrize("server", ["own", "engine"])
def test_whatever_the_old_engine_gave_an_action_is_there(server: str, request: pytest.FixtureRequest) -> None:
    made: Fleet = request.getfixturevalue(server)
    client = made.serve() if isinstance(made, SlipStreamFleet) else made.client()
    executor = made.executor("M. Garrison", "--threads", "7")
    job = job_ended(client, client.add("job", {"action": "old_everything"}))
    assert (job["state"], job["returnCode"]) == ("FAILED", 0), job
    assert json.loads(job["statusMessage"]) == {
        "job": "old_everything",
        "name": "M. Garrison",
        "user": "super",
        "endpoint": made.url,
        "threads": 7,
        "connectors": "10 of them",
    }
    id = client.add("job", {"action": "old_until_stopped"})
    until(lambda: client.get(id).get("progress") == 1)
    assert executor.stop() == 0
    job = client.get(id)
    assert (job["state"], job["statusMessage"]) == ("SUCCESS", "stopped by itself"), job


def test_the_script_itself_becomes_a_distributor(engine: SlipStreamFleet) -> None:
    client = engine.serve()
    options = ["--ss-url", engine.url, *engine.login, "--zk-hosts", engine.zk_hosts, "--zk-root", engine.zk_root]
    with (engine.folder / "script.log").open("ab") as log:
        script = subprocess.Popen([sys.executable, str(SCRIPT), *options, "--name", "script"], stdout=log, stderr=log)
    try:
        assert until(lambda: client.search("job", filter="action='old_inventory'")["count"] == 2)
    finally:
        script.terminate()
        assert script.wait(20) == 0


def test_old_and_new_leaders_of_one_kind_exclude_each_other(engine: SlipStreamFleet) -> None:
    """`/election/cleanup_jobs` is where SlipStream's jobs_cleanup stands, by kazoo's recipe."""
    client = engine.serve()
    kazoo = engine.zookeeper
    leads, resign = threading.Event(), threading.Event()

    def lead() -> None:
        leads.set()
        resign.wait()

    def stand() -> threading.Thread:
        thread = threading.Thread(target=lambda: kazoo.Election("/election/cleanup_jobs", "old").run(lead), daemon=True)
        thread.start()
        return thread

    def candidates() -> int:
        return len(kazoo.get_children("/election/cleanup_jobs"))

    def added() -> int:
        return int(client.search("job", filter="action='cleanup_jobs'", last=0)["count"])

    old = stand()
    assert leads.wait(20)
    ours = engine.distributor("new", "jobs_cleanup")
    until(lambda: candidates() == 2)
    assert "leads" not in ours.log
    assert added() == 0
    resign.set()
    old.join()
    until(lambda: added() == 1)
    until(lambda: "jobs_cleanup added job/" in ours.log)
    leads.clear()
    resign.clear()
    old = stand()
    until(lambda: candidates() == 2)
    assert not leads.is_set()
    assert ours.stop() == 0
    assert leads.wait(20)
    resign.set()
    old.join()


# --- deleting by query


def days_ago(days: float) -> str:
    moment = datetime.now(timezone.utc) - timedelta(days=days)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def fill(host: str, index: str) -> None:
    """Return documents of a SlipStream job index: for each state a new and an old document."""
    keyword, date = {"type": "keyword"}, {"type": "date"}
    if ask(host, "GET", f"/_cat/indices/{index}*?format=json"):
        ask(host, "DELETE", f"/{index}")
    ask(host, "PUT", f"/{index}", {"mappings": {"properties": {"state": keyword, "created": date}}})
    for state in ("SUCCESS", "FAILED", "STOPPED", "RUNNING"):
        for days in (6, 8, 31):
            document = {"id": f"job/{state}-{days}", "state": state, "created": days_ago(days)}
            ask(host, "PUT", f"/{index}/_doc/{state}-{days}", document)
    ask(host, "POST", f"/{index}/_refresh")


def left(host: str, index: str) -> list[str]:
    ask(host, "POST", f"/{index}/_refresh")
    return sorted(hit["_id"] for hit in ask(host, "GET", f"/{index}/_search?size=100")["hits"]["hits"])


def test_cleaning_up_in_elasticsearch(engine: SlipStreamFleet) -> None:
    """By an old action, and by the shipped `jobs_cleanup`, like SlipStream's action of the same name."""
    host = elasticsearch()
    client = engine.serve()
    engine.executor("one", "--es-hosts-list", host)
    fill(host, "slipstream-job")
    fill(host, "records")
    cleanup = client.add("job", {"action": "cleanup_jobs", "targetResource": {"href": "job"}})
    records = client.add("job", {"action": "old_records_cleanup", "targetResource": {"href": "records"}})
    job = job_ended(client, cleanup)
    assert (job["state"], job["statusMessage"]) == ("SUCCESS", "4 jobs deleted that were added more than 7 days ago")
    kept = [f"{state}-{days}" for state in ("RUNNING", "STOPPED") for days in (31, 6, 8)]
    assert left(host, "slipstream-job") == sorted([*kept, "SUCCESS-6", "FAILED-6"])
    job = job_ended(client, records)
    assert (job["state"], job["statusMessage"]) == ("SUCCESS", "Cleanup finished. Removed 4 records.")
    assert len(left(host, "records")) == 8


def test_our_own_server_is_asked_and_no_index(own: Fleet) -> None:
    """There is none: `jobs_cleanup` would fail."""
    host = f"127.0.0.1:{free_port()}"
    own.executor("one", "--es-hosts-list", host, "--cleanup-days", "0.000000001")
    client = own.client()
    old = client.add("job", {"action": "old_inventory", "targetResource": {"href": "shelf/9"}})
    job_ended(client, old)
    cleanup = client.add("job", {"action": "jobs_cleanup", "targetResource": {"href": "job"}})
    assert job_ended(client, cleanup)["statusMessage"].startswith("1 jobs deleted that ended more than")
