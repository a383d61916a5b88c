"""Which of the jobs that run here shall stop, when no message tells it (DESIGN §5.9)."""

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
"""Seconds between two questions to a server that sends no messages. A job is asked for when it has run for so long:
answers to its own writes tell the same."""


class StopPoll:
    """Asks the server for them."""

    def __init__(self, client: Client, executor: str, watch: Watch, stop: Callable[[str], None]) -> None:
        """`stop(job_id)` stops one that runs here."""
        self._client = client
        self._executor = executor
        self._watch = watch
        self._stop = stop

    def ask(self, older: float = 0.0) -> None:
        """Of the jobs that have run for `older` seconds. A server that is away is asked again some other time."""
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
        """For ever, at an interval; sends nothing to a server that tells by itself."""
        while True:
            gevent.sleep(INTERVAL)
            if self._asks():
                self.ask(INTERVAL)

    def _asks(self) -> bool:
        try:
            return bool(self._watch.running) and not self._client.dialect.sends_stops
        except CimiError:
            return False
