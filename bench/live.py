"""`python -m bench.live`: the cost of streams of live events for the server, as ratios within one run.

With `--pages`, ten pages of a real browser are open in place of ten streams that are only read: they look anew by
themselves, and paint. Only the CPU of the server counts, since the browser takes what is left of the machine. With
`--logs`, the log lines of jobs (`--log-jobs all` against `none`) are measured in place of streams.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import selectors
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import requests
from rich.console import Console

from bench.engine import add, cpu, engine, table
from tests.support.fleet import PASSWORD, Fleet, until

STREAMS = 10
CHANGES = 1_000
"""Changes a second; a job has three: added, RUNNING, SUCCESS."""
PACED = 3_000
"""Jobs of a round at this pace."""
ROUNDS = 3
JOBS = 5_000
BATCH = 50


def read(url: str, cookie: str, count: Any) -> None:
    """Read streams, and count their bytes alone, until the process is killed."""
    selector, address = selectors.DefaultSelector(), urlsplit(url)
    for _ in range(STREAMS):
        sock = socket.create_connection((str(address.hostname), int(address.port or 80)))
        sock.sendall(f"GET /api/events HTTP/1.1\r\nHost: here\r\nCookie: {cookie}\r\n\r\n".encode())
        selector.register(sock, selectors.EVENT_READ, sock)
    while True:
        for key, _ in selector.select():
            some = key.data.recv(1 << 20)
            count.value += len(some)
            if not some:
                selector.unregister(key.fileobj)


@contextlib.contextmanager
def pages(made: Fleet, opened: bool) -> Iterator[Callable[[], int]]:
    """Have pages open that show the jobs. Yield a function that returns 0."""
    if not opened:
        yield lambda: 0
        return
    from tests.support.screen import Screen, chromium

    with chromium() as browser:
        first = browser.new_context()
        Screen(first.new_page(), made.url).log_in()
        session = first.storage_state()
        for _ in range(STREAMS):  # one each: the pages of one browser have six connections in all
            page = browser.new_context(storage_state=session).new_page()
            page.goto(f"{made.url}/ui#/jobs")
            page.get_by_role("heading", name="Jobs").wait_for()
        first.close()
        yield lambda: 0


@contextlib.contextmanager
def streams(made: Fleet, opened: bool) -> Iterator[Callable[[], int]]:
    """Have streams open, read by another process. Yield a function that returns the bytes they have sent."""
    if not opened:
        yield lambda: 0
        return
    session = requests.Session()
    template = {"href": "session-template/internal", "username": "super", "password": PASSWORD}
    session.post(f"{made.url}/api/session", json={"sessionTemplate": template}, timeout=10).raise_for_status()
    cookie = "; ".join(f"{name}={value}" for name, value in session.cookies.items())
    spawning = multiprocessing.get_context("spawn")
    count = spawning.Value("q", 0)
    reader = spawning.Process(target=read, args=(made.url, cookie, count), daemon=True)
    reader.start()
    until(lambda: count.value > 0)
    try:
        yield lambda: int(count.value)
    finally:
        reader.kill()
        reader.join()


def paced(made: Fleet) -> int:
    """Add jobs so that CHANGES a second happen, and return their number once all have run."""
    client, since = made.client(), time.monotonic()
    for n in range(PACED // BATCH):
        client.bulk_add([{"action": "noop"}] * BATCH)
        time.sleep(max(0.0, since + (n + 1) * BATCH * 3 / CHANGES - time.monotonic()))
    until(lambda: client.queue()["entries"] == 0, 120)
    return PACED


def full(made: Fleet) -> int:
    """Add jobs at once, and return their number once all have run."""
    client = made.client()
    add(made, JOBS)
    until(lambda: client.queue()["entries"] == 0, 300)
    return JOBS


def rows(opening: Callable[[Fleet, bool], contextlib.AbstractContextManager[Callable[[], int]]]) -> list[list[str]]:
    """Measure both loads, without and with what `opening` opens, in turns."""
    with engine() as made:
        server = made.server()
        made.executor("bench", "--threads", "100")
        full(made)
        used: dict[tuple[str, bool], list[float]] = {}
        sent = 0
        for _ in range(ROUNDS):
            for opened in (False, True):
                with opening(made, opened) as told:
                    for load in (paced, full):
                        before = cpu(server.pid)
                        jobs = load(made)
                        used.setdefault((load.__name__, opened), []).append(1000 * (cpu(server.pid) - before) / jobs)
                    sent += told()
    found: list[list[str]] = []
    for name in ("paced", "full"):
        without, with_ = (statistics.median(used[name, opened]) for opened in (False, True))
        found.append([name, f"{without:.2f} s", f"{with_:.2f} s", f"{with_ / without - 1:.0%}"])
    return [*found, ["bytes sent", "", f"{sent / 1e6:.0f} MB", ""]] if sent else found


def logs() -> list[list[str]]:
    """Measure the CPU of server and executor with and without the log lines of jobs, in turns."""
    used: dict[tuple[str, str], list[float]] = {}
    rates: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for jobs in ("none", "all"):
            with engine() as made:
                processes = {"server": made.server("--log-jobs", jobs)}
                processes["executor"] = made.executor("bench", "--threads", "100", "--log-jobs", jobs)
                before = {name: cpu(process.pid) for name, process in processes.items()}
                began = time.monotonic()
                number = full(made)
                rates.setdefault(jobs, []).append(number / (time.monotonic() - began))
                for name, process in processes.items():
                    used.setdefault((name, jobs), []).append(1000 * (cpu(process.pid) - before[name]) / number)
    found = []
    for name in ("server", "executor"):
        without, with_ = (statistics.median(used[name, jobs]) for jobs in ("none", "all"))
        found.append([name, f"{without:.3f} s", f"{with_:.3f} s", f"{with_ / without - 1:.1%}"])
    without, with_ = (statistics.median(rates[jobs]) for jobs in ("none", "all"))
    return [*found, ["rate", f"{without:,.0f} jobs/s", f"{with_:,.0f} jobs/s", f"{without / with_ - 1:.1%}"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--pages", action="store_true", help=f"{STREAMS} pages of a real browser")
    kind.add_argument("--logs", action="store_true", help="the log lines of jobs")
    args = parser.parse_args()
    if args.logs:
        title, columns = (
            f"CPU for 1,000 jobs, and their rate (SQLite), {JOBS:,} at once",
            ("process", "log none", "log all", "cost"),
        )
        found = logs()
    else:
        title = f"CPU of the server for 1,000 jobs (SQLite), {CHANGES:,} changes/s and full rate"
        what = "pages" if args.pages else "streams"
        columns = ("load", f"no {what}", f"{STREAMS} {what}", "cost")
        found = rows(pages if args.pages else streams)
    table(Console(width=120), title, columns, [lambda row=row: row for row in found])


if __name__ == "__main__":
    main()
