"""Dramatiq with gevent: one process with as many threads as slots, which gevent makes greenlets."""

import time
from typing import Any

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from bench.peer import url

broker = RedisBroker(url=url(0))
results = RedisBackend(url=url(1))
broker.add_middleware(Results(backend=results, store_results=True))
dramatiq.set_broker(broker)
KINDS = frozenset({"noop", "nap", "fetch", "stamp"})
COMMAND = ["dramatiq-gevent", "bench.peer.dramatiq_gevent", "-p", "1", "-t", "{slots}"]


@dramatiq.actor
def noop() -> int:
    return 1


@dramatiq.actor
def nap(seconds: float) -> int:
    time.sleep(seconds)
    return 1


@dramatiq.actor
def fetch(address: str) -> int:
    import requests

    return requests.get(address, timeout=30).status_code


@dramatiq.actor
def now() -> float:
    return time.time()


def add(name: str, count: int, *arguments: Any) -> None:
    actor: Any = {"noop": noop, "nap": nap, "fetch": fetch}[name]
    for _ in range(count):
        actor.send(*arguments)


def done() -> int:
    return int(redis.Redis.from_url(url(1)).dbsize())


def stamp() -> float:
    return float(now.send().get_result(backend=results, block=True, timeout=30_000))
