"""The workers of an executor: the fork server, and the workers that wait for a job."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from time import monotonic
from typing import Any

import gevent
from gevent import socket, subprocess

from geventjob.clock import boottime
from geventjob.config import options
from geventjob.config.settings import SECRETS
from geventjob.executor.limits import JobLimits
from geventjob.executor.workers.messages import Alive, Died, Fork, Order, Setup, Signal, packed, unpacked
from geventjob.executor.workers.process import WorkerProcess
from geventjob.isolated import isolated
from geventjob.plugins import Actions, ActionSpec

log = logging.getLogger(__name__)

SIGNS = 10
"""Signs of life to the fork server in the time of a session."""
IDLE = 60.0
"""Seconds after which an idle worker ends."""


class Workers:
    """Starts workers, keeps idle ones, and ends them all with the executor."""

    def __init__(
        self,
        settings: dict[str, Any],
        log_in: Callable[[], dict[str, Any]],
        limits: JobLimits,
        session_timeout: float,
        lost: Callable[[], None],
    ) -> None:
        """Start nothing yet.

        `settings`: the options of the executor, as actions see them; secrets are left out. `log_in()` returns the
        arguments of `geventjob.Client` for `job.client`. `session_timeout`: seconds of silence after which the fork
        server ends all workers, as the executor is frozen. `lost()` is called in a greenlet when the fork server has
        ended by itself.
        """
        self._settings = {name: value for name, value in settings.items() if name not in SECRETS}
        self.log_in = log_in
        self._limits = limits
        self._session_timeout = session_timeout
        self._lost = lost
        self._folders: list[str] = []
        self._numbers = count(1)
        self._workers: dict[int, WorkerProcess] = {}
        self._idle: dict[str, list[WorkerProcess]] = {}
        self._control: Any = None
        self._closed = False

    def renew(self, actions: Actions) -> None:
        """Run the next jobs in new workers, which load the files anew. Starts the fork server for a first action."""
        self._folders = list(actions.folders)
        for worker in self._workers.values():
            worker.outdated = True
        for worker in [worker for idle in self._idle.values() for worker in idle]:
            worker.close()
        self._idle.clear()
        if self._control is None and any((spec := actions.get(name)) and spec.isolation for name in actions.names):
            self._start()

    def close(self) -> None:
        """End the fork server and all workers."""
        self._closed = True
        if self._control is not None:
            self._control.close()

    # --- workers

    def take(self, spec: ActionSpec) -> WorkerProcess:
        """Return a worker for a job of an action: an idle one, or a new one."""
        idle = self._idle.get(spec.name)
        while idle:
            worker = idle.pop()
            if worker.death is None:
                return worker
            worker.close()
        return self._fork(spec)

    def give(self, worker: WorkerProcess) -> None:
        """Keep a worker that has run a job for the next job, unless it has run enough, or its code is outdated."""
        if worker.outdated or worker.jobs >= self._limits.max_jobs_per_process or self._closed:
            worker.close()
            return
        worker.idle_since = monotonic()
        self._idle.setdefault(worker.action, []).append(worker)

    def _fork(self, spec: ActionSpec) -> WorkerProcess:
        assert spec.isolation is not None
        worker = WorkerProcess(next(self._numbers), spec.name, self._signal)
        self._workers[worker.number] = worker
        order = packed(Fork(worker.number, spec.isolation.memory))
        socket.send_fds(self._control, [order], list(worker.descriptors))
        worker.forked()
        level = logging.getLevelName(logging.getLogger().getEffectiveLevel()).lower()
        module = spec.target.__module__
        worker.send(Setup(self._folders, module, spec.name, level, self._settings))
        return worker

    def _signal(self, worker: int, number: int) -> None:
        self._tell(Signal(worker, number))

    def _tell(self, order: Order) -> None:
        with suppress(OSError):
            self._control.send(packed(order))

    # --- the fork server

    def _start(self) -> None:
        """Start the fork server as a new program: no hub, no connection and no secret of this process goes with it."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        arguments = (str(theirs.fileno()), str(os.getpid()))
        subprocess.Popen(
            isolated("geventjob.executor.workers.forking", *arguments),
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env=environment(),
            start_new_session=True,
        )
        theirs.close()
        gevent.spawn(self._listen)
        gevent.spawn(self._beat)

    def _listen(self) -> None:
        """Note the deaths of workers, until the fork server is gone."""
        while True:
            try:
                data = self._control.recv(1 << 12)
            except OSError:
                data = b""
            if not data:
                break
            death: Died = unpacked(Died, data)
            worker = self._workers.pop(death.worker, None)
            if worker is not None:
                worker.died(death)
        if not self._closed:
            log.critical("the fork server has ended, and with it the actions in processes: the executor ends too")
            self._lost()

    def _beat(self) -> None:
        """Give signs of life, and end workers that were idle for long."""
        while not self._closed:
            self._tell(Alive(boottime() + self._session_timeout))
            for idle in self._idle.values():
                while idle and monotonic() - idle[0].idle_since > IDLE:
                    idle.pop(0).close()
            gevent.sleep(self._session_timeout / SIGNS)


def environment() -> dict[str, str]:
    """Return the environment for the fork server and its workers: that of this process without secrets."""
    secret = {option.variable for option in options("executor") if option.secret}
    return {name: value for name, value in os.environ.items() if name not in secret}
