"""Rows of docs/performance.md, as a table and as JSON: `python -m bench.performance --rows W1,W4`.

`--against FOLDER` measures the checkout in FOLDER too, which has a `.venv` of its own, in turn with this one: compare
the ratios of one run, never two runs. Each row runs in a process of its own, `--runs` times; the table has the median,
the least and the greatest value.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent.resolve()
Figures = dict[str, float]

FETCH = """
import requests
from geventjob import action

@action("fetch")
def fetch(job):
    requests.get(job.payload["address"], timeout=30).raise_for_status()
"""


def jobs_of(
    action: str,
    count: int,
    slots: int,
    payload: dict[str, object] | None = None,
    executors: int = 1,
    zk: str = "",
    store: tuple[str, ...] = (),
) -> Figures:
    """Run jobs that stand in the queue; return rate, seconds, CPU of each side for 1,000 jobs, and the largest RSS.

    `store`: options of the server.
    """
    from bench.engine import cpu, engine, finished, span
    from tests.support.fleet import until

    with engine(zk) as made:
        (made.actions_dir / "fetch.py").write_text(FETCH)
        server = made.server(*store)
        made.client().bulk_add([{"action": action, "payload": payload or {}}] * count)
        before = cpu(server.pid)
        running = [made.start_executor(f"bench-{n}", "--threads", str(slots)) for n in range(executors)]
        until(lambda: finished(made, count), 600, every=0.5)
        return {
            "jobs/s": count / span(made),
            "seconds": span(made),
            "executor CPU s/1,000": 1000 * sum(cpu(process.pid) for process in running) / count,
            "server CPU s/1,000": 1000 * (cpu(server.pid) - before) / count,
            "RSS MiB": peak(running[0].pid),
        }


def peak(pid: int) -> float:
    """Return the largest resident size of a process so far, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def w1() -> Figures:
    return jobs_of("noop", 10_000, 200)


def w3() -> Figures:
    found = jobs_of("naps", 10_000, 1_000, {"naps": 1, "seconds": 1.0})
    return {"efficiency": 10 / found["seconds"], "RSS MiB": found["RSS MiB"]}


def w4() -> Figures:
    return _latency(0)


def w4_zookeeper() -> Figures:
    from tests.support.zookeeper import Ensemble, running

    with running(Ensemble(tick=2000, fsync=True)) as ensemble:
        return _latency(0, ensemble.hosts)


def w4_computing() -> Figures:
    return _latency(10)


def _latency(computing: int, zk: str = "") -> Figures:
    from bench.engine import latency

    _, p50, p95, p99 = latency(computing, zk)
    return {name: float(text.split()[0]) for name, text in (("p50 ms", p50), ("p95 ms", p95), ("p99 ms", p99))}


def w5(zk: str = "") -> Figures:
    from bench.depth import fed

    (short, soon), (deep, late) = fed(1_000, zk), fed(100_000, zk)
    return {
        "jobs/s at 1,000": short,
        "jobs/s at 100,000": deep,
        "of the rate at 1,000": deep / short,
        "first take at 1,000, ms": soon,
        "first take at 100,000, ms": late,
        "of the take at 1,000": late / soon,
    }


def w5_zookeeper() -> Figures:
    from tests.support.zookeeper import Ensemble, running

    with running(Ensemble(tick=2000, fsync=True)) as ensemble:
        return w5(ensemble.hosts)


def elasticsearch() -> Figures:
    from tests.support.elasticsearch import Cluster, running

    with running(Cluster()) as cluster:
        store = ("--es-hosts-list", cluster.hosts[0], "--es-index-prefix", "bench")
        there, here = jobs_of("noop", 10_000, 200, store=store), jobs_of("noop", 10_000, 200)
    return {
        "jobs/s": there["jobs/s"],
        "of the rate over SQLite": there["jobs/s"] / here["jobs/s"],
        "server CPU s/1,000": there["server CPU s/1,000"],
        "over SQLite": here["server CPU s/1,000"],
    }


FLEETS = (1, 2, 4, 8)


def w6(zk: str = "") -> Figures:
    return {f"{n} executors, jobs/s": jobs_of("noop", 10_000, 200, executors=n, zk=zk)["jobs/s"] for n in FLEETS}


def w6_zookeeper() -> Figures:
    from tests.support.zookeeper import Ensemble, running

    with running(Ensemble(tick=2000, fsync=True)) as ensemble:
        collisions = [sys.executable, "-m", "bench.zookeeper", "collisions", ensemble.hosts, *map(str, FLEETS)]
        done = subprocess.run(collisions, stdout=subprocess.PIPE, text=True, check=True)
        found = zip(FLEETS, json.loads(done.stdout), strict=True)
        return {**w6(ensemble.hosts), **{f"{n} takers, collisions, %": value for n, value in found}}


def w10(count: int = 10_000, slots: int = 500) -> Figures:
    with slow_server() as address:
        bare = bare_pool(address, count, slots)
        found = jobs_of("fetch", count, slots, {"address": address})
    return {"jobs/s": found["jobs/s"], "of the bare pool": found["jobs/s"] / bare, "bare pool, 1/s": bare}


@contextlib.contextmanager
def slow_server() -> Iterator[str]:
    """Yield the address of a server that answers after 100 ms."""
    import requests

    from tests.support.fleet import until

    with socket.socket() as probe:  # another checkout need not have free_port
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, HERE / "slow_server.py", str(port)])

    def answers() -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(address, timeout=5).ok
        return False

    address = f"http://127.0.0.1:{port}/"
    try:
        until(answers)
        yield address
    finally:
        process.kill()
        process.wait()


def bare_pool(address: str, count: int, slots: int) -> float:
    """Return the requests per second of greenlets without any engine."""
    command = [sys.executable, "-m", "gevent.monkey", str(HERE / "bare_pool.py"), address, str(count), str(slots)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


ROWS: dict[str, tuple[Callable[[], Figures], str]] = {
    "W1": (w1, "10,000 no-op jobs, 200 slots"),
    "W3": (w3, "10,000 naps of 1 s, 1,000 slots"),
    "W4": (w4, "enqueue to start, idle executor, SQLite"),
    "W4-zookeeper": (w4_zookeeper, "enqueue to start, idle executor, ZooKeeper of one node with fsync"),
    "W4-computing": (w4_computing, "enqueue to start, beside ten actions that compute"),
    "W5": (w5, "the queue kept at 100,000 jobs beside 1,000, SQLite"),
    "W5-zookeeper": (w5_zookeeper, "the queue kept at 100,000 jobs beside 1,000, ZooKeeper"),
    "W6": (w6, "10,000 no-op jobs, 1, 2, 4 and 8 executors, SQLite"),
    "W6-zookeeper": (w6_zookeeper, "10,000 no-op jobs, 1, 2, 4 and 8 executors, ZooKeeper"),
    "Elasticsearch": (elasticsearch, "10,000 no-op jobs, jobs in Elasticsearch (one node) beside SQLite"),
    "W10": (w10, "10,000 requests.get of a server that answers after 100 ms, 500 at once"),
}


def measured(row: str, folder: Path) -> Figures:
    """Return the figures of one run of a row in a checkout."""
    command = [str(folder / ".venv/bin/python"), str(HERE / "performance.py"), "--once", row]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {name: float(value) for name, value in json.loads(done.stdout.splitlines()[-1]).items()}


def spread(values: list[float]) -> str:
    """Return the median of the values, with the least and the greatest."""
    if len(values) == 1:
        return f"{values[0]:.4g}"
    return f"{statistics.median(values):.4g} ({min(values):.4g}-{max(values):.4g})"


def report(rows: list[str], folders: dict[str, Path], runs: int) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Measure the rows, the checkouts in turn, and print a table for each; return all values."""
    from rich.console import Console
    from rich.table import Table

    console, kept = Console(width=120), dict[str, dict[str, dict[str, list[float]]]]()
    for row in rows:
        values: dict[str, dict[str, list[float]]] = {}
        for _ in range(runs):
            for name, folder in folders.items():
                for figure, value in measured(row, folder).items():
                    values.setdefault(figure, {}).setdefault(name, []).append(value)
        table = Table("figure", *folders, *(["ratio"] if len(folders) > 1 else []), title=f"{row}: {ROWS[row][1]}")
        for figure, found in values.items():
            here, *others = (statistics.median(found[name]) for name in folders)
            ratio = [f"{here / others[0]:.2f}"] if others and others[0] else []
            table.add_row(figure, *(spread(found[name]) for name in folders), *ratio)
        console.print(table)
        kept[row] = values
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default=",".join(ROWS), help="comma-separated; all by default")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--against", type=Path, help="folder of another checkout with its .venv")
    parser.add_argument("--json", type=Path, help="file for all values")
    parser.add_argument("--once", choices=ROWS, help="print the figures of one run of a row as JSON")
    args = parser.parse_args()
    if args.once:
        print(json.dumps(ROWS[args.once][0]()))
        return
    folders = {"this build": HERE.parent, **({"the other": args.against.resolve()} if args.against else {})}
    kept = report(args.rows.split(","), folders, args.runs)
    if args.json:
        args.json.write_text(json.dumps({"measured": time.strftime("%F"), "rows": kept}, indent=1) + "\n")


if __name__ == "__main__":
    main()
