"""CPU of the writes of the SQLite store, beside another checkout: `python -m bench.writes ../other [jobs]`.

Both builds write alike jobs in small steps, in turn, so that a busy machine slows both alike. Each has ids of its own
making, and a `.venv`. A line has microseconds of CPU for one item: the mean, and the quickest fifth of the steps.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[1].resolve()
STEPS = {"insert": (200, 5), "running": (50, 10), "progress": (50, 10), "success": (50, 10)}
"""Phase → items of a transaction, transactions of a step."""


EDITS: dict[str, dict[str, Any]] = {
    "running": {"state": "RUNNING", "executor": "host-1", "fence": 1, "attempts": 1},
    "progress": {"progress": 7},
    "success": {"state": "SUCCESS", "progress": 100, "statusMessage": "done in 3 s", "duration": 3},
}


def job(number: int) -> dict[str, Any]:
    from geventjob.clock import cimi_time, now

    try:
        from geventjob.near_uuid import near_uuid
    except ImportError:  # an older build
        from uuid import uuid4 as near_uuid  # type: ignore[assignment]
    moment = cimi_time(now())
    return {
        "id": f"job/{near_uuid()}",
        "created": moment,
        "updated": moment,
        "acl": {"owner": {"principal": "ADMIN", "type": "ROLE"}, "rules": []},
        "state": "QUEUED",
        "action": f"action-{number % 10}",
        "priority": random.randrange(1000),
        "targetResource": {"href": f"cloud/{number % 1000}"},
        "affectedResources": [{"href": f"cloud/{number % 1000}"}],
        "properties": {"zookeeper-path": f"/job/entries/entry-999-{number:010d}"},
        "idempotencyKey": str(near_uuid()),
        "payload": {"n": number, "region": "eu-west"},
    }


def edit(values: dict[str, Any]) -> Any:
    from geventjob.clock import cimi_time, now

    return lambda document: {**document, **values, "updated": cimi_time(now())}


def write(jobs: int) -> None:
    """Write a step for each line of the input, and print the items of the step and its seconds of CPU."""
    import geventjob.patch  # noqa: F401  (first of all)
    from geventjob.server.store.base import Insert, Update
    from geventjob.server.store.sqlite import SqliteStore

    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "store.db")
        store.start()
        documents = [job(number) for number in range(jobs)]
        ids = random.sample([document["id"] for document in documents], jobs)
        items: dict[str, list[Any]] = {"insert": [Insert(one, one["idempotencyKey"]) for one in documents]}
        items |= {phase: [Update(id, edit(values)) for id in ids] for phase, values in EDITS.items()}
        print("ready", flush=True)
        for line in sys.stdin:
            phase = line.strip()
            size, count = STEPS[phase]
            step, items[phase] = items[phase][: size * count], items[phase][size * count :]
            begun = time.process_time()
            for start in range(0, len(step), size):
                store._write(step[start : start + size])  # without the wait for the disk
            print(len(step), time.process_time() - begun, flush=True)
        store.close()


def compare(folders: Sequence[Path], jobs: int) -> None:
    command = [str(HERE / "bench" / "writes.py"), "--write", str(jobs)]
    builds = [
        subprocess.Popen(
            [str(folder / ".venv/bin/python"), *command],
            env={**os.environ, "PYTHONPATH": str(folder)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for folder in folders
    ]  # fmt: skip
    for build in builds:
        assert build.stdout is not None
        assert build.stdout.readline() == "ready\n"
    for phase, (size, count) in STEPS.items():
        taken: list[list[float]] = [[] for _ in builds]
        for _ in range(jobs // (size * count)):
            for build, mine in zip(builds, taken, strict=True):
                assert build.stdin is not None
                assert build.stdout is not None
                build.stdin.write(f"{phase}\n")
                build.stdin.flush()
                items, seconds = build.stdout.readline().split()
                mine.append(float(seconds) / int(items) * 1e6)
        means = [statistics.mean(mine) for mine in taken]
        quick = [statistics.quantiles(mine, n=5)[0] for mine in taken]
        shown = " ".join(f"{mean:8.1f} ({low:.1f})" for mean, low in zip(means, quick, strict=True))
        print(f"{phase:10} us: {shown}   rate {means[-1] / means[0]:.2f} ({quick[-1] / quick[0]:.2f}) of the other")
    for build in builds:
        build.communicate()


if __name__ == "__main__":
    if sys.argv[1] == "--write":
        write(int(sys.argv[2]))
    else:
        compare([HERE, Path(sys.argv[1]).resolve()], int(sys.argv[2]) if sys.argv[2:] else 20_000)
