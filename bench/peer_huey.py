"""Huey's side of `bench.peers`: tasks whose results are kept."""

import os
import time
from typing import Any

from huey import RedisHuey

huey = RedisHuey("bench", url=os.environ["BENCH_REDIS"])


@huey.task()
def noop() -> Any:
    return 1


@huey.task()
def stamp() -> Any:
    """Return the wall-clock time of the start."""
    return time.time()
