"""Context managers of all kinds written in C, ended at random: all must be left again.

An exception that is raised between the end of `__enter__` and the block leaves a lock locked. Python 3.14 looks for
signals there.
"""

from __future__ import annotations

import decimal
import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import gevent.lock
from gevent import monkey

from geventjob.executor.slices import Pace
from geventjob.executor.watch import Watch
from tests.support.watching.base import Act

PACE = Pace(lag=0.002, slice=0.001, beat=0.001, turn=0.002)


def can_be_had(lock: Any) -> bool:
    """Return whether the lock is free, and leave it free."""
    if not lock.acquire(False):
        return False
    lock.release()
    return not (hasattr(lock, "_is_owned") and lock._is_owned())  # of a native RLock all greenlets are one owner


def again(lock: Any) -> Callable[[], None]:
    def body() -> None:
        while True:
            with lock:
                pass

    return body


def both(first: Any, second: Any) -> Callable[[], None]:
    def body() -> None:
        while True:
            with first, second:
                1 + 1  # noqa: B018

    return body


def decimals() -> None:
    """Enter contexts of `decimal`: a context that was not left would show after the block."""
    try:
        while True:
            with decimal.localcontext(decimal.Context(prec=7)):
                pass
    finally:
        if decimal.getcontext().prec == 7:
            raise ArithmeticError("the context of a block that is over")


def run(shots: str = "400") -> Any:
    watch = Watch(pace=PACE)
    native: Any = monkey.get_original("_thread", "allocate_lock")
    native_r: Any = monkey.get_original("_thread", "RLock")
    kinds: dict[str, Any] = {
        "native Lock": native(),
        "native RLock": native_r(),
        "Lock": threading.Lock(),
        "RLock": threading.RLock(),
        "Condition": threading.Condition(),
        "Semaphore": gevent.lock.BoundedSemaphore(1),
        "gevent RLock": gevent.lock.RLock(),
        "Lock of processes": multiprocessing.Lock(),
    }
    bodies = {name: again(lock) for name, lock in kinds.items()}
    two = native(), native_r()
    bodies |= {"two": both(*two), "decimal": decimals}
    kinds |= {"two, first": two[0], "two, second": two[1]}
    left: Counter[str] = Counter()
    endings: Counter[str] = Counter()
    while watch.alarm.raises < int(shots):
        for name, body in bodies.items():
            act = Act(watch, body, timeout=0.001 + (watch.alarm.raises % 7) / 10_000, preempt=False)
            endings[act.said] += 1
            if act.said.startswith("Raised"):
                left[name] += 1
            for lock_name, lock in kinds.items():
                if not can_be_had(lock):
                    left[lock_name] += 1
                    while not can_be_had(lock):
                        lock.release()
    watch.close()
    return {"left": left, "endings": len(endings), "shots": watch.alarm.raises, "faults": watch.alarm.faults}
