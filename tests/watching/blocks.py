"""System calls that block: which are parked and ended like code that computes."""

from __future__ import annotations

import builtins
import fcntl
import json
import multiprocessing
import os
import pty
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gevent
from gevent import monkey

from geventjob.executor.watch import Watch
from tests.watching.base import Act, Gaps, claim
from tests.watching.shares import spin

folder = Path(tempfile.gettempdir())
LONG = 3.0
"""Seconds for which the calls block that end by themselves; longer than any time-out."""
ANSWER = os.dup(1)


def reads_a_pipe() -> None:
    os.read(os.pipe()[0], 1)


def reads_a_fifo() -> None:
    path = folder / "fifo"
    os.mkfifo(path)
    path.read_bytes()


def locks_a_file() -> None:
    path = folder / "locked"
    path.touch()
    held = path.open()
    fcntl.flock(held, fcntl.LOCK_EX)
    fcntl.flock(path.open(), fcntl.LOCK_EX)


def sleeps_natively() -> None:
    monkey.get_original("time", "sleep")(LONG)


def acquires_a_native_lock() -> None:
    lock = monkey.get_original("_thread", "allocate_lock")()
    lock.acquire()
    lock.acquire()


def asks_a_pipe() -> None:
    os.dup2(os.pipe()[0], 0)
    sys.stdin = open(0)  # noqa: SIM115
    builtins.input()


def asks_a_terminal() -> None:
    _ours, theirs = pty.openpty()
    for number in (0, 1):
        os.dup2(theirs, number)
    sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115
    builtins.input("?")


def waits_for_a_child() -> None:
    os.waitpid(subprocess.Popen(["sleep", f"{LONG:g}"]).pid, 0)


def waits_for_any_child() -> None:
    pid = os.posix_spawn("/bin/sleep", ["sleep", f"{LONG:g}"], {})
    os.waitid(os.P_PID, pid, os.WEXITED)


def _sleep() -> None:
    monkey.get_original("time", "sleep")(LONG)


def joins_a_process() -> None:
    process = multiprocessing.get_context("fork").Process(target=_sleep)
    process.start()
    process.join()


def joins_a_spawned_process() -> None:
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(LONG,))
    process.start()
    process.join()


def gets_from_a_queue() -> None:
    multiprocessing.get_context("fork").Queue().get()


def acquires_a_shared_lock() -> None:
    lock = multiprocessing.get_context("fork").Lock()
    lock.acquire()
    lock.acquire()


def maps_in_a_pool() -> None:
    multiprocessing.get_context("spawn").Pool(2).map(time.sleep, [LONG, LONG])


def maps_in_a_forked_pool() -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(time.sleep, [LONG, LONG])


def calls_system() -> None:
    os.system(f"sleep {LONG:g}")


def waits_for_sqlite() -> None:
    path = folder / "database"
    first, second = (sqlite3.connect(path, timeout=LONG, isolation_level=None) for _ in range(2))
    first.execute("BEGIN EXCLUSIVE")
    second.execute("BEGIN EXCLUSIVE")


def reads_at_last() -> int:
    reads, writes = os.pipe()
    os.posix_spawn(
        "/bin/sh", ["sh", "-c", f"sleep 1; echo >&{writes}"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, writes, writes)]
    )
    return len(os.read(reads, 10))


def answer(found: Any) -> None:
    """Print what was found, and end without waiting for what the calls left behind."""
    os.write(ANSWER, json.dumps(found).encode())
    os._exit(0)


def one(name: str, limit: str = "0.8", preempt: str = "yes") -> None:
    """One call beside an action that counts, for which the hub has to run."""
    global folder
    folder = Path(tempfile.mkdtemp(prefix="geventjob-blocks-"))
    watch = Watch(max_blocking=0.3)
    gaps = Gaps()
    steps = [0]

    def counts() -> None:
        while True:
            gevent.sleep(0.01)
            steps[0] += 1

    Act(watch, counts, claim("job/2"))
    gevent.sleep(0.05)
    gaps.reset()
    steps[0] = 0
    act = Act(watch, globals()[name], timeout=float(limit), preempt=preempt == "yes")
    act.greenlet.join(2 * LONG)
    said = act.said if act.greenlet.ready() else "still runs"
    shutil.rmtree(folder)
    answer({"said": said, "seconds": act.seconds, "gap": gaps.largest, "steps": steps[0], "faults": watch.faults})


def ended(how: str) -> None:
    """A stop and a loss, which the hub has to learn of while the call blocks."""
    watch = Watch(max_blocking=0.3)
    act = Act(watch, reads_a_pipe)
    gevent.sleep(0.05)
    (watch.stop if how == "stop" else watch.lose)(act.claim.job if how == "stop" else [act.claim])  # type: ignore[operator]
    answer({"said": act.said, "seconds": act.seconds})


def restarted() -> None:
    """Calls are interrupted only while they hold up the hub: the same process before, meanwhile and after."""
    watch = Watch(max_blocking=0.3)
    modes = []

    def looks() -> None:
        while True:
            modes.append(watch._slices._interrupting)
            gevent.sleep(0.01)

    gevent.spawn(looks)
    Act(watch, lambda: spin(0.5)).greenlet.join()
    Act(watch, reads_a_pipe, timeout=0.7).greenlet.join()
    waits = watch._slices._interrupting
    gevent.sleep(0.05)
    answer({"in the hub": sorted(set(modes)), "after": watch._slices._interrupting, "when thrown": waits})
