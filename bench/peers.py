"""A peer beside geventjob in one run: results kept, one worker process, on this machine.

Huey, the fastest of them, works through a Redis of its own (Debian's `redis-server`), with greenlets; that Redis keeps
nothing on the disk. For no-op jobs the time from the first result to the last counts; for single jobs, each
added after the end of the job before, the time from before the add to the start. `pip install -e .[bench]` brings Huey.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.engine import SAMPLES, THREADS, latency, noop, percentiles
from tests.support.fleet import free_port, until

JOBS = 10_000
BIN = Path(sys.executable).parent


@contextmanager
def redis() -> Iterator[str]:
    """Yield the address of a Redis server."""
    port = free_port()
    with TemporaryDirectory() as folder:
        process = subprocess.Popen(["redis-server", "--port", str(port), "--dir", folder, "--save", ""], stdout=-3)
        try:
            from redis import Redis

            url = f"redis://127.0.0.1:{port}/0"
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
def worker(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def rate(results: Callable[[], int]) -> str:
    """Return the jobs per second from the first result to the last."""
    first = until(results, 60, every=0.01)
    began = time.monotonic()
    until(lambda: results() >= JOBS, 120, every=0.05)
    return f"{(JOBS - first) / (time.monotonic() - began):,.0f}/s"


def delay(start: Callable[[], float]) -> list[str]:
    """Return percentiles of the delay between adding a task and its start."""
    start()
    return percentiles([-time.time() + start() for _ in range(SAMPLES)])


def huey() -> list[str]:
    """Print the rate and the percentiles of the delay."""
    with redis() as url:
        os.environ["BENCH_REDIS"] = url
        from bench import peer_huey

        for _ in range(JOBS):
            peer_huey.noop()
        command = [str(BIN / "huey_consumer"), "bench.peer_huey.huey", "-k", "greenlet", "-w", THREADS, "-q"]

        def start() -> float:
            return float(peer_huey.stamp().get(blocking=True, backoff=1, max_delay=0.001))

        with worker(command):
            return [rate(peer_huey.huey.result_count), *delay(start)]


def main() -> None:
    if not shutil.which("redis-server"):
        sys.exit("bench/peers.py: redis-server is not installed: apt-get install redis-server")
    columns = ("engine", f"{JOBS:,} no-op jobs", "enqueue to start, p50", "p95", "p99")
    table = Table(*columns, title="results kept, one worker process")
    table.add_row("geventjob, its own job server and SQLite", noop(JOBS)[2], *latency(0)[1:])
    table.add_row("Huey, greenlets, Redis", *huey())
    Console().print(table)


if __name__ == "__main__":
    main()
