"""`make bench`: the engine on this machine, server and executor side by side, as a table.

Each row starts processes of its own over a fresh data folder. Figures of one run: read them as ±30 %.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from tests.support import elasticsearch
from tests.support.fleet import Fleet, fleet, until
from tests.support.zookeeper import Ensemble
from tests.support.zookeeper import running as running_ensemble

ACTIONS = Path(__file__).parent / "actions.py"
THREADS = "200"
SAMPLES = 300
SIDES = ("executor", "server", "zookeeper")

Row = Callable[[], list[str]]


@contextmanager
def engine(zk_hosts: str = "") -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="geventjob-bench-") as folder, fleet(Path(folder), zk_hosts) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        yield made


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process, user and system."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def finished(made: Fleet, count: int, **more: str) -> bool:
    found = made.client().search("job", filter="state='SUCCESS'", last=0, **more)
    return bool(found["count"] >= count)


def add(made: Fleet, count: int) -> None:
    made.client().bulk_add([{"action": "noop"}] * count)


def span(made: Fleet) -> float:
    """Return the seconds from the first start to the last end, by the server's clock."""
    found = made.client().search("job", last=0, aggregation="min:started,max:updated")["aggregations"]
    return float(found["max:updated"]["value"] - found["min:started"]["value"]) / 1000


def noop(depth: int, executors: int = 1, ensemble: Ensemble | None = None, es_host: str = "") -> list[str]:
    """Print jobs per second, and CPU of each side per 1,000 jobs."""
    store = ["--es-hosts-list", es_host, "--es-index-prefix", f"bench-{depth}"] if es_host else []
    with engine(ensemble.hosts if ensemble else "") as made:
        sides = {"server": [made.server(*store).pid]}
        add(made, depth)
        if ensemble:
            sides["zookeeper"] = [server.pid for server in ensemble.servers]
        before = {side: sum(map(cpu, pids)) for side, pids in sides.items()}
        running = [made.start_executor(f"bench-{n}", "--threads", THREADS) for n in range(executors)]
        sides["executor"] = [process.pid for process in running]
        until(lambda: finished(made, depth), 600, every=0.5)
        used = {side: sum(map(cpu, pids)) - before.get(side, 0.0) for side, pids in sides.items()}
        seconds = span(made)
    shown = [f"{1000 * used[side] / depth:.2f} s" if side in used else "" for side in SIDES]
    return [f"{depth:,}", str(executors), f"{depth / seconds:,.0f}/s", *shown]


def percentiles(samples: list[float]) -> list[str]:
    cuts = statistics.quantiles(samples, n=100)
    return [f"{1000 * cuts[cut - 1]:.1f} ms" for cut in (50, 95, 99)]


def latency(computing: int, zk_hosts: str = "") -> list[str]:
    """Measure the time from before the add until the action's first line, one job at a time."""
    with engine(zk_hosts) as made:
        made.server()
        made.executor("bench", "--threads", THREADS)
        client = made.client()
        if computing:
            job = {"action": "compute_for", "payload": {"seconds": 600}}
            client.bulk_add([job] * computing)
            until(lambda: client.search("job", filter="state='RUNNING'", last=0)["count"] == computing)
        stamps = Path(made.folder / "stamps")
        stamps.touch()
        added = {}
        for n in range(SAMPLES):
            added[n] = time.time()
            client.add("job", {"action": "stamp", "payload": {"file": str(stamps), "n": n}})
            until(lambda n=n: stamps.read_text().count("\n") > n, every=0.001)
        started = dict(line.split() for line in stamps.read_text().splitlines())
    beside = f"beside {computing} that compute" if computing else "executor idle"
    return [f"enqueue to start, {beside}", *percentiles([float(started[str(n)]) - added[n] for n in added])]


def slices(action: str, jobs: int) -> list[str]:
    """Return the seconds for a fixed amount of computing."""
    turns = 4_000_000
    with engine() as made:
        made.server()
        made.executor("bench", "--threads", THREADS)
        client = made.client()
        client.bulk_add([{"action": action, "payload": {"turns": turns}}] * jobs)
        until(lambda: finished(made, jobs), 120, every=0.2)
        seconds = span(made)
    return [f"{jobs} x {turns:,} turns, {action}", f"{seconds:.2f} s", f"{jobs * turns / seconds / 1e6:.1f} M turns/s"]


def table(console: Console, title: str, columns: tuple[str, ...], rows: list[Row]) -> None:
    made = Table(*columns, title=title)
    for row in rows:
        made.add_row(*row()[: len(columns)])
    console.print(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depths", default="1000,20000", help="entries in the queue for the no-op rows")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--zookeeper", action="store_true", help="the queue in a ZooKeeper of its own")
    kind.add_argument("--elasticsearch", action="store_true", help="only the jobs in an Elasticsearch of their own")
    args = parser.parse_args()
    depths = [int(depth) for depth in args.depths.split(",")]
    console = Console(width=120)
    if args.elasticsearch:
        stores(console, depths)
    else:
        with running_ensemble(Ensemble(tick=2000, fsync=True)) if args.zookeeper else nullcontext() as ensemble:
            report(console, depths, ensemble)


def stores(console: Console, depths: list[int]) -> None:
    columns = ("jobs", "executors", "rate", "executor CPU per 1,000", "server CPU per 1,000")
    with elasticsearch.running(elasticsearch.Cluster()) as cluster:
        for title, host in (("jobs in SQLite", ""), ("jobs in Elasticsearch, one node", cluster.hosts[0])):
            table(
                console, title, columns, [lambda depth=depth, host=host: noop(depth, es_host=host) for depth in depths]
            )


def report(console: Console, depths: list[int], ensemble: Ensemble | None) -> None:
    where, hosts = ("ZooKeeper", ensemble.hosts) if ensemble else ("SQLite", "")
    rows: list[Row] = [lambda depth=depth: noop(depth, 1, ensemble) for depth in depths]
    rows += [lambda executors=executors: noop(depths[-1], executors, ensemble) for executors in (2, 4)]
    cpus = [f"{side} CPU per 1,000" for side in SIDES if ensemble or side != "zookeeper"]
    title = f"no-op jobs that stand in the queue, {THREADS} slots an executor, queue in {where}"
    table(console, title, ("entries", "executors", "rate", *cpus), rows)
    table(console, "latency", ("what", "p50", "p95", "p99"), [lambda: latency(0, hosts), lambda: latency(10, hosts)])
    if not ensemble:
        kinds = [(action, jobs) for jobs in (1, 10) for action in ("compute_unsliced", "compute")]
        rows = [lambda action=action, jobs=jobs: slices(action, jobs) for action, jobs in kinds]
        table(console, "what time slices cost a computing action", ("what", "time", "speed"), rows)


if __name__ == "__main__":
    main()
