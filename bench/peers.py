"""Other engines beside geventjob in one run, as a table and as JSON: `make bench PEERS=1`, or `python -m bench.peers`.

One worker process for each engine, results kept, on this machine. The others work through a Redis of their own
(Debian's `redis-server`), which keeps nothing on the disk; geventjob through its job server and SQLite, which keeps
everything.
The engines are measured in turn, `--runs` times; the table has the median, the least and the greatest value.
`pip install -e .[bench]` brings the engines.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from bench import peer
from bench.performance import Figures, bare_pool, jobs_of, peak, slow_server, spread, w3, w4
from tests.support.fleet import until
from tests.support.ports import free_port

BIN = Path(sys.executable).parent
OURS = "geventjob"
KINDS = {"W1": "noop", "W3": "nap", "W4": "stamp", "W10": "fetch"}
SLOTS = {"W1": 200, "W3": 1_000, "W4": 200, "W10": 500}
TITLES = {
    "W1": "10,000 no-op jobs, 200 slots", "W3": "10,000 naps of 1 s, 1,000 slots",
    "W4": "enqueue to start, idle worker", "W10": "10,000 requests.get of 100 ms, 500 slots",
}  # fmt: skip
COUNT = 10_000
SAMPLES = 300
ENOUGH = 9_700
"""Results of other engines at which the clock stops: Dramatiq tries some tasks again, half a minute later."""


@contextmanager
def redis() -> Iterator[str]:
    """Yield the address of a Redis server."""
    port = free_port()
    with TemporaryDirectory() as folder:
        process = subprocess.Popen(["redis-server", "--port", str(port), "--dir", folder, "--save", ""], stdout=-3)
        try:
            from redis import Redis

            url = f"redis://127.0.0.1:{port}"
            until(lambda: answers(Redis.from_url(url)))
            yield url
        finally:
            process.kill()
            process.wait()


def answers(server: Any) -> bool:
    try:
        return bool(server.ping())
    except OSError:
        return False
    except Exception as error:
        if "Connection" in type(error).__name__:
            return False
        raise


@contextmanager
def worker(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    program = str(BIN / command[0])
    process = subprocess.Popen([program, *command[1:]], stdout=-3, stderr=-3, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def all_of(pid: int) -> list[psutil.Process]:
    """Return a process and all that it has started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def cpu_of(pid: int) -> float:
    return float(sum(sum(process.cpu_times()[:2]) for process in all_of(pid)))


def once(name: str, row: str) -> Figures | None:
    """Measure an engine other than ours, in this process alone; None where the engine cannot do the work."""
    module = peer.load(name)
    if KINDS[row] not in module.KINDS:
        return None
    command = [part.format(slots=SLOTS[row], url=peer.url(0)) for part in module.COMMAND]
    if row == "W4":
        with worker(command):
            return delays(module.stamp)
    with slow_server() if row == "W10" else TemporaryDirectory() as address:
        arguments: dict[str, list[Any]] = {"W3": [1.0], "W10": [address]}
        module.add(KINDS[row], COUNT, *arguments.get(row, []))
        with worker(command) as process:
            first = until(module.done, 60, every=0.01)
            began, used = time.monotonic(), cpu_of(process.pid)
            last = until(lambda: module.done() >= ENOUGH and module.done(), 300, every=0.05)
            seconds = time.monotonic() - began
            used = cpu_of(process.pid) - used
            rss = max(peak(each.pid) for each in all_of(process.pid))
    if row == "W3":
        return {"efficiency": 10 * last / COUNT / (seconds + 1), "RSS MiB": rss}
    return {"jobs/s": (last - first) / seconds, "worker CPU s/1,000": 1000 * used / (last - first)}


def delays(start: Callable[[], float]) -> Figures:
    """Return percentiles of the delay between adding a task and its start, one task at a time."""
    start()
    samples = [-time.time() + start() for _ in range(SAMPLES)]
    cuts = statistics.quantiles(samples, n=100)
    return {f"p{cut} ms": 1000 * cuts[cut - 1] for cut in (50, 95, 99)}


def ours(row: str) -> Figures:
    """Measure geventjob."""
    if row == "W3":
        return w3()
    if row == "W4":
        return w4()
    with slow_server() as address:
        found = jobs_of(KINDS[row], COUNT, SLOTS[row], {"address": address} if row == "W10" else {})
    return {
        "jobs/s": found["jobs/s"],
        "worker CPU s/1,000": found["executor CPU s/1,000"],
        "server CPU s/1,000": found["server CPU s/1,000"],
    }


def bare() -> Figures:
    """Measure a pool of greenlets without any engine."""
    with slow_server() as address:
        return {"jobs/s": bare_pool(address, COUNT, SLOTS["W10"])}


def measured(name: str, row: str) -> Figures | None:
    """Measure an engine in a process of its own, with a Redis of its own."""
    if name == OURS:
        return ours(row)
    if name == "bare pool":
        return bare()
    with redis() as url:
        done = subprocess.run(
            [sys.executable, "-m", "bench.peers", "--once", name, "--rows", row],
            env={**os.environ, "BENCH_REDIS": url, "BENCH_SLOTS": str(SLOTS[row])},
            stdout=subprocess.PIPE,
            text=True,
        )
    if done.returncode:
        print(f"{name}, {row}: failed", file=sys.stderr)
        return None
    found: Figures | None = json.loads(done.stdout.splitlines()[-1])
    return found


def report(rows: list[str], engines: list[str], runs: int) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Measure the rows, the engines in turn, and print a table for each; return all values."""
    console, kept = Console(width=120), dict[str, dict[str, dict[str, list[float]]]]()
    for row in rows:
        values: dict[str, dict[str, list[float]]] = {}
        for _ in range(runs):
            for name in [*engines, *(["bare pool"] if row == "W10" else [])]:
                for figure, value in (measured(name, row) or {}).items():
                    values.setdefault(name, {}).setdefault(figure, []).append(value)
        figures = list(dict.fromkeys(figure for found in values.values() for figure in found))
        table = Table("engine", *figures, title=f"{row}: {TITLES[row]}")
        for name, found in values.items():
            table.add_row(name, *(spread(found[figure]) if figure in found else "" for figure in figures))
        console.print(table)
        kept[row] = values
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="W1,W3,W4,W10")
    parser.add_argument("--engines", default=",".join([OURS, *peer.ENGINES]))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file for all values")
    parser.add_argument("--once", choices=list(peer.ENGINES), help="print the figures of one run as JSON")
    args = parser.parse_args()
    if args.once:
        print(json.dumps(once(args.once, args.rows)))
        return
    if not shutil.which("redis-server"):
        sys.exit("bench/peers.py: redis-server is not installed: apt-get install redis-server")
    kept = report(args.rows.split(","), args.engines.split(","), args.runs)
    if args.json:
        args.json.write_text(json.dumps({"measured": time.strftime("%F"), "rows": kept}, indent=1) + "\n")


if __name__ == "__main__":
    main()
