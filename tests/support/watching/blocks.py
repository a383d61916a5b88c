"""System calls that block: the calls that are parked and ended like code that computes, and the others."""

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
import psutil
from gevent import monkey

from geventjob.executor.culprits import Culprits
from geventjob.executor.watch import Watch
from tests.support.watching.base import Act, claim, until
from tests.support.watching.shares import spin

folder = Path(tempfile.gettempdir())
LONG = 10.0
"""Seconds for which the calls block that end by themselves; longer than any test."""
SHORT = 2.5
"""The same of calls whose end is waited for."""
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
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    builtins.input()


def asks_a_terminal() -> None:
    _ours, theirs = pty.openpty()
    for number in (0, 1):
        os.dup2(theirs, number)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
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
    os.system(f"sleep {SHORT:g}")


def waits_for_sqlite() -> None:
    path = folder / "database"
    first, second = (sqlite3.connect(path, timeout=SHORT, isolation_level=None) for _ in range(2))
    first.execute("BEGIN EXCLUSIVE")
    second.execute("BEGIN EXCLUSIVE")


def answer(found: Any) -> None:
    """Print the result, and exit with everything that the calls left behind."""
    os.write(ANSWER, json.dumps(found).encode())
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(0)


def several(*names: str) -> None:
    """Run each call beside an action that stops the call after a few turns of the hub."""
    watch = Watch(max_blocking=0.3)
    answer({name: one(watch, globals()[name]) for name in names})


def one(watch: Watch, call: Any) -> Any:
    global folder
    folder = Path(tempfile.mkdtemp(prefix="geventjob-blocks-"))
    steps = [0]

    def stops() -> None:
        while steps[0] < 5:
            gevent.sleep(0.01)
            steps[0] += 1
        watch.stop("job/1")

    act = Act(watch, call, timeout=20)
    until(lambda: act.greenlet in watch.running)
    beside = Act(watch, stops, claim("job/2"))
    act.greenlet.join(LONG - 1)
    said = act.said if act.greenlet.ready() else "still runs"
    beside.greenlet.join()
    shutil.rmtree(folder)
    return {"said": said, "seconds": act.seconds, "steps": steps[0], "faults": watch.alarm.faults}


def timed_out() -> None:
    """Run the calls in actions without slices, each alone."""
    watch = Watch(max_blocking=0.3)
    acts = [Act(watch, call, timeout=0.5, preempt=False) for call in (gets_from_a_queue, reads_a_pipe)]
    answer([[act.said, act.seconds] for act in acts])


def at_last() -> None:
    """Interrupt a call often, and return its result."""
    watch = Watch(max_blocking=0.3)
    reads, writes = os.pipe()
    steps = [0]

    def counts() -> None:
        while steps[0] < 10:
            gevent.sleep(0.01)
            steps[0] += 1
        os.write(writes, b"x")

    act = Act(watch, lambda: len(os.read(reads, 10)))
    Act(watch, counts, claim("job/2"))
    answer({"said": act.said, "steps": steps[0]})


def lost() -> None:
    """Lose the claim while the call blocks the hub, which must find the loss."""
    watch = Watch(max_blocking=0.3)
    act = Act(watch, reads_a_pipe)
    gevent.sleep(0.05)
    watch.lose([act.claim])
    answer({"said": act.said, "seconds": act.seconds})


def restarted() -> None:
    """Return the modes of SIGALRM before, during and after a call that holds up the hub."""
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


def hopeless(notes: str) -> None:
    """Make a call that cannot be interrupted, for longer than the session lives."""
    Act(Watch(session_timeout=0.8, culprits=Culprits(notes)), calls_system).greenlet.join()


def frozen(notes: str) -> None:
    """Make the same call for a shorter time, in which the process is stopped for long."""
    watch = Watch(session_timeout=0.8, culprits=Culprits(notes))
    subprocess.Popen(["/bin/sh", "-c", f"sleep 0.2; kill -STOP {os.getpid()}; sleep 2; kill -CONT {os.getpid()}"])
    act = Act(watch, lambda: os.system("sleep 2.5"))
    said = act.said
    gevent.sleep(0.1)
    answer({"said": said, "seconds": act.seconds, "notes": os.listdir(notes) if os.path.exists(notes) else []})


def returns(notes: str) -> None:
    """Make a call that is noted, and returns in time."""
    watch = Watch(session_timeout=1.5, culprits=Culprits(notes))
    found = []

    def calls() -> None:
        os.system("sleep 1.9")
        found.append(watch.culprits.of("job/1"))

    Act(watch, calls, preempt=False).greenlet.join()
    gevent.sleep(0.1)
    answer({"meanwhile": found, "after": watch.culprits.of("job/1")})
