"""`python -m bench.flow`: jobs per second through a limit, beside jobs without one; the delay of a turn; chains.

Each row starts processes of its own. `--before FOLDER` runs the first row in a checkout of an earlier commit too, in
turns with this one: compare the ratio.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import time
from contextlib import nullcontext
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from rich.console import Console

from bench.engine import THREADS, Row, cpu, engine, finished, percentiles, span, table
from geventjob import Client
from tests.support.fleet import until
from tests.support.zookeeper import Ensemble
from tests.support.zookeeper import running as running_ensemble

RUNNING = 100
"""Jobs that a limit lets run at once."""
KEYS = 10_000
TURNS = 200
SAMPLES = 200
"""Number of single adds."""
PAIRS = 3
"""Runs of each checkout, in turn."""


def flow(jobs: int, keys: int, zk_hosts: str) -> list[str]:
    """Measure jobs per second; `keys`: values that have a limit each, 0 for jobs without a limit."""
    with engine(zk_hosts) as made:
        server = made.server()
        client = made.client()
        if keys:
            client.set_limit("bench", "noop", per="payload.key", running=RUNNING)
        for first in range(0, jobs, 1_000):
            client.bulk_add(
                [{"action": "noop", "payload": {"key": n % max(keys, 1)}} for n in range(first, first + 1_000)]
            )
        before = cpu(server.pid)
        made.start_executor("bench", "--threads", THREADS)
        until(lambda: finished(made, jobs), 600, every=0.5)
        used, seconds = cpu(server.pid) - before, span(made)
    what = f"limit of {RUNNING}, {keys:,} {'key' if keys == 1 else 'keys'}" if keys else "no limit"
    return [what, f"{jobs:,}", f"{jobs / seconds:,.0f}/s", f"{1000 * used / jobs:.2f} s"]


def turn(waiting: int, zk_hosts: str) -> list[str]:
    """Measure the time from the end of a job to the start of the next under a limit of one, while others wait."""
    with engine(zk_hosts) as made:
        made.server()
        client = made.client()
        client.set_limit("bench", "noop", running=1)
        for first in range(0, waiting, 1_000):
            client.bulk_add([{"action": "noop", "priority": 900}] * min(1_000, waiting - first))
        ids = client.bulk_add([{"action": "noop", "priority": 5}] * TURNS)
        made.start_executor("bench", "--threads", THREADS)
        until(lambda: client.get(str(ids[-1]))["state"] == "SUCCESS", 300)
        found = client.search("job", filter="priority=5", orderby="started", select=["started", "updated"])["jobs"]
    times = [(_seconds(job["started"]), _seconds(job["updated"])) for job in found]
    times.sort()
    delays = [after[0] - job[1] for job, after in pairwise(times)]
    return [f"{waiting:,} others wait", *percentiles(delays)]


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()


def chain(length: int, zk_hosts: str) -> list[str]:
    """Measure a chain of no-ops from the start of the first job to the end of the last job, beside single adds."""
    with engine(zk_hosts) as made:
        made.server()
        made.executor("bench", "--threads", THREADS)
        client = made.client()
        single(client)
        alone = [single(client) for _ in range(SAMPLES // 2)]
        ids = [client.submit("noop", not_before="+1h")]
        for _ in range(length - 1):
            ids.append(client.submit("noop", after=ids[-1:]))
        began = time.monotonic()
        client.operation(ids[0], "release")
        until(lambda: is_over(client, ids[-1]), 600, every=0.01)
        each = (time.monotonic() - began) / length
        alone += [single(client) for _ in range(SAMPLES // 2)]  # the load of the machine may have changed
    mean = statistics.mean(alone)
    return [f"{length:,}", f"{1000 * mean:.1f} ms", f"{1000 * each:.1f} ms", f"{each / mean:.2f}"]


def single(client: Client) -> float:
    """Return the seconds from the add of a no-op until the client sees its end."""
    began = time.monotonic()
    id = client.submit("noop")
    until(lambda: is_over(client, id), every=0.001)
    return time.monotonic() - began


def is_over(client: Client, id: str) -> bool:
    state: str = client.get(id, select=["state"])["state"]
    return state == "SUCCESS"


def compared(before: str, jobs: int) -> list[str]:
    """Return rate and CPU of this checkout beside those of an earlier one, for jobs without a limit, run in turns."""
    figures = "row[2][:-2].replace(',', ''), row[3][:-2], row[4][:-2]"
    code = f"from bench.engine import noop; row = noop({jobs}); print({figures})"
    runs: dict[str, list[list[float]]] = {before: [], str(Path.cwd()): []}
    for _ in range(PAIRS):
        for folder, found in runs.items():
            python = f"{folder}/.venv/bin/python"
            done = subprocess.run([python, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
            rate, executor, server = map(float, done.stdout.split())
            found.append([rate, executor + server])
    (rate, cpu), (rate_now, cpu_now) = (
        [statistics.median(values) for values in zip(*found, strict=True)] for found in runs.values()
    )
    return [f"{rate:,.0f}/s", f"{rate_now:,.0f}/s", f"{rate_now / rate:.2f}", f"{cpu_now / cpu:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zookeeper", action="store_true", help="the queue in a ZooKeeper of its own")
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--waiting", default="100,100000", help="jobs that wait while turns are measured")
    parser.add_argument("--chain", type=int, default=1_000, help="jobs of the chain")
    parser.add_argument("--before", metavar="FOLDER", help="a checkout of an earlier commit, with its .venv")
    args = parser.parse_args()
    console = Console(width=120)
    with running_ensemble(Ensemble(tick=2000, fsync=True)) if args.zookeeper else nullcontext() as ensemble:
        hosts = ensemble.hosts if ensemble else ""
        where = "ZooKeeper" if hosts else "SQLite"
        rows: list[Row] = [lambda keys=keys: flow(args.jobs, keys, hosts) for keys in (0, 1, KEYS)]
        table(console, f"flow, queue in {where}", ("jobs", "count", "rate", "server per 1,000"), rows)
        rows = [lambda count=count: turn(int(count), hosts) for count in args.waiting.split(",")]
        table(console, f"an end to the next start, queue in {where}", ("line", "p50", "p95", "p99"), rows)
        columns = ("jobs of the chain", "one add to its end", "one job of the chain", "ratio")
        table(console, f"a chain of jobs, queue in {where}", columns, [lambda: chain(args.chain, hosts)])
        if args.before:
            rows = [lambda: compared(args.before, args.jobs)]
            table(console, "beside an earlier commit", ("then", "now", "ratio of the rates", "ratio of the CPU"), rows)


if __name__ == "__main__":
    main()
