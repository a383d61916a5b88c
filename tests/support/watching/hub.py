"""A hub that is held up, or never runs again: the code that the log names, and the end of the process."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
from gevent import monkey

from geventjob import debug
from geventjob.executor import watch as watch_module
from geventjob.executor import watchdog
from geventjob.executor.watch import Watch
from tests.support.watching.base import Act, claim, until
from tests.support.watching.shares import spin

native_sleep = monkey.get_original("time", "sleep")


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        logging.getLogger("geventjob").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def blocked() -> Any:
    """Hold up the hub in each way for longer than allowed, and in one way for less."""
    log = Lines()
    watch = Watch(max_blocking=0.25)
    answers = {}

    def computes() -> None:
        spin(0.4)

    def calls_c() -> None:
        sum(range(40_000_000))

    def sleeps_natively() -> None:
        native_sleep(0.4)

    def in_short() -> None:
        for _ in range(20):
            spin(0.05)
            gevent.sleep(0.001)

    for body in (computes, calls_c, sleeps_natively, in_short):
        log.lines.clear()
        Act(watch, body, preempt=False).greenlet.join()
        gevent.sleep(0.1)
        answers[body.__name__] = list(log.lines)
    log.lines.clear()
    gevent.spawn(spin, 0.4).join()  # of the engine, say
    gevent.sleep(0.1)
    answers["engine"] = list(log.lines)
    log.lines.clear()
    gevent.get_hub().loop.run_callback(spin, 0.4)
    gevent.sleep(0.1)
    gevent.sleep(0.1)
    answers["hub"] = list(log.lines)
    log.lines.clear()
    Act(watch, lambda: spin(0.4)).greenlet.join()
    answers["sliced"] = list(log.lines)
    watch.close()
    return answers


def short_of_time(fd: int) -> Watch:
    """Return a watch whose watchdog ends the process after 0.3 s of CPU on each core."""
    watch_module.GRACE = 0.1
    watchdog.AGAIN = 0.05
    return Watch(session_timeout=0.2, fd=fd)


def never_back(path: str) -> None:
    """Run C code that keeps the GIL."""
    dumps = debug.Dumps(path)
    watch = short_of_time(dumps.fd)

    def hopeless() -> None:
        print("begun", flush=True)
        sum(range(10**12))

    Act(watch, hopeless, timeout=0.1).greenlet.join()
    print("it came back")


def survives(path: str) -> Any:
    """Stop the process for longer than the limit, which uses no CPU; then work for longer than the limit."""
    dumps = debug.Dumps(path)
    watch = short_of_time(dumps.fd)
    Act(watch, lambda: spin(1.0)).greenlet.join()
    subprocess.Popen(["/bin/sh", "-c", f"kill -STOP {os.getpid()}; sleep 1; kill -CONT {os.getpid()}"])
    begun = monotonic()
    while monotonic() - begun < 1.2:
        spin(0.01)
        gevent.sleep(0.01)
    watch.close()
    dumps.close()
    return {"alive": True, "written": Path(path).read_text()}


def dumps(path: str) -> Any:
    """Send SIGUSR1 to a hub that runs, to a hub that is blocked, and after a rotation of the log."""
    log = Lines()
    writes = debug.Dumps(path)
    watch = Watch()
    writes.describe = watch.describe
    raw = Path(path)

    def waits_here() -> None:
        gevent.sleep(60)

    def parked_here() -> None:
        while True:
            pass

    def swallows_here() -> None:
        while True:
            try:
                gevent.sleep(60)
            except BaseException:
                if over:
                    raise

    def starts() -> None:
        gevent.spawn(child_waits).join()

    def child_waits() -> None:
        gevent.sleep(60)

    over: list[bool] = []
    watch.register.abandon_after = 0.3
    acts = [Act(watch, body, claim(f"job/{n}")) for n, body in enumerate((waits_here, parked_here, starts))]
    acts.append(Act(watch, swallows_here, claim("job/9"), timeout=0.1))
    until(lambda: watch.abandoned)
    log.lines.clear()
    until(lambda: len(watch._slices._parked))
    os.kill(os.getpid(), signal.SIGUSR1)

    def told_live() -> list[str]:
        return [line for line in log.lines if line.startswith("SIGUSR1: ")]  # a blocked hub is logged too

    until(lambda: len(told_live()) > 5 and "thread" in told_live()[-1])
    live, live_raw = told_live(), raw.read_text()
    over.append(True)
    gevent.killall([act.greenlet for act in acts])
    log.lines.clear()

    def blocks() -> None:
        subprocess.Popen(["/bin/sh", "-c", f"sleep 0.2; kill -USR1 {os.getpid()}"])
        end = monotonic() + 0.6
        while monotonic() < end:
            sum(range(1000))
        told.append(len(log.lines))
        told.append("blocks" in raw.read_text()[len(live_raw) :])

    told: list[Any] = []
    Act(watch, blocks, preempt=False).greenlet.join()
    until(lambda: log.lines)
    raw.rename(f"{path}.1")
    raw.touch()  # as the log does
    until(lambda: os.path.samestat(os.fstat(writes.fd), raw.stat()))
    os.kill(os.getpid(), signal.SIGUSR1)
    until(lambda: raw.read_text())
    followed = raw.read_text()
    watch.close()
    writes.close()
    return {"live": live, "raw": live_raw, "blocked": told, "followed": followed, "dump": debug.dump()}
