"""The question to the server which jobs of this executor shall stop, for stops whose message did not arrive."""

from __future__ import annotations

import logging
from collections.abc import Callable

import gevent

from geventjob.cimi.client import Client
from geventjob.cimi.errors import CimiError
from geventjob.clock import boottime
from geventjob.executor.watch import Watch

log = logging.getLogger(__name__)

INTERVAL = 5.0
"""Seconds between two questions to a server that sends no messages. A question names only the jobs that have run for so
long: a shorter job learns about its stop from the answers to its own writes."""


class StopPoll:
    """Asks the server for jobs to stop."""

    def __init__(self, client: Client, executor: str, watch: Watch, stop: Callable[[str], None]) -> None:
        """Send nothing yet. `stop(job_id)` stops a job that runs here."""
        self._client = client
        self._executor = executor
        self._watch = watch
        self._stop = stop

    def ask(self, older: float = 0.0) -> None:
        """Stop the jobs that shall stop, of the jobs that have run for `older` seconds.

        A server that is away is not asked again before the next call.
        """
        since = boottime() - older
        running = [running.job_id for running in list(self._watch.running.values()) if running.started <= since]
        try:
            stopping = self._client.stopping(self._executor, running)
        except CimiError as error:
            log.warning("cannot ask which jobs shall stop: %s", error)
            return
        for job in stopping:
            self._stop(job)

    def run(self) -> None:
        """Ask at an interval, for ever. Nothing is sent to a server that sends messages of stops itself."""
        while True:
            gevent.sleep(INTERVAL)
            if self._asks():
                self.ask(INTERVAL)

    def _asks(self) -> bool:
        try:
            return bool(self._watch.running) and not self._client.dialect.sends_stops
        except CimiError:
            return False
