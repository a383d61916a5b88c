"""ZooKeeper is restored from an older copy under a running fleet: every job ends without an operator."""

from __future__ import annotations

import shutil
from pathlib import Path

from geventjob.cimi.patience import patiently
from tests.support.fleet import ended, fleet, until
from tests.support.noted import ACTIONS, Notes, add
from tests.support.zookeeper import Ensemble, RawSession, running

RUNNING = 6


def test_jobs_that_ran_when_zookeeper_was_restored_run_again_and_one_that_is_stopped_ends_stopped(
    tmp_path: Path,
) -> None:
    notes = Notes(tmp_path / "notes")
    with running(Ensemble()) as zookeeper, fleet(tmp_path, zookeeper.hosts) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        # A busy machine may lose its session once more, after the round of the reconciler that follows the restore.
        made.server("--session-timeout", "2", "--reconcile-interval", "10")
        client = made.client()
        ids = [*add(client, notes, 1, "noted", 600, priority=1), *add(client, notes, RUNNING + 2, "noted", 6)]
        copy = zookeeper.copy_data()
        for _ in range(60):  # changes of which the copy knows nothing
            RawSession(zookeeper.port).close()
        executor = made.executor("first", "--threads", str(RUNNING), "--session-timeout", "2")
        until(lambda: client.search("job", filter="state='RUNNING'", last=0)["count"] == RUNNING)
        zookeeper.restore_data(copy)
        until(client.healthy)
        patiently(lambda: client.operation(ids[0], "stop"), 30)

        jobs = ended(client, ids, seconds=120)
        assert jobs[ids[0]]["state"] == "STOPPED"
        assert {jobs[id]["state"] for id in ids[1:]} == {"SUCCESS"}
        until(lambda: client.queue()["entries"] == 0)
        assert executor.running
        assert executor.log.count("ZooKeeper has gone back") == 1
        assert executor.log.count("belongs to another executor") <= 2 * RUNNING
