"""`python -m bench.gate`: jobs before the queue: the delay of their start, and the cost of the wait."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path

from rich.console import Console

from bench.engine import THREADS, Row, cpu, engine, percentiles, table
from geventjob.clock import cimi_time, moment_of, now
from geventjob.server.life.changes import added
from geventjob.server.life.wait import Hold, hold
from geventjob.server.store.base import Insert
from geventjob.server.store.sqlite import SqliteStore
from tests.support.fleet import until
from tests.support.zookeeper import Ensemble
from tests.support.zookeeper import running as running_ensemble

SAMPLES = 200
DUE = 10_000
"""Jobs that are due in one second."""
WATCHED = 60.0
"""Seconds for which the CPU of a server with waiting jobs is measured."""
ACL = {"owner": {"principal": "ADMIN", "type": "ROLE"}}


def lateness(zk_hosts: str) -> list[str]:
    """Measure the time from `notBefore` until the first line of the action, one job at a time."""
    with engine(zk_hosts) as made:
        made.server()
        made.executor("bench", "--threads", THREADS)
        client = made.client()
        stamps = Path(made.folder / "stamps")
        stamps.touch()
        due: dict[int, float] = {}
        for n in range(SAMPLES):
            moment = now() + timedelta(seconds=0.2)
            due[n] = moment_of(cimi_time(moment)).timestamp()
            job = {"action": "stamp", "payload": {"file": str(stamps), "n": n}, "notBefore": cimi_time(moment)}
            client.add("job", job)
            until(lambda n=n: stamps.read_text().count("\n") > n, every=0.001)
        started = dict(line.split() for line in stamps.read_text().splitlines())
    return ["due to start, idle", *percentiles([float(started[str(n)]) - due[n] for n in due])]


def burst(zk_hosts: str) -> list[str]:
    """Measure the time until all jobs of one second are in the queue."""
    with engine(zk_hosts) as made:
        made.server()
        client = made.client()
        moment = now() + timedelta(seconds=30)
        for _ in range(DUE // 1_000):
            client.bulk_add([{"action": "noop", "notBefore": cimi_time(moment)}] * 1_000)
        assert now() < moment, "too slow to add the jobs in time"
        until(lambda: client.queue()["entries"] >= DUE, 120, every=0.02)
        late = (now() - moment).total_seconds()
    return [f"{DUE:,} due at once, all in the queue after", f"{late:.2f} s"]


def waiting(count: int, zk_hosts: str) -> list[str]:
    """Measure the CPU of a server with so many jobs for tomorrow."""
    with engine(zk_hosts) as made:
        store = SqliteStore(made.data_dir / "store.db")
        store.start()
        for page in pages(count):
            store.write([Insert(job) for job in page])
        store.close()
        server = made.server()
        until(lambda: made.client().search("job", last=0)["count"] == count)
        time.sleep(5)
        before, since = cpu(server.pid), time.monotonic()
        time.sleep(WATCHED)
        share = (cpu(server.pid) - before) / (time.monotonic() - since)
        entries = made.client().queue()["entries"]
    return [f"{count:,} wait", f"{100 * share:.2f} % of a core", f"{entries} entries"]


def pages(count: int) -> Iterator[list[dict[str, object]]]:
    """Yield new jobs for tomorrow, a thousand at a time."""
    moment: datetime = now()
    until = cimi_time(moment + timedelta(days=1))
    for first in range(0, count, 1_000):
        page = []
        for n in range(first, min(first + 1_000, count)):
            job = added({"action": "noop"}, id=f"job/{n:012}", now=moment, acl=ACL)
            hold(job, Hold("notBefore", "", until))
            page.append(job)
        yield page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zookeeper", action="store_true", help="the queue in a ZooKeeper of its own")
    parser.add_argument("--waiting", type=int, default=100_000, help="jobs that wait for a day")
    args = parser.parse_args()
    console = Console(width=120)
    with running_ensemble(Ensemble(tick=2000, fsync=True)) if args.zookeeper else nullcontext() as ensemble:
        hosts = ensemble.hosts if ensemble else ""
        where = "ZooKeeper" if hosts else "SQLite"
        table(console, f"latency, queue in {where}", ("what", "p50", "p95", "p99"), [lambda: lateness(hosts)])
        rows: list[Row] = [lambda: burst(hosts)]
        table(console, f"a burst, queue in {where}", ("what", "late"), rows)
        counts = (0, args.waiting)
        rows = [lambda count=count: waiting(count, hosts) for count in counts]
        table(console, f"jobs that wait, queue in {where}", ("jobs", "CPU of the server", "queue"), rows)


if __name__ == "__main__":
    main()
