"""A client of `/api/events`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import gevent
import requests

from tests.support.job_server import Caller

PATIENCE = 20.0
"""Seconds in which the next event must come."""


class ServerEvent(NamedTuple):
    """One event of a stream."""

    id: str
    name: str
    data: Any


class OpenStream:
    """An open stream of events."""

    def __init__(self, caller: Caller, last: str | None = None) -> None:
        headers = {"Last-Event-ID": last} if last else {}
        self.answer: requests.Response = caller.get("events", stream=True, headers=headers)
        self._lines = self.answer.iter_lines(chunk_size=None) if self.answer.status_code == 200 else iter(())
        self.seen: list[ServerEvent] = []

    def __iter__(self) -> Iterator[ServerEvent]:
        return self

    def __next__(self) -> ServerEvent:
        with gevent.Timeout(PATIENCE, AssertionError(f"no event in {PATIENCE} s; seen: {self.seen[-3:]}")):
            return self._read()

    def _read(self) -> ServerEvent:
        fields: dict[str, str] = {}
        for line in self._lines:
            name, _, value = line.decode().partition(": ")
            if line and name:
                fields[name] = value
            elif "event" in fields:
                event = ServerEvent(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
                self.seen.append(event)
                return event
        raise StopIteration

    def until(self, name: str) -> ServerEvent:
        """Return the next event of this name."""
        return next(event for event in self if event.name == name)

    def job(self, id: str, **values: Any) -> dict[str, Any]:
        """Return the next state of a job that has these values."""
        for event in self:
            if event.name == "jobs":
                for job in event.data["jobs"]:
                    if job["id"] == id and values.items() <= job.items():
                        return dict(job)
        raise AssertionError(f"the stream has ended without {id} {values}: {self.seen}")

    def close(self) -> None:
        self.answer.close()
