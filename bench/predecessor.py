"""The predecessor's way beside geventjob's: one kazoo `LockingQueue` for each greenlet, one request for each change.

Both work the same queue of no-op jobs over the same ZooKeeper and job server. `python -m bench.predecessor`.
"""

import geventjob.patch  # noqa: F401, I001  (first of all)

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import gevent
from kazoo.client import KazooClient
from kazoo.handlers.gevent import SequentialGeventHandler
from rich.console import Console
from rich.table import Table

from bench.engine import add, finished, noop, span
from geventjob import Client
from tests.support.fleet import PASSWORD, fleet, until
from tests.support.zookeeper import Ensemble, running

GREENLETS = (8, 50)
JOBS = 1_000
PATIENCE = 120.0
"""Seconds after which a row is given up, and says how far it came."""


def work(hosts: str, url: str, greenlets: int) -> None:
    """Start an executor of the old engine."""
    client = Client(url, "super", PASSWORD, connections=greenlets)
    kazoo = KazooClient(hosts, handler=SequentialGeventHandler())
    kazoo.start()

    def serve() -> None:
        queue = kazoo.LockingQueue("/job")
        while True:
            job = queue.get().decode()
            client.get(job)
            client.edit(job, {"state": "RUNNING"})
            client.edit(job, {"state": "SUCCESS"})
            queue.consume()

    gevent.joinall([gevent.spawn(serve) for _ in range(greenlets)], raise_error=True)


def old(ensemble: Ensemble, greenlets: int) -> list[str]:
    root = f"/bench-{time.time_ns()}"
    with TemporaryDirectory() as folder, fleet(Path(folder), ensemble.hosts) as made:
        made.zk_root = root
        made.server()
        add(made, JOBS)
        command = [sys.executable, "-m", "bench.predecessor", "work", ensemble.hosts + root, made.url, str(greenlets)]
        worker = subprocess.Popen(command)
        try:
            until(lambda: finished(made, JOBS), PATIENCE, every=0.5)
            rate = f"{JOBS / span(made):,.0f}/s"
        except AssertionError:
            done = made.client().search("job", filter="state='SUCCESS'", last=0)["count"]
            rate = f"{done} of {JOBS:,} in {PATIENCE:g} s"
        finally:
            worker.kill()
            worker.wait()
    return [f"a LockingQueue for each of {greenlets} greenlets", rate]


def main() -> None:
    with running(Ensemble(tick=2000, fsync=True)) as ensemble:
        table = Table("way", "rate", title=f"{JOBS:,} no-op jobs in a queue over ZooKeeper")
        for greenlets in GREENLETS:
            table.add_row(*old(ensemble, greenlets))
        table.add_row("geventjob, 200 slots", noop(JOBS, 1, ensemble)[2])
        Console().print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
