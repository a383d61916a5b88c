"""multiprocessing under `multiprocess.cooperate`: the hub runs while the parent waits.

Each child ends its wait only when a greenlet of the parent has run, so a call that holds the hub ends by the time limit
of the scenario.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import gevent

from geventjob import fork, multiprocess
from geventjob.plugins import find_actions
from geventjob.plugins.spawned import share

LARGE = 1_000_000
"""Bytes, more than a pipe or socket buffers."""


def meanwhile(call: Callable[[], Any]) -> None:
    """Run the call in a greenlet of its own, after the caller has begun to wait."""

    def run() -> None:
        for _ in range(5):
            gevent.sleep(0.001)
        call()

    gevent.spawn(run)


def after(gate: Any, number: int) -> int:
    gate.acquire()
    gate.release()
    return number * number


_gate: Any = None


def begin(gate: Any) -> None:
    """Keep the gate for `squared`, in a process of a pool."""
    global _gate
    _gate = gate


def squared(number: int) -> int:
    return after(_gate, number)


def maps(method: str) -> Any:
    """Return the results of a pool whose processes wait until a greenlet of this process has run."""
    prepare()
    context: Any = multiprocessing.get_context(method)
    gate = context.Lock()
    gate.acquire()
    with context.Pool(2, begin, (gate,)) as pool:
        meanwhile(gate.release)
        return pool.map(squared, range(20))


def prepare() -> None:
    fork.isolate()
    multiprocess.cooperate()


def echo(pipe: Any, gate: Any) -> None:
    """Return each message, read after a release of the gate; end with 3 at an empty message."""
    while gate.acquire() and (data := pipe.recv_bytes()):
        pipe.send_bytes(data)
    raise SystemExit(3)


def joins(method: str) -> Any:
    """Exchange messages with a process, and wait for its end; return their sizes and the exit code."""
    prepare()
    context: Any = multiprocessing.get_context(method)
    (ours, theirs), gate = context.Pipe(), context.Semaphore(0)
    child = context.Process(target=echo, args=(theirs, gate))
    child.start()
    sizes = []
    for size in (1, LARGE):
        meanwhile(gate.release)
        ours.send_bytes(b"x" * size)
        sizes.append(len(ours.recv_bytes()))
    ours.send_bytes(b"")
    meanwhile(gate.release)
    child.join()
    return {"sizes": sizes, "code": child.exitcode}


def hold(lock: Any, pipe: Any) -> None:
    with lock:
        pipe.send_bytes(b"held")
        pipe.recv_bytes()


def locks() -> Any:
    """Return the results of `acquire` while another process holds the lock, and after its release."""
    prepare()
    context = multiprocessing.get_context("spawn")
    lock = context.Lock()
    ours, theirs = context.Pipe()
    child = context.Process(target=hold, args=(lock, theirs))
    child.start()
    ours.recv_bytes()
    found = [lock.acquire(block=False), lock.acquire(timeout=0.05)]
    meanwhile(lambda: ours.send_bytes(b"release"))
    found.append(lock.acquire())
    lock.release()
    child.join()
    return found


def imports(folder: str, method: str) -> Any:
    """Start a function of a drop-in file in a new process; return its exit code and its note."""
    prepare()
    actions = find_actions([folder])
    share([folder])
    module = import_module(actions.get("mine").target.__module__)
    child: Any = multiprocessing.get_context(method).Process(  # type: ignore[attr-defined]
        target=module.note, args=(str(Path(folder) / "note"),)
    )
    child.start()
    child.join()
    return {"code": child.exitcode, "note": (Path(folder) / "note").read_text()}
