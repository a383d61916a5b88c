"""The schedules that the server keeps as data, fired while this process leads (docs/reference/api.md, "Schedules").

The server makes the jobs, once for each tick, and keeps the last tick of each schedule; this process tells when.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import count
from typing import Any

import gevent

from geventjob.calendar import stored
from geventjob.cimi.client import Client
from geventjob.cimi.document import Document
from geventjob.cimi.errors import Conflict, NotFound, Refused
from geventjob.clock import unix_milliseconds
from geventjob.coordination.base import Leadership
from geventjob.plugins import Distributor
from geventjob.scheduling.patience import NotLeading, patiently

log = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds between two looks at the schedules, in which an edit, a pause or a new schedule is seen."""
PAGE = 400
"""Schedules of one search."""


class StoredSchedules(Distributor):
    """The work of the distributor `schedules`, during one leadership after the other."""

    def __init__(self, client: Client, settings: Any) -> None:
        super().__init__(client, settings)
        self._refused: dict[str, int] = {}
        """Id of a schedule → its last tick whose job the server refused."""

    def jobs(self) -> Iterator[dict[str, Any]]:
        """Yield nothing: the server makes the jobs."""
        return iter(())

    def work(self, name: str, leadership: Leadership) -> None:
        """Fire what is due until this process leads no longer. `name`: of the distributor."""
        due = 0.0

        def look() -> None:
            nonlocal due
            due = self._look(name, leadership)

        try:
            while leadership.held:
                patiently(name, leadership, look)
                gevent.sleep(due)
        except NotLeading:
            log.warning("%s: leadership was lost, nothing more is created", name)

    def _look(self, name: str, leadership: Leadership) -> float:
        """Fire what is due, and return the seconds until the next look. Raises CimiError, NotLeading."""
        schedules = list(self._schedules())
        for schedule in schedules:
            for tick in self._due(schedule):
                if not leadership.held:
                    raise NotLeading
                self._fire(name, schedule, tick)
        now = unix_milliseconds()
        moments = [moment for each in schedules if (moment := stored.next_moment(each, now)) is not None]
        return max(0.0, min([LOOK, *((moment - now) / 1000 for moment in moments)]))

    def _schedules(self) -> Iterator[Document]:
        """Yield all schedules, without the attributes of their jobs. Raises CimiError."""
        for first in count(1, PAGE):
            page = self.client.search("schedule", select=stored.NEEDED, first=first, last=first + PAGE - 1)["schedules"]
            yield from page
            if len(page) < PAGE:
                return

    def _due(self, schedule: Document) -> list[int]:
        """Return the ticks of a schedule that are due, without those that the server refused."""
        refused = self._refused.get(schedule["id"], -1)
        return [tick for tick in stored.due(schedule, unix_milliseconds()) if tick > refused]

    def _fire(self, name: str, schedule: Document, tick: int) -> None:
        """Let the server make the job of a tick. Raises CimiError while the server is away."""
        id = schedule["id"]
        try:
            made = self.client.operation(id, "fire", {"tick": tick}).get("jobs", [])
        except (Conflict, NotFound) as error:  # it was edited, paused or deleted since the look
            log.info("%s: the tick %d does not fire: %s", name, tick, error)
        except Refused as error:
            self._refused[id] = tick
            log.error("%s: the job of %s was refused: %s", name, id, error)
        else:
            log.info("%s: %s fired its tick %d: %s", name, id, tick, ", ".join(made) or "its last job is pending")
