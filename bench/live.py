"""`python -m bench.live`: what streams of live events and metrics cost the server, as ratios within one run."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import selectors
import socket
import statistics
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import requests
from rich.console import Console

from bench.engine import add, cpu, engine, finished, table
from tests.support.fleet import PASSWORD, Fleet, until

STREAMS = 10
CHANGES = 1_000
"""Changes a second; a job has three: added, RUNNING, SUCCESS."""
SECONDS = 10
ROUNDS = 3
JOBS = 5_000
BATCH = 50


def read(url: str, cookie: str) -> None:
    """Read streams, and do nothing with them, until the process is killed."""
    selector, address = selectors.DefaultSelector(), urlsplit(url)
    for _ in range(STREAMS):
        sock = socket.create_connection((str(address.hostname), int(address.port or 80)))
        sock.sendall(f"GET /api/events HTTP/1.1\r\nHost: here\r\nCookie: {cookie}\r\n\r\n".encode())
        selector.register(sock, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if not key.fileobj.recv(1 << 20):  # type: ignore[union-attr]
                selector.unregister(key.fileobj)


@contextlib.contextmanager
def streams(made: Fleet, opened: bool) -> Iterator[None]:
    """Have streams open, read by another process."""
    if not opened:
        yield
        return
    session = requests.Session()
    template = {"href": "session-template/internal", "username": "super", "password": PASSWORD}
    session.post(f"{made.url}/api/session", json={"sessionTemplate": template}, timeout=10).raise_for_status()
    cookie = "; ".join(f"{name}={value}" for name, value in session.cookies.items())
    reader = multiprocessing.get_context("spawn").Process(target=read, args=(made.url, cookie), daemon=True)
    reader.start()
    time.sleep(1)
    try:
        yield
    finally:
        reader.kill()
        reader.join()


def paced(made: Fleet, pid: int) -> float:
    """Return the share of a core that the server needs for CHANGES a second."""
    client, before, since = made.client(), cpu(pid), time.monotonic()
    for n in range(CHANGES // 3 * SECONDS // BATCH):
        client.bulk_add([{"action": "noop"}] * BATCH)
        time.sleep(max(0.0, since + (n + 1) * BATCH * 3 / CHANGES - time.monotonic()))
    until(lambda: client.queue()["entries"] == 0, 120)
    return (cpu(pid) - before) / (time.monotonic() - since)


def full(made: Fleet, total: int) -> float:
    """Return the jobs a second that are added and run as fast as they can."""
    since = time.monotonic()
    add(made, JOBS)
    until(lambda: finished(made, total), 300, every=0.02)
    return JOBS / (time.monotonic() - since)


def rows() -> Iterator[list[str]]:
    with engine() as made:
        server = made.server()
        made.executor("bench", "--threads", "100")
        full(made, JOBS)
        shares: dict[bool, list[float]] = {False: [], True: []}
        rates: dict[bool, list[float]] = {False: [], True: []}
        total = JOBS
        for _ in range(ROUNDS):
            for opened in (False, True):
                with streams(made, opened):
                    shares[opened].append(paced(made, server.pid))
                    total += CHANGES // 3 * SECONDS // BATCH * BATCH + JOBS
                    rates[opened].append(full(made, total))
    without, with_ = (statistics.median(shares[opened]) for opened in (False, True))
    yield ["none", f"{without:.1%} of a core", f"{statistics.median(rates[False]):,.0f} jobs/s", ""]
    cost, slower = with_ - without, 1 - statistics.median(rates[True]) / statistics.median(rates[False])
    yield [str(STREAMS), f"{with_:.1%} of a core", f"{statistics.median(rates[True]):,.0f} jobs/s",
           f"{cost:.1%} of a core; {slower:.0%} of the full rate"]  # fmt: skip


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    title = f"streams of live events, {CHANGES:,} changes/s and full rate, SQLite"
    table(
        Console(width=120), title, ("streams", "server", "full rate", "cost"), [lambda row=row: row for row in rows()]
    )


if __name__ == "__main__":
    main()
