"""`python -m bench.live`: what streams of live events and metrics cost the server, as ratios within one run."""

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


def rows() -> list[list[str]]:
    with engine() as made:
        server = made.server()
        made.executor("bench", "--threads", "100")
        full(made)
        used: dict[tuple[str, bool], list[float]] = {}
        sent = 0
        for _ in range(ROUNDS):
            for opened in (False, True):
                with streams(made, opened) as told:
                    for load in (paced, full):
                        before = cpu(server.pid)
                        jobs = load(made)
                        used.setdefault((load.__name__, opened), []).append(1000 * (cpu(server.pid) - before) / jobs)
                    sent += told()
    found: list[list[str]] = []
    for name in ("paced", "full"):
        without, with_ = (statistics.median(used[name, opened]) for opened in (False, True))
        found.append([name, f"{without:.2f} s", f"{with_:.2f} s", f"{with_ / without - 1:.0%}"])
    return [*found, ["bytes sent", "", f"{sent / 1e6:.0f} MB", ""]]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    title = f"CPU of the server for 1,000 jobs (SQLite), {CHANGES:,} changes/s and full rate"
    columns = ("load", "no stream", f"{STREAMS} streams", "cost")
    table(Console(width=120), title, columns, [lambda row=row: row for row in rows()])


if __name__ == "__main__":
    main()
