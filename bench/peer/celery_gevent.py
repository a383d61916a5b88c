"""Celery with its gevent pool."""

import time
from typing import Any

import redis
from celery import Celery

from bench.peer import url

app = Celery("bench", broker=url(0), backend=url(1))
app.conf.update(
    worker_prefetch_multiplier=1,
    broker_pool_limit=None,
    redis_max_connections=None,
    result_backend_thread_safe=True,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
KINDS = frozenset({"noop", "nap", "fetch", "stamp"})
COMMAND = ["celery", "-A", "bench.peer.celery_gevent", "worker", "-P", "gevent", "-c", "{slots}", "-l", "ERROR"]
COMMAND += ["--without-gossip", "--without-mingle", "--without-heartbeat"]


@app.task
def noop() -> int:
    return 1


@app.task
def nap(seconds: float) -> int:
    time.sleep(seconds)
    return 1


@app.task
def fetch(address: str) -> int:
    import requests

    return requests.get(address, timeout=30).status_code


@app.task
def now() -> float:
    return time.time()


def add(name: str, count: int, *arguments: Any) -> None:
    task = {"noop": noop, "nap": nap, "fetch": fetch}[name]
    with app.producer_pool.acquire(block=True) as producer:
        for _ in range(count):
            task.apply_async(arguments, producer=producer, ignore_result=False)


def done() -> int:
    return int(redis.Redis.from_url(url(1)).dbsize())


def stamp() -> float:
    return float(now.delay().get(timeout=30, interval=0.001))
