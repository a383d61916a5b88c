"""The fork server: forks workers for one executor, and ends them with all their descendants.

It is started as a program of its own, has one thread, and runs no code of actions. Descendants of a worker whose parent
has ended become children of the worker, and after its end of the fork server, which kills them.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from setproctitle import setproctitle

from geventjob import kernel
from geventjob.clock import boottime
from geventjob.executor.workers.groups import Groups
from geventjob.executor.workers.messages import Alive, Died, Fork, Order, Signal, packed, unpacked
from geventjob.executor.workers.worker import work

TITLE = "geventjob-executor: fork server"
LARGEST = 1 << 16
"""Bytes of an order."""


def main() -> NoReturn:
    """Serve the executor at the other end of a socket, whose descriptor is the argument, until it is gone."""
    control = socket.socket(fileno=int(sys.argv[1]))
    kernel.die_with(int(sys.argv[2]), signal.SIGTERM)
    kernel.adopt_orphans()
    setproctitle(TITLE)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()
    ForkServer(control).run()
    os._exit(0)


class ForkServer:
    """The workers of one executor."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._workers: dict[int, int] = {}  # process id → number of the worker
        self._groups = Groups.delegated()
        self._until = float("inf")
        self._ends = False
        self._woken, self._waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._waking, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end)

    def run(self) -> None:
        """Obey until the executor is gone or has been silent for too long, then end all workers."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while not self._ends:
            poll.poll(None if self._until == float("inf") else max(0.0, self._until - boottime()) * 1000)
            with suppress(BlockingIOError):
                os.read(self._woken, 512)
            self._reap()
            # Only behind all orders, which may hold a sign of life that came while this process had no time.
            if not self._obey_one() and boottime() > self._until:
                self._until = float("inf")
                self._kill_all()  # the executor is frozen: its jobs run elsewhere by now
        while self._children():
            self._kill_all()
            self._reap(block=True)

    def _end(self, *_: object) -> None:
        self._ends = True

    # --- orders

    def _obey_one(self) -> bool:
        """Obey one order; return whether there was one. Note the end of the executor."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, LARGEST, 2, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            data, descriptors = b"", []
        if not data:
            self._ends = True
            return False
        order = unpacked(Order, data)
        if isinstance(order, Fork):
            self._fork(order, *descriptors)
        elif isinstance(order, Signal):
            for pid in [pid for pid, worker in self._workers.items() if worker == order.worker]:
                os.kill(pid, order.number)  # not reaped, so the number is its own
        elif isinstance(order, Alive):
            self._until = order.until
        return True

    def _fork(self, order: Fork, channel: int, dump: int) -> None:
        server = os.getpid()
        group = self._groups.make(order.worker, order.memory) if self._groups else None
        pid = os.fork()
        if pid == 0:
            _become_worker(server, self._leave, lambda: enter(group, order.memory), channel, dump)
        os.close(channel)
        os.close(dump)
        self._workers[pid] = order.worker

    def _leave(self) -> None:
        """Close, in a worker, what belongs to the fork server."""
        signal.set_wakeup_fd(-1)
        os.close(self._woken)
        os.close(self._waking)
        self._control.close()

    # --- ends

    def _reap(self, block: bool = False) -> None:
        """Collect the children that have ended, report workers among them, and kill what these have left behind."""
        reaped = False
        with suppress(ChildProcessError):
            while (ended := os.wait4(-1, 0 if block and not reaped else os.WNOHANG))[0]:
                pid, status, used = ended
                reaped = True
                self._report(pid, status, used.ru_maxrss * 1024, used.ru_utime + used.ru_stime)
        if reaped:
            for stranger in self._children() - self._workers.keys():
                with suppress(ProcessLookupError):
                    os.kill(stranger, signal.SIGKILL)

    def _report(self, pid: int, status: int, memory: int, cpu: float) -> None:
        worker = self._workers.pop(pid, None)
        if worker is None:
            return
        over = False
        if self._groups:
            memory, cpu, over = self._groups.end(worker, memory, cpu)
        with suppress(OSError):  # an executor that is frozen reads nothing, and must not hold up the ends of others
            self._control.send(packed(Died(worker, status, memory, cpu, over)), socket.MSG_DONTWAIT)

    def _kill_all(self) -> None:
        for pid in self._children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _children(self) -> set[int]:
        """Return the children of this process: workers, and descendants that they have left."""
        return {int(pid) for pid in Path("/proc/thread-self/children").read_text().split()}


def enter(group: Path | None, memory: int | None) -> None:
    """Bound the memory of this process: by its control group, else by its own limit."""
    if group is not None:
        (group / "cgroup.procs").write_text(str(os.getpid()))
    elif memory is not None:
        kernel.limit_memory(memory)


def _become_worker(
    server: int, leave: Callable[[], None], bound: Callable[[], None], channel: int, dump: int
) -> NoReturn:
    """Run jobs in a process that was just forked."""
    try:
        os.setsid()
        kernel.die_with(server, signal.SIGKILL)
        kernel.adopt_orphans()
        leave()
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        bound()
        work(channel, dump)
    finally:
        os._exit(1)
