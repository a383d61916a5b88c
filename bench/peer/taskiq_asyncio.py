"""taskiq, one worker process, a list of Redis as its broker."""

import asyncio
import time
from typing import Any

import redis
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

from bench.peer import url

broker = ListQueueBroker(url(0)).with_result_backend(RedisAsyncResultBackend(url(1)))
KINDS = frozenset({"noop", "nap", "stamp"})
COMMAND = ["taskiq", "worker", "bench.peer.taskiq_asyncio:broker", "-w", "1", "--max-async-tasks", "{slots}"]
COMMAND += ["--max-prefetch", "{slots}", "--log-level", "ERROR"]


@broker.task
async def noop() -> int:
    return 1


@broker.task
async def nap(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return 1


@broker.task
async def now() -> float:
    return time.time()


_loop = asyncio.new_event_loop()


def _run(coroutine: Any) -> Any:
    return _loop.run_until_complete(coroutine)


def add(name: str, count: int, *arguments: Any) -> None:
    task: Any = {"noop": noop, "nap": nap}[name]

    async def send() -> None:
        for _ in range(count):
            await task.kiq(*arguments)

    _run(send())


def done() -> int:
    return int(redis.Redis.from_url(url(1)).dbsize())


def stamp() -> float:
    async def ask() -> float:
        task = await now.kiq()
        return float((await task.wait_result(check_interval=0.001, timeout=30)).return_value)

    return float(_run(ask()))
