"""Distributors of SlipStream's kind: an endless generator that sleeps by itself."""

from __future__ import annotations

import logging
from argparse import Namespace
from typing import Any

import gevent
from gevent.event import Event

from geventjob.backoff import retry
from geventjob.cimi.client import Client
from geventjob.cimi.errors import CimiError, Refused
from geventjob.cimi.ss_api import SsApi
from geventjob.coordination.base import Leadership
from geventjob.plugins import DistributorSpec
from geventjob.scheduling.firing import described

log = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds between two runs of a generator that is not endless, unless its `collect_interval` says more."""


class Endless:
    """An old distributor, run as it is while this process leads: without ticks, keys and regard to pending jobs."""

    def __init__(self, spec: DistributorSpec, client: Client, settings: Namespace) -> None:
        """Make the distributor. Errors of the author's constructor are raised."""
        self._name = spec.name
        self._client = client
        self._old = spec.target.__new__(spec.target)
        vars(self._old).update(name=settings.name, args=settings, ss_api=SsApi(client), stop_event=Event())
        self._old.__init__()

    @property
    def election(self) -> str:
        """The election in which SlipStream's engine lets the distributor stand; by default the name of its file."""
        try:
            named: str = self._old._get_jobs_type()
        except (AttributeError, NotImplementedError):
            return self._name
        return named

    def __call__(self, leadership: Leadership) -> None:
        """Run the generator until this process leads no longer."""
        pause = max(PAUSE, float(getattr(self._old, "collect_interval", PAUSE)))
        while leadership.held:
            try:
                for job in self._old.job_generator():
                    if not leadership.held:
                        return
                    self._add(job, leadership)
            except (Exception, gevent.Timeout):
                log.exception("%s failed and is run again in %g s", self._name, pause)
            gevent.sleep(pause)

    def _add(self, job: Any, leadership: Leadership) -> None:
        """Add a job, again while the server is away and this process leads. A refused job is logged."""
        level = logging.WARNING

        def attempt() -> None:
            if not leadership.held:
                return
            try:
                id = self._client.add("job", job)
            except Refused as error:
                log.error("%s: a job was refused: %s", self._name, error)
            else:
                log.info("%s added %s: %s", self._name, id, described(job))

        def pause(error: CimiError, delay: float) -> float:
            nonlocal level
            log.log(level, "%s: retrying: %s", self._name, error)
            level = logging.DEBUG
            return delay

        retry(attempt, CimiError, pause)
