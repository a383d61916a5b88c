"""A deep queue beside a short one (row W5): the rate while the queue keeps its depth, and the first take of a session.

As many jobs are added as end, so both depths do the same work. `python -m bench.depth FILE_OR_HOSTS ROOT` prints the
seconds of first takes from a queue that stands.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from bench.engine import THREADS, add, engine
from tests.support.fleet import Fleet, until

JOBS = 10_000
"""Jobs that end while the rate is measured."""
WARM = 1_000
"""Jobs that end before."""
PORTION = 250
TAKES = 9


def fed(depth: int, zk: str = "") -> tuple[float, float]:
    """Return the jobs a second at this depth of the queue, and the milliseconds of a first take."""
    with engine(zk) as made:
        made.server()
        for first in range(0, depth, 1_000):
            add(made, min(1_000, depth - first))
        take = first_take(made)
        made.start_executor("bench", "--threads", THREADS)
        client, added, times = made.client(), depth, dict[int, float]()
        ended = 0
        while ended < WARM + JOBS:
            ended = client.search("job", filter="state='SUCCESS'", last=0)["count"]
            times[ended] = time.monotonic()
            while added - ended < depth:
                add(made, PORTION)
                added += PORTION
            time.sleep(0.02)
    (first_count, began), (last_count, over) = min(t for t in times.items() if t[0] >= WARM), max(times.items())
    return (last_count - first_count) / (over - began), take


def first_take(made: Fleet) -> float:
    """Return the median of the milliseconds of the first take of a new session; the entries are given back."""
    where = made.zk_hosts or str(made.data_dir / "coordination.db")
    command = [sys.executable, "-m", "bench.depth", where, made.zk_root]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return 1000 * statistics.median(map(float, done.stdout.split()))


def takes(where: str, root: str) -> None:
    """Print the seconds of TAKES first takes, each in a session of its own."""
    from geventjob.coordination.sqlite import SqliteCoordination
    from geventjob.coordination.zookeeper import ZooKeeperCoordination

    for number in range(TAKES):
        name = f"taker-{number}"
        queue = (
            SqliteCoordination(where, name, 10.0, age_share=8)
            if where.startswith("/")
            else ZooKeeperCoordination(where, name, root=root, age_share=8)
        )
        queue.start()
        began = time.monotonic()
        claims = queue.take(int(THREADS))
        print(time.monotonic() - began, flush=True)
        queue.release(claims)
        free = len(claims)
        until(lambda queue=queue, free=free: queue.stats().entries - queue.stats().taken >= free)
        queue.close()


if __name__ == "__main__":
    import geventjob.patch  # noqa: F401  (before anything waits)

    takes(*sys.argv[1:])
