"""A worker process: runs jobs of one action, one after another, in its main thread.

gevent patches nothing here and no hub runs, unless code of the action starts one. The process has one connection, to
its executor; what ends the action comes as a signal.
"""

from __future__ import annotations

import faulthandler
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from inspect import iscoroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from setproctitle import setproctitle

from geventjob.cimi.client import Client
from geventjob.ends import JobLost
from geventjob.executor import exception_text
from geventjob.executor.context import ExecutorContext
from geventjob.executor.job import Job, checked_report, cut
from geventjob.executor.workers.calls import Calls, SentLines
from geventjob.executor.workers.ends import DUMP, Ends
from geventjob.executor.workers.messages import LINE, Error, Loaded, Setup, Start, Value
from geventjob.executor.workers.traces import Traces
from geventjob.log import set_level
from geventjob.plugins import ActionSpec
from geventjob.plugins.dropins import finder
from geventjob.plugins.find import actions_in
from geventjob.plugins.spawned import share
from geventjob.traceparent import INCOMING


def work(channel: int, dump: int) -> NoReturn:
    """Run the jobs that come over a stream socket, until its other end is closed.

    `dump`: descriptor of the file to which C code writes the stack of this process.
    """
    faulthandler.enable(dump, all_threads=False)
    faulthandler.register(DUMP, dump, all_threads=False)
    calls = Calls(channel)
    ends = Ends(calls)
    setup = calls.receive()
    assert isinstance(setup, Setup)
    worker = Worker(setup, calls, ends)
    while True:
        start = calls.receive()
        assert isinstance(start, Start)
        worker.run(start)


class Worker:
    """The runs of one action in this process."""

    def __init__(self, setup: Setup, calls: Calls, ends: Ends) -> None:
        self._setup = setup
        self._calls = calls
        self._ends = ends
        self._spec: ActionSpec | None = None
        self._client: tuple[dict[str, Any], Client] | None = None
        finder.open(map(Path, setup.folders))
        share(setup.folders)
        logging.getLogger().handlers[:] = [SentLines(calls)]
        set_level(setup.level)
        logging.captureWarnings(True)

    def run(self, start: Start) -> None:
        """Run a job, and tell how its code has ended."""
        setproctitle(f"geventjob-executor: {self._setup.action} {start.job['id']}")
        INCOMING.set(start.trace)
        traces: Traces | None = None
        job = Job(start.job, self._calls.edit, LazyClient(self._log_in))  # type: ignore[arg-type]
        self._calls.begin(job)
        try:
            if self._spec is None:
                self._spec = self._load()
                self._calls.send(Loaded())
            traces = Traces()
            result = self._value(self._spec, job, start.seconds)
            message: Value | Error = Value(asked(job), True, *result)
        except BaseException as error:
            message = self._error(error, job)
        self._flush()
        message.clean = traces is not None and not traces.left()
        self._calls.send(message)

    def _value(self, spec: ActionSpec, job: Job, seconds: float | None) -> tuple[Any, str]:
        """Return the value that the action returns, and the name of its type if the value is no result."""
        context = ExecutorContext(job.client, SimpleNamespace(**self._setup.settings))
        with self._ends.possible(seconds):
            value = spec.instance(context, job)()
            if iscoroutine(value):
                value = self._ends.complete(value)
        if type(value) in (dict, list):
            return checked_report("output", value), ""
        if value is None or type(value) is bool:
            return value, ""
        if issubclass(type(value), int):
            return int.__int__(value), ""
        return None, type(value).__name__[:200]

    def _load(self) -> ActionSpec:
        """Return the spec of the action, from its file as it is now. Raises what the file raises, LookupError."""
        module = import_module(self._setup.module)
        for spec in actions_in(module, self._setup.module, self._setup.action):
            if self._setup.action in (spec.name, *spec.aliases):
                return spec
        raise LookupError(f"{self._setup.module} has no action {self._setup.action!r} any more")

    def _error(self, error: BaseException, job: Job) -> Error:
        """Return the message about an exception. A first one, without its text, is sent before the text is made."""
        error = error.with_traceback(_inner(error))
        raised = exception_text.without_text(error)
        policy = self._spec.retry if self._spec else None
        message = Error(
            asked(job),
            False,
            kind=type(error).__name__[:200],
            text=cut(raised.text),
            trace=raised.trace[-LINE:],
            pause=policy.pause(error, job.get("retried", 0)) if policy else None,
            limit=policy.limit(error) if policy else 0,
            lost=isinstance(error, JobLost),
            more=True,
        )
        self._calls.send(message)
        with suppress(BaseException):  # the text is made by code of the action
            raised = exception_text.with_text(raised)
        message.text, message.trace, message.more = cut(raised.text), raised.trace[-LINE:], False
        return message

    def _log_in(self) -> Client:
        """Return the client of this process, a new one if the executor logs in differently by now."""
        arguments = self._calls.ask_client()
        if self._client is None or self._client[0] != arguments:
            if self._client is not None:
                self._client[1].close()
            self._client = arguments, Client(**arguments)
        return self._client[1]

    def _flush(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(BaseException):
                stream.flush()


class LazyClient:
    """`job.client`: logs in at its first use."""

    def __init__(self, log_in: Callable[[], Client]) -> None:
        self._log_in = log_in
        self._made: Client | None = None

    def __getattr__(self, name: str) -> Any:
        self._made = self._made or self._log_in()
        return getattr(self._made, name)


def asked(job: Job) -> Any:
    """Return the final state that the action has asked for, one of FINAL; None if it has asked for none."""
    return job.end


def _inner(error: BaseException) -> Any:
    """Return the traceback from the action's own code on."""
    trace = error.__traceback__
    while trace and trace.tb_next and trace.tb_frame.f_globals.get("__name__", "").startswith("geventjob.executor."):
        trace = trace.tb_next
    return trace
