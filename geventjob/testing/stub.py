"""Stubs for what surrounds a runner: the server of one job with the server's own rules, its clock, and the queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, NoReturn

from geventjob.cimi.body import encoded
from geventjob.cimi.document import Document
from geventjob.cimi.errors import CimiError
from geventjob.cimi.session import refusal
from geventjob.clock import now
from geventjob.server.document import public
from geventjob.server.http.errors import problem_of
from geventjob.server.jobs.lifecycle import edited
from geventjob.server.life.conflicts import Refusal
from geventjob.server.problem import Problem
from geventjob.server.resources.bulk import job_edit

ENGINE_SETS = {"state"}
"""Attributes whose edits are the executor's own."""


class SteppedClock:
    """The clock of a rehearsal's server: real time, and the seconds by which it was moved."""

    def __init__(self) -> None:
        self._moved = timedelta()

    def now(self) -> datetime:
        """Return the time, aware, in UTC."""
        return now() + self._moved

    def advance(self, seconds: float) -> None:
        """Move the clock on. Raises ValueError for a negative number."""
        if seconds < 0:
            raise ValueError(f"a clock is moved on, not back by {-seconds:g} s")
        self._moved += timedelta(seconds=seconds)


class StubServer:
    """The server as the writes of an executor know it. It has one job, and decides about edits as the server does."""

    dialect = SimpleNamespace(name="geventjob", forgives=True, keeps_logs=True)

    def __init__(
        self, job: Document, clock: SteppedClock, max_retries: int, on_edit: Callable[[Document], None]
    ) -> None:
        """`on_edit` is called with the attributes of each edit of the action."""
        self.job = job
        """The document, with the server's private attributes."""
        self.edits: list[Document] = []
        """The attributes that the action has set, edit by edit."""
        self._clock = clock
        self._max_retries = max_retries
        self._on_edit = on_edit

    def bulk_edit(self, edits: Sequence[Mapping[str, Any]], **options: Any) -> list[Document | CimiError]:
        """Edit the job, as `Client.bulk_edit` does."""
        actions = frozenset(options.get("actions") or ())
        return [self._edit(edit, actions) for edit in edits]

    def _edit(self, edit: Mapping[str, Any], actions: frozenset[str]) -> Document | CimiError:
        try:
            change = job_edit(encoded(edit), actions).edit
            self.job = edited(self.job, change, now=self._clock.now(), max_retries=self._max_retries)
        except (ValueError, Refusal, Problem) as error:
            problem = problem_of(error)
            return refusal(problem.status, problem.message, problem.reason, problem.job)
        if not ENGINE_SETS & edit["set"].keys():
            self.edits.append(dict(edit["set"]))
            self._on_edit(self.edits[-1])
        return public(self.job)

    def search(self, kind: str, **parameters: Any) -> Document:
        """Return an empty page: the server answers."""
        return {"count": 0, "jobs": []}


class StubQueue:
    """A queue in which ends of claims change nothing."""

    def consume(self, claims: Sequence[object]) -> None:
        """Do nothing."""

    def release(self, claims: Sequence[object]) -> None:
        """Do nothing."""

    def interrupt(self) -> None:
        """Do nothing."""


class NoServer:
    """The client of a job that runs without a server."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(f"client.{name}: this action runs without a server; in a test give it a client of your own")
