"""`python -m bench.coroutines`: jobs that sleep, as greenlets and as coroutines, in turn, in executors of their own."""

from __future__ import annotations

import argparse
import statistics

import psutil
from rich.console import Console

from bench.engine import Row, cpu, engine, table
from tests.support.fleet import Process, until

JOBS = 1_000
NAPS = 50
NAP = 0.2
"""Seconds."""


def asleep(action: str) -> tuple[float, float, float]:
    """Return the CPU seconds of an executor from the first start to the last end, its CPU in naps, its MiB."""
    with engine() as made:
        made.server()
        executor = made.executor("bench", f"--threads={JOBS}")
        client = made.client()
        client.bulk_add([{"action": action, "payload": {"naps": 1, "seconds": 0.01}}])  # imports
        until(lambda: client.search("job", filter="state='SUCCESS'", last=0)["count"] == 1)
        before, memory = cpu(executor.pid), mib(executor)
        client.bulk_add([{"action": action, "payload": {"naps": NAPS, "seconds": NAP}}] * JOBS)
        until(lambda: client.search("job", filter="state='RUNNING'", last=0)["count"] == JOBS, 60, every=0.2)
        begun, grown = cpu(executor.pid), mib(executor) - memory
        until(lambda: client.search("job", filter="state='SUCCESS'", last=0)["count"] == JOBS + 1, 300, every=1)
        ended = cpu(executor.pid)
    return ended - before, ended - begun, grown


def mib(process: Process) -> float:
    """Return the memory of a process in MiB."""
    return float(psutil.Process(process.pid).memory_info().rss) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each kind, of which the median counts")
    rounds = parser.parse_args().rounds
    found: dict[str, list[tuple[float, float, float]]] = {"naps": [], "naps_async": []}
    for _ in range(rounds):
        for action, figures in found.items():
            figures.append(asleep(action))
    greenlets, coroutines = ([statistics.median(column) for column in zip(*each)] for each in found.values())  # noqa: B905
    names = ("CPU of the executor, s", "of that, from the last start on, s", "memory, MiB")
    rows: list[Row] = [
        lambda name=name, one=one, other=other: [name, f"{one:.2f}", f"{other:.2f}", f"{other / one:.2f}"]
        for name, one, other in zip(names, greenlets, coroutines)  # noqa: B905
    ]
    title = f"{JOBS:,} jobs at once, each sleeps {NAPS} times {NAP} s, median of {rounds}"
    table(Console(width=120), title, ("what", "greenlets", "coroutines", "ratio"), rows)


if __name__ == "__main__":
    main()
