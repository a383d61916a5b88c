"""Actions that are coroutines, for tests with a real executor."""

import asyncio
import logging
import multiprocessing
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from geventjob import Action, action

log = logging.getLogger("coroutines")


@action("sleeps", timeout=60)
async def sleeps(job: Any) -> dict[str, int]:
    await asyncio.sleep(job.payload["seconds"])
    return {"loop": id(asyncio.get_running_loop()), "thread": threading.get_native_id()}


@action("reports")
class Reports(Action):
    """Use each call that reports."""

    async def do_work(self) -> None:
        job = self.job
        await job.aset_progress(40)
        await asyncio.to_thread(job.set_progress, job["progress"] + 10)
        await job.aset_status_message("half")
        await job.aset_return_code(0)
        await job.aadd_affected_resource("site/1")
        await job.aadd_affected_resources(["site/2"])
        await job.aset_checkpoint({"at": 5})
        await job.aset_output([1, 2])
        await job.aedit(name="renamed")
        log.info("reported")
        try:
            job.set_progress(60)
        except RuntimeError as error:
            await job.aset_status_message(str(error))


@action("fails_twice", retries=5)
async def fails_twice(job: Any) -> None:
    await asyncio.sleep(0)
    if job.get("retried", 0) < 2:
        raise OSError("not yet")


@action("waits_and_notes")
async def waits_and_notes(job: Any) -> None:
    """Wait for the end, and note why it came in the file of the payload."""
    with Path(job.payload["file"]).open("a") as notes:
        print("begun", file=notes, flush=True)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as error:
            await asyncio.sleep(0.1)
            print(error, file=notes, flush=True)
            try:
                await job.aset_progress(99)
            except BaseException as refusal:
                print(type(refusal).__name__, file=notes, flush=True)
                raise
            raise


@action("swallows_cancels", timeout=0.2)
async def swallows_cancels(job: Any) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


@action("holds_the_loop", timeout=60)
async def holds_the_loop(job: Any) -> None:
    time.sleep(job.payload["seconds"])


@action("greenlet", timeout=60)
def greenlet(job: Any) -> None:
    time.sleep(job.payload["seconds"])


def fork_and_wait(file: str) -> int | None:
    def child() -> None:
        with Path(file).open("a") as notes:
            print("child", os.getpid() != parent, file=notes)

    parent = os.getpid()
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join()
    return process.exitcode


@action("forks_in_a_thread", timeout=60)
async def forks_in_a_thread(job: Any) -> None:
    """Fork beside other coroutines, which must not go on in the child."""

    async def neighbour() -> None:
        with Path(job.payload["file"]).open("a") as notes:
            for _ in range(20):
                await asyncio.sleep(0.02)
                print("neighbour", os.getpid(), file=notes, flush=True)

    beside = asyncio.create_task(neighbour())
    codes = [await asyncio.to_thread(fork_and_wait, job.payload["file"]) for _ in range(3)]
    await beside
    try:
        fork_and_wait(job.payload["file"])
    except RuntimeError as error:
        await job.aset_status_message(f"{codes} {error}")
