"""Actions for tests of child processes: each line in the file that the payload names says which process wrote it."""

import asyncio
import multiprocessing
import os
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from os import chdir
from pathlib import Path
from signal import alarm
from typing import Any

from geventjob import action


def note(path: Path, word: str) -> None:
    with open(path, "a") as file:
        file.write(f"{os.getpid()} {word}\n")


@action("neighbour")
def neighbour(job: Any) -> None:
    """Write a line each 20 ms until the file says to end."""
    try:
        for step in range(3000):
            note(job.payload["file"], "step")
            job.set_progress(step % 100)
            if os.path.exists(job.payload["file"] + ".end"):
                return
            time.sleep(0.02)
    finally:
        note(job.payload["file"], "finally")


@dataclass
class Square:
    of: int


def square(number: Any) -> Any:
    time.sleep(0.05)
    return Square(number * number)


def fails() -> None:
    raise ValueError("of the child")


def child(job: Any, path: Path, queue: Any) -> None:
    """Do everything that a forked child may do, waiting included: the event loop runs there."""
    note(path, "child")
    time.sleep(0.3)
    try:
        job.set_progress(1)
    except RuntimeError as error:
        queue.put(str(error))
    queue.put(job.client.get(job.id)["id"])
    queue.put(subprocess.run(["echo", "inner"], capture_output=True, text=True).stdout)
    thread = threading.Thread(target=time.sleep, args=(0.05,))
    thread.start()
    thread.join()


@action("forks", timeout=60)
def forks(job: Any) -> None:
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    process = fork.Process(target=child, args=(job, job.payload["file"], queue))
    process.start()
    answers = [queue.get() for _ in range(3)]
    process.join()
    assert process.exitcode == 0
    assert answers[0].startswith(f"{job.id} is run by the process {os.getpid()}"), answers
    assert answers[1:] == [job.id, "inner\n"], answers
    with fork.Pool(2) as pool:
        assert pool.map(square, range(4)) == [Square(n * n) for n in range(4)]
    long = fork.Process(target=time.sleep, args=(60,))
    long.start()
    long.terminate()
    long.join()
    assert long.exitcode == -15
    big = fork.Queue()
    process = fork.Process(target=big.put, args=("x" * 1_000_000,))
    process.start()
    assert len(big.get()) == 1_000_000
    process.join()


@action("forks_by_hand", timeout=60)
def forks_by_hand(job: Any) -> None:
    """Fork children that leave the action like the parent would: by its end, by an error, in a thread."""
    parent = os.getpid()
    returns = os.fork()
    if not returns:
        time.sleep(0.2)
        return
    raises = os.fork()
    if not raises:
        time.sleep(0.2)
        raise SystemExit(7)
    in_thread = []
    thread = threading.Thread(target=lambda: in_thread.append(os.fork()) or time.sleep(0.2))
    thread.start()
    thread.join()
    assert os.getpid() == parent
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in (returns, raises, *in_thread)]
    job.set_status_message(f"exit codes {codes}")


@action("starts_anew", timeout=60)
def starts_anew(job: Any) -> None:
    anew = multiprocessing.get_context(job.payload["method"])
    with anew.Pool(2) as pool:
        assert pool.map(square, range(4)) == [Square(n * n) for n in range(4)]
    process = anew.Process(target=fails)
    process.start()
    process.join()
    job.set_status_message(f"exit code {process.exitcode}")


@action("own_state", timeout=60)
def own_state(job: Any) -> None:
    """Run as if alone in the process, with names that the file imported before any action ran."""
    with tempfile.TemporaryDirectory() as folder:
        chdir(folder)
        asyncio.run(tells(job))
        assert os.path.samefile(os.getcwd(), folder)
    job.set_status_message(f"progress {job['progress']}")


async def tells(job: Any) -> None:
    for step in range(5):
        await asyncio.sleep(0.02)
        job.set_progress(step)


@action("alarms")
def alarms(job: Any) -> None:
    alarm(1)


@action("waits_for_programs")
def waits_for_programs(job: Any) -> int:
    """Wait for a program and a forked child; return the exit code of the first failure."""
    child = multiprocessing.get_context("fork").Process(target=note_and_wait, args=(job.payload["file"],))
    child.start()
    program = subprocess.run(["sh", "-c", f"echo program >> {job.payload['file']}; sleep 1"], check=False)
    child.join()
    return abs(program.returncode) or abs(child.exitcode or 0)


def note_and_wait(path: Path) -> None:
    note(path, "child")
    time.sleep(1)
