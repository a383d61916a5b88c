"""The queue over ZooKeeper: takes per second by depth and number of processes, and the wait of an entry.

A server of its own is started (Debian's `zookeeper`), writes to disk as in production, and shares the machine.
`python -m bench.zookeeper [--short]`. Figures of one run: read them as ±30 %. `python -m bench.zookeeper --costs FILE`
measures what a request costs instead, for `bench.simulate`.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import gevent
import psutil
from rich.console import Console
from rich.table import Table

import geventjob.patch  # noqa: F401  (first of all)
from geventjob.coordination.zookeeper import ZooKeeperCoordination
from geventjob.coordination.zookeeper.candidates import Candidates
from geventjob.coordination.zookeeper.membership import READ
from geventjob.coordination.zookeeper.nodes import TAKEN, TAKERS, entry_path
from geventjob.coordination.zookeeper.transactions import COUNT
from tests.support.zookeeper import Ensemble, running

SLOTS = 100
MOST = 50_000
"""Entries that are taken of a deeper queue."""
DEPTH = 10_000
"""Entries in the queue while the costs of requests are measured."""


def fill(hosts: str, root: str, count: int) -> None:
    putting = ZooKeeperCoordination(hosts, "bench", root=root)
    putting.start()
    for start in range(0, count, 1000):
        putting.put([(f"job/{uuid4()}", (100, 500, 999)[n % 3]) for n in range(start, min(count, start + 1000))])
    putting.close()


def work(hosts: str, root: str, name: str, share: int) -> None:
    """Take and consume in the process of one taker, with SLOTS slots and jobs that take no time."""
    taking = ZooKeeperCoordination(hosts, name, root=root)
    taking.start()
    print("ready", flush=True)
    sys.stdin.readline()
    began = ended = time.monotonic()
    cpu, taken = time.process_time(), 0
    consuming: list[gevent.Greenlet[..., Any]] = []
    while taken < share and (claims := taking.take(SLOTS, timeout=5)):
        taken += len(claims)
        ended = time.monotonic()
        consuming = [one for one in consuming if not one.ready()]
        if len(consuming) > 2:
            consuming[0].join()
        consuming.append(gevent.spawn(taking.consume, claims))
    gevent.joinall(consuming, raise_error=True)
    seconds, cpu = ended - began, time.process_time() - cpu
    print(json.dumps([taken, seconds, cpu, taking._rounds.collisions]), flush=True)
    taking.close()


def rate(hosts: str, depth: int, processes: int) -> list[str]:
    root = f"/{uuid4().hex}"
    fill(hosts, root, depth)
    share = min(depth, MOST) // processes if depth > MOST else depth
    command = [sys.executable, "-m", "bench.zookeeper", "work", hosts, root]
    workers = [
        subprocess.Popen([*command, str(n), str(share)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for n in range(processes)
    ]
    for worker in workers:
        worker.stdout.readline()
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    results = [json.loads(worker.communicate()[0]) for worker in workers]
    taken, collided = sum(result[0] for result in results), sum(result[3] for result in results)
    return [
        f"{depth:,}",
        str(processes),
        f"{taken / max(result[1] for result in results):,.0f}/s",
        f"{1e6 * sum(result[2] for result in results) / taken:.0f} us",
        f"{100 * collided / (taken + collided):.2f} %",
    ]


def latency(hosts: str, takers: int, samples: int, pause: float) -> list[str]:
    """Measure the time from a put to the claim, in one process with `takers` waiting members."""
    root = f"/{uuid4().hex}"
    putting = ZooKeeperCoordination(hosts, "bench", root=root)
    putting.start()
    seen: list[float] = []

    def serve(member: ZooKeeperCoordination) -> None:
        while claims := member.take(SLOTS, timeout=5):
            seen.extend(time.time() - float(claim.job) for claim in claims)
            member.consume(claims)

    members = [ZooKeeperCoordination(hosts, f"m{n}", root=root) for n in range(takers)]
    for member in members:
        member.start()
    serving = [gevent.spawn(serve, member) for member in members]
    gevent.sleep(0.2)
    for _ in range(samples):
        putting.put([(repr(time.time()), 100)])
        gevent.sleep(pause)
    gevent.sleep(0.5)
    gevent.killall(serving)
    collided = sum(member._rounds.collisions for member in members)
    for member in [*members, putting]:
        member.close()
    assert len(seen) == samples
    seen.sort()
    return [
        str(takers),
        f"{1000 * pause:.0f} ms",
        f"{1000 * seen[samples // 2]:.1f} ms",
        f"{1000 * seen[int(samples * 0.99)]:.1f} ms",
        f"{collided}",
    ]


def costs(ensemble: Ensemble) -> dict[str, float]:
    """Return what requests cost, in seconds, for the model of `bench.simulate`: round trips, and CPU of the server."""
    root = f"/{uuid4().hex}"
    fill(ensemble.hosts, root, DEPTH)
    member = ZooKeeperCoordination(ensemble.hosts, "bench", root=root)
    member.start()
    membership = member._ensemble.now()
    nodes = membership.nodes

    def each(count: int, request: Callable[[], Any], waits: bool = False) -> tuple[float, float]:
        """Return seconds and CPU of the server for one of `count` requests; `waits`: one after the other."""
        began, used = time.monotonic(), server_cpu(ensemble)
        if waits:
            for _ in range(count):
                membership.ask(request())
        else:
            membership.ask_all([request() for _ in range(count)])
        return (time.monotonic() - began) / count, (server_cpu(ensemble) - used) / count

    paths = [entry_path(name) for name in membership.ask(nodes.entries())[:READ]]
    same = [nodes.write(path, b"x") for path in paths[:COUNT]]
    listing = nodes.entries()
    each(5_000, lambda: nodes.exists(TAKEN), waits=True)  # until the server has compiled its code
    read, _ = each(300, lambda: nodes.exists(TAKEN), waits=True)
    written, _ = each(200, lambda: nodes.write(TAKERS, b""), waits=True)
    _, request = each(2_000, lambda: nodes.exists(TAKEN))
    _, changes = each(20, lambda: nodes.transaction(same))
    _, reads = each(20, lambda: nodes.read(paths))
    _, names = each(10, lambda: listing)
    here, held = time.process_time(), frozenset(paths)
    for _ in range(20):
        candidates = Candidates("bench", 0.005, age_share=8)
        listed = membership.ask(nodes.entries())
        candidates.choose([name for name in listed if name not in held], ["bench", "other"], False, SLOTS, 0.01)
    here = (time.process_time() - here) / 20
    member.close()
    return {
        "trip": read,
        "sync": written - read,
        "request": request,
        "change": (changes - request) / len(same),
        "read": (reads - request) / len(paths),
        "name": (names - request) / DEPTH,
        "name_here": here / DEPTH,
    }


def server_cpu(ensemble: Ensemble) -> float:
    return sum(sum(psutil.Process(server.pid).cpu_times()[:2]) for server in ensemble.servers)


def main(short: bool) -> None:
    with running(Ensemble(tick=2000, fsync=True)) as ensemble:
        rates = Table("entries", "processes", "take + consume", "CPU of all an entry", "collided takes")
        for depth, processes in [(1000, 1), (20_000, 1), (100_000, 1), (20_000, 2), (20_000, 4), (100_000, 4)]:
            rates.add_row(*rate(ensemble.hosts, depth // 10 if short else depth, processes))
        waits = Table("takers", "put each", "put to claim, p50", "p99", "collisions")
        for takers, pause in [(1, 0.4), (1, 0.02), (4, 0.4), (4, 0.02)]:
            waits.add_row(*latency(ensemble.hosts, takers, 50 if short else 200, pause))
        Console().print(rates, waits)


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
    elif sys.argv[1:2] == ["collisions"]:
        print(json.dumps([float(rate(sys.argv[2], DEPTH, int(number))[-1].split()[0]) for number in sys.argv[3:]]))
    elif sys.argv[1:2] == ["--costs"]:
        with running(Ensemble(tick=2000, fsync=True)) as ensemble:
            Path(sys.argv[2]).write_text(json.dumps(costs(ensemble), indent=1) + "\n")
    else:
        main("--short" in sys.argv)
