"""Steady load: what an hour does to latency and memory. `python -m bench.steady [--minutes 60] [--json FILE]`.

Jobs are added at a fixed rate, half of what the engine can do (row W1), in an open loop: the clock decides when a job
is due, whether or not the engine keeps up, and the delay of a job counts from then to the first line of its action.
Each minute is a row: delays, memory and descriptors of server and executor. Compare the second minute with the last.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from bench.engine import THREADS, cpu, engine
from bench.performance import jobs_of
from geventjob import Client
from tests.support.fleet import Fleet, Process

TICK = 0.05
"""Seconds between two requests that add jobs."""
ADDERS = 8
"""Threads that add: a slow answer delays no later add."""
MINUTE = 60.0

ACTION = """
import os
import time

from geventjob import action

delays = os.open({file!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@action("due")
def due(job):
    os.write(delays, b"%.5f\\n" % (time.time() - job.payload["due"]))
"""


@dataclass
class Side:
    """One process at the end of a minute."""

    rss: float
    """Resident memory, MiB."""
    descriptors: int
    cpu: float
    """CPU seconds of this minute for 1,000 jobs."""


@dataclass
class Minute:
    """The figures of one minute. Delays in ms, from the moment when a job is due to its start."""

    number: int
    started: int
    waiting: int
    """Jobs that were due and had not started at its end."""
    p50: float
    p99: float
    server: Side
    executor: Side


class Load:
    """Adds jobs at a rate, each tick's in one request, until `stop`."""

    def __init__(self, made: Fleet, rate: float) -> None:
        self._made = made
        self._each = max(1, round(rate * TICK))
        self._tick = self._each / rate
        self._stopped = threading.Event()
        self._clients = threading.local()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.due = 0
        self.failed: BaseException | None = None

    def stop(self) -> None:
        """Add no more jobs. Raises the first error of an add."""
        self._stopped.set()
        self._thread.join()
        if self.failed:
            raise self.failed

    def _run(self) -> None:
        began = time.time()
        with ThreadPoolExecutor(ADDERS) as pool:
            number = 0
            while not self._stopped.is_set():
                due = began + number * self._tick
                if self._stopped.wait(max(0.0, due - time.time())):
                    break
                pool.submit(self._add, due)
                self.due += self._each
                number += 1

    def _add(self, due: float) -> None:
        try:
            if not hasattr(self._clients, "one"):
                self._clients.one = self._made.client()
            client: Client = self._clients.one
            client.bulk_add([{"action": "due", "payload": {"due": due}}] * self._each)
        except BaseException as error:
            self.failed = self.failed or error
            self._stopped.set()


class Watch:
    """Takes the figures of each minute."""

    def __init__(self, load: Load, delays: Path, server: Process, executor: Process) -> None:
        self._load = load
        self._delays = delays.open()
        self._sides = (server.pid, executor.pid)
        self._cpu = [cpu(pid) for pid in self._sides]
        self._started = 0
        self.minutes: list[Minute] = []

    def minute(self) -> Minute:
        """Return the figures since the last call."""
        found = sorted(1000 * float(line) for line in self._delays)
        self._started += len(found)
        p50, p99 = _percentiles(found)
        sides = [self._side(number, max(1, len(found))) for number in range(2)]
        waiting = self._load.due - self._started
        made = Minute(len(self.minutes) + 1, len(found), waiting, p50, p99, *sides)
        self.minutes.append(made)
        return made

    def _side(self, number: int, jobs: int) -> Side:
        process = psutil.Process(self._sides[number])
        before, self._cpu[number] = self._cpu[number], cpu(process.pid)
        used = 1000 * (self._cpu[number] - before) / jobs
        return Side(process.memory_info().rss / 2**20, process.num_fds(), used)


def _percentiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return 0.0, 0.0
    cuts = statistics.quantiles(values, n=100)
    return cuts[49], cuts[98]


def run(minutes: int, rate: float, show: Console) -> list[Minute]:
    """Run the load, and print each minute as it ends."""
    with engine() as made:
        delays = made.folder / "delays"
        delays.touch()
        (made.actions_dir / "due.py").write_text(ACTION.format(file=str(delays)))
        server = made.server("--log-jobs", "failed")
        executor = made.executor("bench", "--threads", THREADS, "--log-jobs", "failed")
        load = Load(made, rate)
        try:
            watch, began = Watch(load, delays, server, executor), time.monotonic()
            for number in range(minutes):
                time.sleep(max(0.0, began + (number + 1) * MINUTE - time.monotonic()))
                show.print(*_cells(watch.minute()), sep="  ")
        finally:
            load.stop()
    return watch.minutes


COLUMNS = (
    "minute", "started", "waiting", "p50 ms", "p99 ms", "server MiB", "files", "CPU s/1,000",
    "executor MiB", "files", "CPU s/1,000",
)  # fmt: skip


def _cells(minute: Minute) -> list[str]:
    sides = [
        text
        for side in (minute.server, minute.executor)
        for text in (f"{side.rss:.1f}", str(side.descriptors), f"{side.cpu:.2f}")
    ]
    delays = f"{minute.p50:.1f}", f"{minute.p99:.1f}"
    return [str(minute.number), f"{minute.started:,}", f"{minute.waiting:,}", *delays, *sides]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--rate", type=float, help="jobs a second (default: half of the row W1, measured first)")
    parser.add_argument("--json", type=Path, help="file for all figures")
    args = parser.parse_args()
    console = Console(width=140)
    rate = args.rate or jobs_of("noop", 10_000, 200)["jobs/s"] / 2
    console.print(f"{rate:,.0f} jobs a second for {args.minutes} minutes; load of the machine {os.getloadavg()[0]:.1f}")
    console.print(*COLUMNS, sep="  ")
    minutes = run(args.minutes, rate, console)
    table = Table(*COLUMNS, title=f"{rate:,.0f} no-op jobs a second: the second minute and the last")
    for minute in (minutes[min(1, len(minutes) - 1)], minutes[-1]):
        table.add_row(*_cells(minute))
    console.print(table)
    if args.json:
        found = {"measured": time.strftime("%F"), "rate": rate, "minutes": [asdict(minute) for minute in minutes]}
        args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
