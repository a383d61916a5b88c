"""A fleet over three ZooKeeper nodes, which are killed one after the other while jobs run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from geventjob import Client
from tests.support.fleet import Fleet, ended, fleet, until
from tests.support.mixed import ACTIONS, Mixed
from tests.support.zookeeper import Ensemble, running

TICKER = """
from geventjob import Distributor, distributor

@distributor("ticker")
class Ticker(Distributor):
    interval = 1
    unless_pending = False

    def jobs(self):
        yield {"action": "answers", "name": "tick", "payload": {"code": 0}}
"""


def submit(made: Fleet, action: str, *arguments: str) -> subprocess.Popen[bytes]:
    login = ["--ss-url", made.url, *made.login]
    command = [sys.executable, "-m", "geventjob.cli.main", *login, "submit", action, *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def final(client: Client, action: str) -> int:
    found = client.search("job", filter=f"action='{action}' and state='SUCCESS'", last=0)
    return int(found["count"])


def test_jobs_of_every_outcome_end_right(tmp_path: Path) -> None:
    (tmp_path / "distributors").mkdir()
    (tmp_path / "distributors" / "ticker.py").write_text(TICKER)
    with running(Ensemble(3)) as ensemble, fleet(tmp_path, ensemble.hosts) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        made.server()
        for name in ("first", "second"):
            made.executor(name, "--threads", "100", "--unknown-grace", "3")
        clock = made.distributor("clock", f"--distributors-dir={tmp_path / 'distributors'}", "ticker")
        client = made.client()

        half = submit(made, "waits", "--payload", '{"seconds": 0.2}', "--count", "500", "--wait")
        until(lambda: final(client, "waits") > 50, 60)
        leader = ensemble.leader
        leader.kill()
        assert half.poll() is None, "it was killed meanwhile"
        until(lambda: final(client, "waits") > 300, 60)
        leader.start()
        assert half.wait(60) == 0
        leader.await_ready()

        mixed = Mixed(client, 0.5)
        until(lambda: final(client, "succeeds") > 100, 60)
        follower = next(server for server in ensemble.servers if not server.leads())
        follower.kill()
        until(mixed.stop_running, 60)
        mixed.check(ended(client, list(mixed.kinds), 120), made.actions_dir)
        follower.start()

        assert clock.stop() == 0
        ticks = client.search("job", filter="name='tick'")["jobs"]
        assert len({job["idempotencyKey"] for job in ticks}) == len(ticks) > 3
        everything = client.search("job", filter="name='tick' or action='waits'", last=2000)["jobs"]
        jobs = ended(client, [job["id"] for job in everything])
        not_begun = {id for id, kind in mixed.kinds.items() if kind.stop_when == "QUEUED"}
        assert {job["attempts"] for id, job in jobs.items() if id not in not_begun} == {1}, "no session was lost"
        assert all(jobs[id]["attempts"] <= 1 for id in not_begun), "no session was lost"
        until(lambda: client.queue()["entries"] == 0)
