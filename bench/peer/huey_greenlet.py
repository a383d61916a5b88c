"""Huey with greenlets. Its tasks are patched by `bench.peer.huey_greenlet` itself: the consumer patches nothing."""

import sys

if "huey_consumer" in sys.argv[0]:
    from gevent import monkey

    monkey.patch_all()

import time
from typing import Any

from huey import RedisHuey
from redis import ConnectionPool

from bench.peer import slots, url

pool = ConnectionPool.from_url(url(0), max_connections=2 * slots() + 100)
huey = RedisHuey("bench", connection_pool=pool)
KINDS = frozenset({"noop", "nap", "fetch", "stamp"})
COMMAND = ["huey_consumer", "bench.peer.huey_greenlet.huey", "-k", "greenlet", "-w", "{slots}", "-q"]


@huey.task()
def noop() -> Any:
    return 1


@huey.task()
def nap(seconds: float) -> Any:
    time.sleep(seconds)
    return 1


@huey.task()
def fetch(address: str) -> Any:
    import requests

    return requests.get(address, timeout=30).status_code


@huey.task()
def now() -> Any:
    return time.time()


def add(name: str, count: int, *arguments: Any) -> None:
    task = {"noop": noop, "nap": nap, "fetch": fetch}[name]
    for _ in range(count):
        task(*arguments)


def done() -> int:
    return int(huey.result_count())


def stamp() -> float:
    return float(now().get(blocking=True, backoff=1, max_delay=0.001))
