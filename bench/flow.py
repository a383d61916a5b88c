"""`python -m bench.flow`: chains of jobs, beside jobs without predecessors."""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import nullcontext

from rich.console import Console

from bench.engine import THREADS, Row, engine, table
from geventjob import Client
from tests.support.fleet import until
from tests.support.zookeeper import Ensemble
from tests.support.zookeeper import running as running_ensemble

SAMPLES = 200
"""Number of single adds."""


def chain(length: int, zk_hosts: str) -> list[str]:
    """Measure a chain of no-ops from the start of the first job to the end of the last job, beside single adds."""
    with engine(zk_hosts) as made:
        made.server()
        made.executor("bench", "--threads", THREADS)
        client = made.client()
        single(client)
        alone = statistics.median(single(client) for _ in range(SAMPLES))
        ids = [client.submit("noop", not_before="+1h")]
        for _ in range(length - 1):
            ids.append(client.submit("noop", after=ids[-1:]))
        began = time.monotonic()
        client.operation(ids[0], "release")
        until(lambda: is_over(client, ids[-1]), 600, every=0.01)
        each = (time.monotonic() - began) / length
    return [f"{length:,}", f"{1000 * alone:.1f} ms", f"{1000 * each:.1f} ms", f"{each / alone:.2f}"]


def single(client: Client) -> float:
    """Return the seconds from the add of a no-op until the client sees its end."""
    began = time.monotonic()
    id = client.submit("noop")
    until(lambda: is_over(client, id), every=0.001)
    return time.monotonic() - began


def is_over(client: Client, id: str) -> bool:
    state: str = client.get(id, select=["state"])["state"]
    return state == "SUCCESS"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zookeeper", action="store_true", help="the queue in a ZooKeeper of its own")
    parser.add_argument("--chain", type=int, default=1_000, help="jobs of the chain")
    args = parser.parse_args()
    console = Console(width=120)
    with running_ensemble(Ensemble(tick=2000, fsync=True)) if args.zookeeper else nullcontext() as ensemble:
        hosts = ensemble.hosts if ensemble else ""
        rows: list[Row] = [lambda: chain(args.chain, hosts)]
        where = "ZooKeeper" if hosts else "SQLite"
        columns = ("jobs of the chain", "one add to its end", "one job of the chain", "ratio")
        table(console, f"a chain of jobs, queue in {where}", columns, rows)


if __name__ == "__main__":
    main()
