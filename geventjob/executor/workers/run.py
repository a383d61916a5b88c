"""One job in a worker, from the view of the greenlet that runs it in the executor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any

from gevent import Timeout

from geventjob import traceparent
from geventjob.debug import traceback_of
from geventjob.ends import JobLost, JobStopped, ProcessDied
from geventjob.executor.ending import EndedApart, ForeignValue, Raised, RaisedApart
from geventjob.executor.exception_text import SECONDS
from geventjob.executor.job import Job
from geventjob.executor.running import Running
from geventjob.executor.workers.ends import DUMP, NUMBERS
from geventjob.executor.workers.errors import told
from geventjob.executor.workers.messages import (
    AskClient,
    BadMessage,
    EditCall,
    Error,
    FromWorker,
    Loaded,
    LoggedLine,
    LogIn,
    Reply,
    Start,
    Value,
)
from geventjob.executor.workers.pool import Workers
from geventjob.executor.workers.process import DEATH, Gone, WorkerProcess, cause, used
from geventjob.plugins import ActionSpec

GRACE = 8.0
"""Seconds that an action has to end after the first exception; then its process is killed. Less than ABANDON."""
CLOSED = 1.0
"""Seconds for the death of a process whose socket is closed; then it is killed."""
EACH = 0.25
"""Seconds between two looks at a process that is about to die."""
LOAD = 30.0
"""Seconds that a new process may take to load the file of its action, if the time limit of the job is shorter."""


class ApartRun:
    """A run in a worker. What ends the action is thrown into the calling greenlet, and goes on to the worker."""

    def __init__(
        self, workers: Workers, spec: ActionSpec, job: Job, running: Running, limit: Callable[[Running, float], None]
    ) -> None:
        """Start nothing yet. `limit(running, seconds)` sets the time at which the action is ended by a Timeout."""
        self._workers = workers
        self._spec = spec
        self._job = job
        self._running = running
        self._limit = limit
        self._ended = 0.0  # when the first exception came, monotonic
        self._edit: EditCall | None = None  # that waits for its reply
        self._error: Error | None = None  # whose text is still to come
        self._fault: Gone | BadMessage | None = None  # of a process that is dead, or not fit to live
        self._deadline = 0.0  # of this text, or of a death by itself; monotonic
        self._clean = False
        self._began = False

    def value(self) -> Any:
        """Run the action, and return its value. Raises EndedApart, and the exception that has ended the action."""
        worker = self._workers.take(self._spec)
        worker.jobs += 1
        seconds = self._running.timeout
        if seconds is not None and worker.jobs == 1:  # until its file is loaded
            self._limit(self._running, max(seconds, LOAD))
        self._running.process = worker
        try:
            worker.send(Start(dict(self._job), seconds, traceparent.current()))
            return self._outcome(worker)
        finally:
            self._running.process = None
            if self._ended:
                self._running.seen = [("", worker.stack())]
            if self._clean and not self._ended:
                self._workers.give(worker)
            else:
                worker.close()

    def _outcome(self, worker: WorkerProcess) -> Any:
        while self._fault is None or not self._dead(worker):
            try:
                message = self._next(worker) if self._fault is None else worker.dead.wait(EACH)
            except (Timeout, JobStopped, JobLost) as end:
                if end is not self._running.thrown:
                    raise
                self._pass_on(worker, end)
            except (Gone, BadMessage) as fault:
                self._fault = fault
                self._deadline = monotonic() + CLOSED
            else:
                if isinstance(message, (Value, Error)):
                    return self._end_of(message)
        return self._end_by_death(worker, self._fault)

    def _next(self, worker: WorkerProcess) -> FromWorker | None:
        """Handle the next message; return it if it is an end of the code."""
        seconds = None if self._error is None else max(0.001, self._deadline - monotonic())
        try:
            message = worker.receive(seconds)
        except TimeoutError:
            return self._error
        if isinstance(message, LoggedLine):
            _log(message)
        elif isinstance(message, Loaded):
            self._loaded(worker)
        elif isinstance(message, EditCall):
            self._answer(worker, message)
        elif isinstance(message, AskClient):
            worker.send(LogIn(message.call, self._workers.log_in()))
        elif isinstance(message, Error) and message.more:
            self._error, self._deadline = message, monotonic() + SECONDS
        else:
            return message
        return None

    def _loaded(self, worker: WorkerProcess) -> None:
        """Begin the time limit of the action in a new process, once."""
        if worker.jobs == 1 and not self._began and self._running.timeout is not None and not self._ended:
            self._limit(self._running, self._running.timeout)
        self._began = True

    # --- calls

    def _answer(self, worker: WorkerProcess, edit: EditCall) -> None:
        """Edit the job. The exception that ends the action leaves the edit to `_pass_on`."""
        before = dict(self._job)
        self._edit = edit
        try:
            self._job.edit(**edit.set)
        except BaseException as error:
            if error is self._running.thrown:
                raise
            reply = Reply(edit.call, error=told(error))
        else:
            changed = {name: value for name, value in self._job.items() if name not in before or before[name] != value}
            reply = Reply(edit.call, changed, [name for name in before if name not in self._job])
        worker.send(reply)
        self._edit = None

    # --- ends

    def _end_of(self, message: Value | Error) -> Any:
        """Return the value that the action has returned; raise EndedApart for an exception."""
        self._clean = message.clean
        self._job.set_state(message.end or "RUNNING")
        if isinstance(message, Value):
            return ForeignValue(message.wrong) if message.wrong else message.value
        error = JobLost() if message.lost else Exception(message.kind)
        raise EndedApart(
            RaisedApart(error, message.text, message.trace, message.kind, message.pause, message.limit)
        ) from None

    def _pass_on(self, worker: WorkerProcess, end: BaseException) -> None:
        """Raise the exception in the worker: by the reply to a call, else by a signal. Kill it in the end."""
        now = monotonic()
        if not self._ended:
            self._ended = now
            worker.signal(DUMP)
        elif now - self._ended > GRACE:
            worker.signal(DUMP)
            worker.kill()
            return
        edit, self._edit = self._edit, None
        if edit is not None:
            worker.send(Reply(edit.call, error=told(end)))
            if edit.main:
                return
        worker.signal(next(number for kind, number in NUMBERS.items() if isinstance(end, kind)))

    def _dead(self, worker: WorkerProcess) -> bool:
        """Return whether the process that is not fit to live is dead, or its death is not told in time."""
        now = monotonic()
        if isinstance(self._fault, BadMessage) or now > self._deadline:
            worker.kill()
        return worker.death is not None or now > self._deadline + DEATH

    def _end_by_death(self, worker: WorkerProcess, fault: Exception) -> Any:
        """Raise the end of an action whose process has died."""
        if self._ended and self._running.thrown is not None:
            self._running.used = f"its process was killed; {used(worker.death)}"
            raise self._running.thrown
        if self._error is not None:
            return self._end_of(self._error)
        why = f"sent {fault}" if isinstance(fault, BadMessage) else cause(worker.death)
        text = f"its process {why}; {used(worker.death)}"
        raise EndedApart(
            Raised(ProcessDied(text), f"ProcessDied: {text}", traceback_of(worker.stack()).rstrip())
        ) from None


def _log(line: LoggedLine) -> None:
    """Log a line of the action: the greenlet names the job. No logger is made for a name that code has chosen."""
    record = logging.LogRecord(line.name, line.level, "", 0, line.text, None, None)
    record.created = line.created
    root = logging.getLogger()
    if root.isEnabledFor(line.level):
        root.handle(record)
