"""`make bench`: what the engine does on this machine, server and executor beside each other, as a table.

Each row starts processes of its own over a fresh data folder. Figures of one run: read them as ±30 %.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from tests.fleet import Fleet, Process, fleet, until

ACTIONS = Path(__file__).parent / "actions.py"
THREADS = "200"
SAMPLES = 300


@contextmanager
def engine() -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory(prefix="geventjob-bench-") as folder, fleet(Path(folder)) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        yield made


def cpu(process: Process) -> float:
    """CPU seconds that a process has used, user and system."""
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def finished(made: Fleet, count: int, **more: str) -> bool:
    found = made.client().search("job", filter="state='SUCCESS'", last=0, **more)
    return bool(found["count"] >= count)


def noop(depth: int, executors: int = 1) -> list[str]:
    """Jobs per second from the first start to the last end, by the server's own times; CPU of each side."""
    with engine() as made:
        server = made.server()
        made.client().bulk_add([{"action": "noop"}] * depth)
        before = cpu(server)
        running = [made.start_executor(f"bench-{n}", "--threads", THREADS) for n in range(executors)]
        until(lambda: finished(made, depth), 300, every=0.5)
        found = made.client().search("job", last=0, aggregation="min:started,max:updated")["aggregations"]
        seconds = (found["max:updated"]["value"] - found["min:started"]["value"]) / 1000
        used = sum(cpu(process) for process in running), cpu(server) - before
    per_thousand = [f"{1000 * seconds_used / depth:.2f} s" for seconds_used in used]
    return [f"{depth:,} no-op jobs in the queue, {executors} executor(s)", f"{depth / seconds:,.0f}/s", *per_thousand]


def percentiles(samples: list[float]) -> list[str]:
    cuts = statistics.quantiles(samples, n=100)
    return [f"{1000 * cuts[cut - 1]:.1f} ms" for cut in (50, 95, 99)]


def latency(computing: int) -> list[str]:
    """From before the add until the action's first line, one job at a time."""
    with engine() as made:
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
    """Seconds for a fixed amount of computing."""
    turns = 4_000_000
    with engine() as made:
        made.server()
        made.executor("bench", "--threads", THREADS)
        client = made.client()
        client.bulk_add([{"action": action, "payload": {"turns": turns}}] * jobs)
        until(lambda: finished(made, jobs), 120, every=0.2)
        found = client.search("job", last=0, aggregation="min:started,max:updated")["aggregations"]
        seconds = (found["max:updated"]["value"] - found["min:started"]["value"]) / 1000
    return [f"{jobs} x {turns:,} turns, {action}", f"{seconds:.2f} s", f"{jobs * turns / seconds / 1e6:.1f} M turns/s"]


def table(console: Console, title: str, columns: tuple[str, ...], rows: list[Callable[[], list[str]]]) -> None:
    made = Table(*columns, title=title)
    for row in rows:
        made.add_row(*row())
    console.print(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depths", default="1000,20000", help="entries in the queue for the no-op rows")
    depths = [int(depth) for depth in parser.parse_args().depths.split(",")]
    console = Console(width=120)
    throughput: list[Any] = [lambda depth=depth: noop(depth) for depth in depths]
    table(
        console,
        f"no-op jobs, SQLite queue and store, {THREADS} slots",
        ("what", "rate", "executor CPU per 1,000", "server CPU per 1,000"),
        [*throughput, lambda: noop(depths[-1], 2)],
    )
    table(console, "latency", ("what", "p50", "p95", "p99"), [lambda: latency(0), lambda: latency(10)])
    kinds = [(action, jobs) for jobs in (1, 10) for action in ("compute_unsliced", "compute")]
    rows: list[Any] = [lambda action=action, jobs=jobs: slices(action, jobs) for action, jobs in kinds]
    table(console, "what time slices cost a computing action", ("what", "time", "speed"), rows)


if __name__ == "__main__":
    main()
