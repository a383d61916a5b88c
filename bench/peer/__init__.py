"""Tasks of other engines, one module for each, and how to add them and to count their results.

Each module has COMMAND, the command of one worker with `slots` slots and all settings that it needs to run so many
tasks at once; `add(name, count, *arguments)`; `done()`, the number of results so far; and `stamp()`, which adds a task
and returns the wall-clock time of its start. The broker is the Redis of BENCH_REDIS; results are kept in it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Protocol, cast

ENGINES = {
    "Celery gevent": "celery_gevent",
    "Dramatiq gevent": "dramatiq_gevent",
    "Huey greenlet": "huey_greenlet",
    "taskiq": "taskiq_asyncio",
    "arq": "arq_asyncio",
    "RQ": "rq_process",
}


class Peer(Protocol):
    """A module of this package."""

    COMMAND: list[str]
    KINDS: frozenset[str]
    """Names of the tasks that the engine is measured with."""
    add: Callable[..., None]
    done: Callable[[], int]
    stamp: Callable[[], float]


def load(name: str) -> Peer:
    """Return the module of an engine; its broker must run."""
    return cast(Peer, importlib.import_module(f"bench.peer.{ENGINES[name]}"))


def url(database: int) -> str:
    return f"{os.environ['BENCH_REDIS']}/{database}"


def slots() -> int:
    return int(os.environ.get("BENCH_SLOTS", "200"))
