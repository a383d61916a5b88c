"""Huey's side of `bench.peers`: a no-op task whose result is kept."""

import os

from huey import RedisHuey

huey = RedisHuey("bench", url=os.environ["BENCH_REDIS"])


@huey.task()
def noop():
    return 1
