"""Several units with the same name, and names with blanks."""

from __future__ import annotations

from pathlib import Path

import pytest

from geventjob import Client
from tests.support.fleet import Fleet, Process, fleet, until
from tests.support.zookeeper import shared

ACTION = """
import time
from geventjob import action

@action("waits")
def waits(job):
    time.sleep(600)
"""


@pytest.mark.parametrize("zookeeper", [False, True], ids=["sqlite", "zookeeper"])
def test_units_of_one_name_get_numbers(tmp_path: Path, zookeeper: bool) -> None:
    with fleet(tmp_path, shared().hosts if zookeeper else "") as made:
        (made.actions_dir / "waits.py").write_text(ACTION)
        made.server()
        client = made.client()
        first = made.executor("M. Garrison")
        second = made.start_executor("M. Garrison")  # told apart by its PID: neither waits for a session timeout
        third = made.start_executor("M. Garrison")
        until(lambda: names(client) == ["M. Garrison", "M. Garrison-2", "M. Garrison-3"])
        assert "M. Garrison-2" in second.log + third.log
        assert "M. Garrison takes jobs from" in first.log
        stops_everywhere(client)
        leaders = [made.distributor("M. Garrison", "jobs_cleanup") for _ in range(2)]
        until(lambda: names(client, "distributor") == ["M. Garrison", "M. Garrison-2"])
        for process in (first, second, third, *leaders):
            assert process.stop() == 0


def stops_everywhere(client: Client) -> None:
    """Check that a stop message reaches an executor with blanks and a number in its name."""
    ids = [client.add("job", {"action": "waits"}) for _ in range(6)]
    until(lambda: all(client.get(id)["state"] == "RUNNING" for id in ids))
    for id in ids:
        client.operation(id, "stop")
    until(lambda: all(client.get(id)["state"] == "STOPPED" for id in ids))


def names(client: Client, role: str = "executor") -> list[str]:
    return sorted(node["name"] for node in client.nodes() if node["role"] == role)


def test_an_executor_says_which_queue_it_works(tmp_path: Path) -> None:
    with fleet(tmp_path) as made:
        made.server()
        process = made.executor("one")
        until(lambda: "one takes jobs from" in process.log)
        file = made.data_dir / "coordination.db"
        assert f"takes jobs from the file {file}, which is for this machine alone (no --zk-hosts)" in process.log


def test_an_executor_started_again_has_its_own_name(tmp_path: Path) -> None:
    with fleet(tmp_path, shared().hosts) as made:
        made.server()
        first = started(made)
        first.kill()
        again = started(made)
        assert names(made.client()) == ["one"]
        assert "is in use" not in again.log


def started(made: Fleet) -> Process:
    process = made.start_executor("one", "--session-timeout", "3")
    until(lambda: "one takes jobs" in process.log)
    return process
