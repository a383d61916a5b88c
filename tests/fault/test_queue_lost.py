"""The queue is lost or moves: the jobs come back from the store (docs/architecture.md)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.fleet import Fleet, ended, fleet, until
from tests.support.noted import ACTIONS, Notes, add
from tests.support.zookeeper import shared

JOBS = 60


def lose_the_file(made: Fleet) -> None:
    for file in made.data_dir.glob("coordination.db*"):
        file.unlink()


def lose_zookeeper(made: Fleet) -> None:
    """Replace ZooKeeper by an empty server, which numbers entries from 0 again."""
    made.zk_root = f"/{uuid4().hex}"


def move_to_zookeeper(made: Fleet) -> None:
    made.zk_hosts = shared().hosts


def move_to_the_file(made: Fleet) -> None:
    made.zk_hosts = ""


@pytest.mark.parametrize(
    ("over_zookeeper", "change"),
    [(False, lose_the_file), (True, lose_zookeeper), (False, move_to_zookeeper), (True, move_to_the_file)],
)
def test_every_job_that_is_not_final_runs(
    tmp_path: Path, over_zookeeper: bool, change: Callable[[Fleet], None]
) -> None:
    notes = Notes(tmp_path / "notes")
    with fleet(tmp_path, shared().hosts if over_zookeeper else "") as made:
        shutil.copy(ACTIONS, made.actions_dir)
        server = made.server()
        executor = made.executor("first", "--threads", "5", "--session-timeout", "2")
        low = add(made.client(), notes, JOBS - 1, "noted", 0.3)
        until(lambda: made.client().search("job", filter="state='SUCCESS'", last=0)["count"] >= 5)
        executor.kill()
        server.kill()
        change(made)

        made.server()
        urgent = add(made.client(), notes, 1, "noted", 0.3, priority=1)
        did = reconcile(made)
        unfinished = made.client().search("job", filter="state='QUEUED' or state='RUNNING'", last=0)["count"]
        look = made.client().queue()
        assert did["jobs"] == unfinished == look["entries"]
        assert look["head"][0]["job"] == urgent[0]

        made.executor("second")
        jobs = ended(made.client(), [*low, *urgent])
        assert {job["state"] for job in jobs.values()} == {"SUCCESS"}
        begun = Counter(notes.jobs("begin"))
        for id, job in jobs.items():  # an attempt may be interrupted before its action begins
            assert job["attempts"] - job["interruptions"] <= begun[id] <= job["attempts"]
        assert sum(job["interruptions"] for job in jobs.values()) <= 5


def reconcile(made: Fleet) -> dict[str, int]:
    """Run `geventjob queue reconcile`; return the output."""
    login = ["--ss-url", made.url, *made.login]
    command = [sys.executable, "-m", "geventjob.cli.main", *login, "queue", "reconcile", "--json"]
    did: dict[str, int] = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    return did
