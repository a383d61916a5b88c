"""A ZooKeeper with a full quota: processes that start wait for room, with one line and no traceback."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from tests.support.fleet import Fleet, Process, fleet, until
from tests.support.quota import Quota
from tests.support.zookeeper import Ensemble, running

EACH_SECOND = """
from geventjob import Distributor, distributor

@distributor("each_second")
class EachSecond(Distributor):
    interval = 1

    def jobs(self):
        yield {"action": "dummy_test_action"}
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Fleet]:
    with running(Ensemble(enforceQuota="true")) as ensemble, fleet(tmp_path, ensemble.hosts) as made:
        yield made


@pytest.fixture
def quota(engine: Fleet) -> Iterator[Quota]:
    client = KazooClient(engine.zk_hosts)
    client.start()
    client.create(engine.zk_root)
    yield Quota(client, engine.zk_root)
    client.stop()
    client.close()


def waits(process: Process) -> None:
    """Wait for the line about the quota; the process lives on."""
    until(lambda: "QuotaExceededError" in process.log or not process.running)
    assert process.running, process.log
    assert "Traceback" not in process.log


def test_commands_that_start_at_a_full_quota_wait_for_room(engine: Fleet, quota: Quota) -> None:
    quota.leave(0)
    server = engine.start_server()
    waits(server)
    quota.lift()
    until(lambda: engine.client().healthy())

    quota.leave(0)
    executor = engine.start_executor("late")
    (engine.folder / "each_second.py").write_text(EACH_SECOND)
    distributor = engine.distributor("late-too", "each_second", "--distributors-dir", str(engine.folder))
    for process in (executor, distributor):
        waits(process)
    quota.lift()
    engine.await_nodes("late")
    until(lambda: engine.client().search("job", filter="action='dummy_test_action' and state='SUCCESS'")["jobs"])
    for process in (distributor, executor, server):
        lines = [line for line in process.log.splitlines() if "QuotaExceededError" in line]
        told = Counter(line.partition(" [-] ")[2].partition(":")[0] for line in lines)  # as "cannot stand for promoter"
        assert max(told.values()) <= 2, f"a line for each part and quota: {process.log}"
        assert "Traceback" not in process.log
        assert process.stop() == 0
