"""The schedules that the server keeps as data, fired while this process leads (docs/reference/api.md, "Schedules").

The server makes the jobs, once for each tick, and keeps the last tick of each schedule; this process says when.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import count
from typing import Any

import gevent

from geventjob.calendar import stored
from geventjob.cimi.client import Client, FiredTick
from geventjob.cimi.document import Document
from geventjob.cimi.errors import CimiError, Refused
from geventjob.clock import unix_milliseconds
from geventjob.coordination.base import Leadership
from geventjob.log import SELDOM
from geventjob.plugins import Distributor
from geventjob.scheduling.patience import NotLeading, patiently

log = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds between two looks at the schedules, in which an edit, a pause or a new schedule is seen."""
PAGE = 400
"""Schedules of one search."""
SKEW = 60_000
"""Milliseconds by which the clocks of the servers and of this process may differ."""


TICKS = 100
"""Ticks of one request, and between two checks whether this process still leads."""
AGAIN = 1_000
"""Milliseconds until a tick that could not be fired is tried again."""
FAR = 2**63
"""A moment that never comes."""


class KnownSchedules:
    """The schedules of the server, read whole once, and then as far as they have changed."""

    def __init__(self, client: Client) -> None:
        self.by_id: dict[str, Document] = {}
        self._client = client
        self._looked = 0
        """When the last look began, in Unix milliseconds."""

    def look(self) -> list[str]:
        """Read what has changed, and return the ids of new and changed schedules. Raises CimiError."""
        before, begun = self.by_id, unix_milliseconds()
        if before:
            since = stored.date_of(self._looked - SKEW)
            self.by_id = before | self._read(filter=f"updated>='{since}'")
        if self._search(last=0)["count"] != len(self.by_id):
            self.by_id = self._read()
        self._looked = begun
        return [id for id, schedule in self.by_id.items() if schedule != before.get(id)]

    def _read(self, **parameters: Any) -> dict[str, Document]:
        """Return schedules by id, without the attributes of their jobs. Raises CimiError."""
        found: dict[str, Document] = {}
        for first in count(1, PAGE):
            page = self._search(
                select=stored.NEEDED, first=first, last=first + PAGE - 1, orderby="id:asc", **parameters
            )
            found |= {schedule["id"]: schedule for schedule in page["schedules"]}
            if len(page["schedules"]) < PAGE:
                break
        return found

    def _search(self, **parameters: Any) -> Document:
        try:
            return self._client.search("schedule", **parameters)
        except Refused as error:
            if error.status not in (404, 405):
                raise
            raise CimiError("the server keeps no schedules: it is of SlipStream, or of an older version") from error


class StoredSchedules(Distributor):
    """The work of the distributor `schedules`, during one leadership after the other."""

    def __init__(self, client: Client, settings: Any) -> None:
        super().__init__(client, settings)
        self._refused: dict[str, int] = {}
        """Id of a schedule → its last tick that the server refused."""

    def jobs(self) -> Iterator[dict[str, Any]]:
        """Yield nothing: the server makes the jobs."""
        return iter(())

    def work(self, name: str, leadership: Leadership) -> None:
        """Fire what is due until this process leads no longer. `name`: of the distributor."""
        known = KnownSchedules(self.client)
        moments: dict[str, int] = {}

        def look() -> None:
            moments.update(dict.fromkeys(known.look(), 0))
            for id in moments.keys() - known.by_id.keys():
                del moments[id]
            self._fire_due(name, leadership, known.by_id, moments)

        try:
            while leadership.held:
                patiently(name, leadership, look)
                gevent.sleep(max(0.0, min([LOOK, *((each - unix_milliseconds()) / 1000 for each in moments.values())])))
        except NotLeading:
            log.warning("%s: leadership was lost, nothing more is created", name)

    def _fire_due(
        self, name: str, leadership: Leadership, schedules: dict[str, Document], moments: dict[str, int]
    ) -> None:
        """Fire what is due, and set the next moment of each schedule that was looked at. Raises CimiError, NotLeading.

        `moments`: id of a schedule → when to look at it again, in Unix milliseconds.
        """
        now = unix_milliseconds()
        reached = [id for id, moment in moments.items() if moment <= now]
        ticks = [(id, tick) for id in reached for tick in self._due(schedules[id], now)]
        for first in range(0, len(ticks), TICKS):
            if not leadership.held:
                raise NotLeading
            page = ticks[first : first + TICKS]
            for (id, tick), fired in zip(page, self.client.fire_ticks(page), strict=True):
                self._note(name, schedules[id], tick, fired)
        for id in reached:
            following = stored.next_moment(schedules[id], now)
            again = bool(self._due(schedules[id], now))  # it could not be fired
            moments[id] = now + AGAIN if again else FAR if following is None else following

    def _due(self, schedule: Document, now: int) -> list[int]:
        """Return the ticks of a schedule that are due, without those that the server refused."""
        refused = self._refused.get(schedule["id"], -1)
        return [tick for tick in stored.due(schedule, now) if tick > refused]

    def _note(self, name: str, schedule: Document, tick: int, fired: FiredTick) -> None:
        """Keep and log the result of a tick."""
        id = schedule["id"]
        if fired.status == 200:
            schedule["tick"] = tick
            log.info("%s: %s fired its tick %d: %s", name, id, tick, ", ".join(fired.jobs) or "its last job is pending")
        elif fired.status >= 500:
            log.warning("%s: %s: retrying: %s", name, id, fired.message, extra=SELDOM)
        else:  # it was edited, paused or deleted since the look
            self._refused[id] = tick
            log.warning("%s: %s: its tick %d does not fire: %s", name, id, tick, fired.message)
