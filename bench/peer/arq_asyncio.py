"""arq, which polls its queue each half second unless told otherwise: here each millisecond."""

import asyncio
import time
from typing import Any

import redis
from arq import create_pool
from arq.connections import RedisSettings

from bench.peer import slots, url

KINDS = frozenset({"noop", "nap", "stamp"})
COMMAND = ["arq", "bench.peer.arq_asyncio.WorkerSettings"]


async def noop(context: Any) -> int:
    return 1


async def nap(context: Any, seconds: float) -> int:
    await asyncio.sleep(seconds)
    return 1


async def now(context: Any) -> float:
    return time.time()


class WorkerSettings:
    """See arq."""

    functions = (noop, nap, now)
    redis_settings = RedisSettings.from_dsn(url(0))
    max_jobs = slots()
    poll_delay = 0.001
    queue_read_limit = slots()


_loop = asyncio.new_event_loop()
asyncio.set_event_loop(_loop)
_pool: Any = None


def _run(ask: Any) -> Any:
    async def call() -> Any:
        global _pool
        _pool = _pool or await create_pool(RedisSettings.from_dsn(url(0)))
        return await ask(_pool)

    return _loop.run_until_complete(call())


def add(name: str, count: int, *arguments: Any) -> None:
    async def send(pool: Any) -> None:
        for _ in range(count):
            await pool.enqueue_job(name, *arguments)

    _run(send)


def done() -> int:
    left = redis.Redis.from_url(url(0))
    return sum(1 for _ in left.scan_iter("arq:result:*", count=5000))


def stamp() -> float:
    async def ask(pool: Any) -> float:
        job = await pool.enqueue_job("now")
        return float(await job.result(timeout=30, poll_delay=0.001))

    return float(_run(ask))
