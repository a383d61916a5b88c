"""RQ, which runs one job at a time in each worker: no naps and no requests at once."""

import time
from typing import Any

import redis
from rq import Queue

from bench.peer import url

connection = redis.Redis.from_url(url(0))
queue = Queue(connection=connection)
KINDS = frozenset({"noop", "stamp"})
COMMAND = ["rq", "worker", "--url", "{url}", "--quiet", "--worker-class", "rq.worker.SimpleWorker"]


def noop() -> int:
    return 1


def now() -> float:
    return time.time()


def add(name: str, count: int, *arguments: Any) -> None:
    jobs = [Queue.prepare_data(noop, arguments) for _ in range(count)]
    for first in range(0, count, 1000):
        queue.enqueue_many(jobs[first : first + 1000])


def done() -> int:
    return int(queue.finished_job_registry.count)


def stamp() -> float:
    job = queue.enqueue(now)
    while (value := job.return_value(refresh=True)) is None:
        time.sleep(0.001)
    return float(value)
