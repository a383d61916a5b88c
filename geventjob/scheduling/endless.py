"""Distributors of SlipStream's kind: an endless generator that sleeps by itself (DESIGN §8)."""

from __future__ import annotations

import logging
from argparse import Namespace
from typing import Any

import gevent
from gevent.event import Event

from geventjob.backoff import delays
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
    """Runs one as it is while this process leads: no ticks, no keys, and what is pending does not matter."""

    def __init__(self, spec: DistributorSpec, client: Client, settings: Namespace) -> None:
        """The author's constructor runs; what it raises is his."""
        self._name = spec.name
        self._client = client
        self._old = spec.target.__new__(spec.target)
        vars(self._old).update(name=settings.name, args=settings, ss_api=SsApi(client), stop_event=Event())
        self._old.__init__()

    @property
    def election(self) -> str:
        """The election in which SlipStream's engine lets it stand, or the name of its file if it says none."""
        try:
            named: str = self._old._get_jobs_type()
        except (AttributeError, NotImplementedError):
            return self._name
        return named

    def __call__(self, leadership: Leadership) -> None:
        """Until this process leads no longer."""
        pause = max(PAUSE, float(getattr(self._old, "collect_interval", PAUSE)))
        while leadership.held:
            try:
                for job in self._old.job_generator():
                    if not leadership.held:
                        return
                    self._add(job, leadership)
            except (Exception, gevent.Timeout):
                log.exception("%s failed, it is run again in %g s", self._name, pause)
            gevent.sleep(pause)

    def _add(self, job: Any, leadership: Leadership) -> None:
        """Again while the server is away; a job that is refused is logged and left out, as it ever was."""
        told = False
        for delay in delays():
            if not leadership.held:
                return
            try:
                id = self._client.add("job", job)
            except Refused as error:
                log.error("%s: a job was refused: %s", self._name, error)
                return
            except CimiError as error:
                log.log(logging.DEBUG if told else logging.WARNING, "%s: tried until it works: %s", self._name, error)
                told = True
                gevent.sleep(delay)
            else:
                log.info("%s added %s: %s", self._name, id, described(job))
                return
