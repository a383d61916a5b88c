"""Actions that misbehave, each in a greenlet (`NAME_greenlet`) and in a process (`NAME_process`)."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FunctionType
from typing import Any

import gevent

from geventjob import action

log = logging.getLogger(__name__)
Hostile = Callable[[Any], Any]


def hostile(function: Hostile) -> Hostile:
    """Make two actions of a function, one in a greenlet and one in a process."""
    ways: dict[str, dict[str, Any]] = {"greenlet": {}, "process": {"isolation": "process", "memory": "256M"}}
    for way, more in ways.items():
        assert isinstance(function, FunctionType)
        name = f"{function.__name__}_{way}"
        globals()[name] = action(name, **more)(FunctionType(function.__code__, globals(), name))
    return function


@hostile
def well_behaved(job: Any) -> Any:
    """Report and wait, as the jobs beside the others do."""
    for step in range(5):
        job.set_progress(20 * step)
        time.sleep(0.1)
    return {"pid": os.getpid(), "folder": os.getcwd(), "found": os.environ.get("HOSTILE")}


@hostile
def computes(job: Any) -> Any:
    while True:
        pass


@hostile
def swallows(job: Any) -> Any:
    """Swallow all that is raised, until the file is there."""
    while not os.path.exists(job.payload["file"]):
        with suppress(BaseException):
            time.sleep(60)


@hostile
def computes_and_swallows(job: Any) -> Any:
    while not os.path.exists(job.payload["file"]):
        with suppress(BaseException):
            while not os.path.exists(job.payload["file"]):
                pass


@hostile
def never_leaves_c(job: Any) -> Any:
    sum(range(10**12))


@hostile
def waits_in_c(job: Any) -> Any:
    os.system("sleep 600")


@hostile
def exits(job: Any) -> Any:
    raise SystemExit(3)


@hostile
def interrupts(job: Any) -> Any:
    raise KeyboardInterrupt


@hostile
def ends_its_greenlet(job: Any) -> Any:
    raise gevent.GreenletExit


@hostile
def recurses(job: Any) -> Any:
    def deeper() -> None:
        deeper()

    deeper()


class Deep:
    def __repr__(self) -> str:
        return repr(self)


@hostile
def leaves_the_stack(job: Any) -> Any:
    sys.setrecursionlimit(10**9)
    repr(Deep())


@hostile
def fills_memory(job: Any) -> Any:
    kept = []
    while True:
        kept.append(bytearray(1 << 24))


@hostile
def breaks_memory(job: Any) -> Any:
    os.kill(os.getpid(), signal.SIGSEGV)


@hostile
def leaves_at_once(job: Any) -> Any:
    os._exit(0)


@hostile
def leaves_a_child(job: Any) -> Any:
    child = os.fork()
    if child == 0:
        os.setsid()
        while not os.path.exists(job.payload["file"]):
            time.sleep(0.1)
        os._exit(0)
    return {"child": child}


@hostile
def closes_everything(job: Any) -> Any:
    os.closerange(3, 4096)
    time.sleep(0.1)


@hostile
def moves_away(job: Any) -> Any:
    os.chdir("/proc")
    os.environ["HOSTILE"] = "yes"
    os.umask(0)
    time.sleep(0.1)
    return {"pid": os.getpid()}


@hostile
def talks(job: Any) -> Any:
    line = "x" * 1000
    for _ in range(job.payload["megabytes"] * 1000):
        log.info(line)


@hostile
def exaggerates(job: Any) -> Any:
    job.set_progress(1e9)


@hostile
def says_too_much(job: Any) -> Any:
    job.set_status_message("x" * job.payload["size"])


@hostile
def returns_too_much(job: Any) -> Any:
    return ["x" * job.payload["size"]]


@hostile
def writes_too_much(job: Any) -> Any:
    job.edit(properties={"text": "x" * job.payload["size"]})


@hostile
def returns_an_object(job: Any) -> Any:
    return object()


@hostile
def leaves_threads(job: Any) -> Any:
    def forever() -> None:
        while not os.path.exists(job.payload["file"]):
            time.sleep(0.1)

    threading.Thread(target=forever, daemon=True).start()
    gevent.spawn(forever)
    return {"pid": os.getpid()}


@hostile
def patches_sleep(job: Any) -> Any:
    time.sleep = lambda seconds: None
    return {"pid": os.getpid()}


@hostile
def sets_an_alarm(job: Any) -> Any:
    signal.alarm(1)
    time.sleep(60)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


@hostile
def cannot_be_told(job: Any) -> Any:
    raise Unspeakable


class Lengthy(Exception):
    def __str__(self) -> str:
        return "x" * 5_000_000


@hostile
def fails_at_length(job: Any) -> Any:
    raise Lengthy


@hostile
def ends_its_fork_server(job: Any) -> Any:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
