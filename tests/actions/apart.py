"""Actions in processes of their own, for tests of all that an action may do there."""

import asyncio
import logging
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from geventjob import Action, Backoff, JobStopped, action

log = logging.getLogger(__name__)
BEGUN = time.time()
"""When the file was loaded in this process."""


@action("reports", isolation="process")
def reports(job: Any, words: list[str]) -> dict[str, Any]:
    """Use each call on the job, its client and the log."""
    job.set_progress(40)
    job.set_status_message("counting")
    job.add_affected_resource("thing/1")
    job.add_affected_resources(["thing/1", "thing/2"])
    job.set_checkpoint({"words": len(words)})
    log.info("%d words, password in https://me:secret@host/", len(words))
    seen = job.client.get(job.id, select=["state", "progress"])
    secret = [name for name in os.environ if "PASS" in name or "SECRET" in name]
    return {"pid": os.getpid(), "seen": seen["state"], "here": job.progress, "secret": secret, "words": len(words)}


@action("with_settings", isolation="process")
class WithSettings(Action):
    def do_work(self) -> Any:
        return {"name": self.executor.name, "threads": self.executor.settings.threads, "pid": os.getpid()}


@action("awaits", timeout=20, isolation="process")
async def awaits(job: Any, seconds: float) -> None:
    """Report from a coroutine, and from its `finally`."""
    try:
        await job.aset_progress(10)
        await asyncio.sleep(seconds)
    finally:
        await job.aset_checkpoint("cleaned up")


@action("waits_apart", isolation="process")
def waits_apart(job: Any, file: str) -> None:
    """Wait for a stop, and note its coming."""
    Path(file).write_text(str(os.getpid()))
    try:
        while True:
            time.sleep(60)
    except JobStopped:
        Path(file).write_text("stopped")
        raise


@action("starts_programs", isolation="process")
def starts_programs(job: Any, file: str) -> None:
    """Start a program in a session of its own, and wait."""
    left = subprocess.Popen(["sleep", "600"], start_new_session=True)
    Path(file).write_text(f"{os.getpid()} {left.pid}")
    time.sleep(600)


@action("tried_again", retries=2, backoff=Backoff(first=0.05), retry_on=OSError, isolation="process")
def tried_again(job: Any, kinds: list[str]) -> None:
    """Raise one exception in each run."""
    raise {"OSError": OSError, "ValueError": ValueError}[kinds[job.attempt - 1]]("no")


@action("too_much", memory="100M", isolation="process")
def too_much(job: Any) -> None:
    assert bytearray(1 << 30)


@action("dies", isolation="process")
def dies(job: Any) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


@action("garbles", isolation="process")
def garbles(job: Any, data: str, times: int) -> None:
    """Send bytes that are no message over every socket."""
    for descriptor in range(3, 64):
        try:
            if os.path.realpath(f"/proc/self/fd/{descriptor}").rpartition("/")[2].startswith("socket:"):
                os.write(descriptor, data.encode() * times)
        except OSError:
            pass
    time.sleep(60)


@action("loaded", isolation="process")
def loaded(job: Any) -> dict[str, Any]:
    return {"begun": BEGUN, "pid": os.getpid()}
