"""Actions of the benchmarks: no work, the time of the start, and a fixed amount of computing."""

import asyncio
import time
from typing import Any

from geventjob import action


@action("noop")
def noop(job: Any) -> None:
    pass


@action("stamp")
def stamp(job: Any) -> None:
    """Append the wall-clock time of the start to the file in the payload."""
    with open(job.payload["file"], "a") as file:
        file.write(f"{job.payload['n']} {time.time()}\n")


def turns(count: int) -> Any:
    x = 1
    for i in range(count):
        x = (x * 1103515245 + 12345 + i) & 0x7FFFFFFF
    return x


@action("compute")
def compute(job: Any) -> None:
    turns(job.payload["turns"])


@action("compute_unsliced", preempt=False)
def compute_unsliced(job: Any) -> None:
    turns(job.payload["turns"])


@action("compute_for")
def compute_for(job: Any) -> None:
    end = time.monotonic() + job.payload["seconds"]
    while time.monotonic() < end:
        turns(100)


@action("naps")
def naps(job: Any) -> None:
    for _ in range(job.payload["naps"]):
        time.sleep(job.payload["seconds"])


@action("naps_async")
async def naps_async(job: Any) -> None:
    for _ in range(job.payload["naps"]):
        await asyncio.sleep(job.payload["seconds"])
