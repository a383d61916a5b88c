"""Patience of a leader: what cannot be done now is tried again, as long as the process leads."""

from __future__ import annotations

import logging
from collections.abc import Callable

from geventjob.backoff import retry
from geventjob.cimi.errors import CimiError
from geventjob.coordination.base import CoordinationAway, Leadership

log = logging.getLogger(__name__)


class NotLeading(Exception):
    """The end of this leadership: another leader may create jobs."""


def patiently(name: str, leadership: Leadership, attempt: Callable[[], None]) -> None:
    """Call `attempt` until it works; log the first failure and the success after it. `name`: of the distributor.

    Raises NotLeading once this process leads no longer.
    """
    away = False

    def led() -> None:
        if not leadership.held:
            raise NotLeading
        attempt()

    def pause(error: Exception, delay: float) -> float:
        nonlocal away
        if not away:
            log.warning("%s: retrying: %s", name, error)
        away = True
        return delay

    retry(led, (CimiError, CoordinationAway), pause)
    if away:
        log.warning("%s: recovered", name)
