"""One firing: the jobs of one tick, added to the server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any
from zlib import crc32

import gevent
import msgspec

from geventjob.cimi.client import Client
from geventjob.cimi.document import WINDOW
from geventjob.cimi.errors import CimiError, Conflict, Refused
from geventjob.cimi.filters import quoted
from geventjob.scheduling.patience import NotLeading

log = logging.getLogger(__name__)

NewJob = Mapping[str, Any]
"""A job as a distributor makes it."""

PAGE = 500
"""Jobs that are added between two checks whether this process still leads."""
NAMED = 20
"""Targets that a search for pending jobs names at most; for more targets it asks for all jobs of the action."""


def key(distributor: str, tick: int | str, job: NewJob) -> str:
    """Return the idempotencyKey of a job, the same in every leader that fires this tick.

    `tick`: Unix milliseconds, or a text that names a request to fire.
    """
    what = [job.get("action"), job.get("targetResource"), job.get("payload")]
    return f"{distributor}@{tick}#{crc32(msgspec.json.encode(what, order='deterministic')):08x}"


def gathered(distributor: str, tick: int | str, jobs: Callable[[], Iterable[NewJob]]) -> list[NewJob]:
    """Return the jobs of a distributor, each with its key. Errors are logged, and jobs made before are kept.

    Raises CimiError from a request of the distributor: the whole firing is tried again.
    """
    found: dict[str, NewJob] = {}
    try:
        for job in jobs():
            if wrong := _wrong(job):
                log.error("%s made an invalid job, %s: %.200r", distributor, wrong, job)
            else:
                name = key(distributor, tick, job)
                found[name] = {"idempotencyKey": name, **job}
    except CimiError:
        raise
    except (Exception, gevent.Timeout):
        log.exception("%s failed after %d jobs of the tick %s, which are added", distributor, len(found), tick)
    return list(found.values())


def _wrong(job: Any) -> str | None:
    """Return why a job cannot be searched for; None for a job that the server may judge."""
    if not isinstance(job, Mapping):
        return "expected a dict"
    action, href = _about(job)
    for attribute, value in ("action", action), ("targetResource.href", href):
        if not isinstance(value, str) and (value is not None or attribute == "action"):
            return f"expected a text as {attribute}"
        try:
            quoted(value or "")
        except ValueError:
            return f"a quote in {attribute}"
    return None


def without_pending(client: Client, jobs: Sequence[NewJob]) -> list[NewJob]:
    """Return jobs without those whose action and target another QUEUED or RUNNING job has. Raises CimiError."""
    pending = set(_found(client, _pending(jobs))) if jobs else set()
    return [job for job in jobs if _about(job) not in pending]


def _found(client: Client, wanted: str) -> Iterator[tuple[Any, Any]]:
    """Yield action and target of each job that matches a filter. Raises CimiError."""
    for first in count(1, WINDOW):
        page = client.search("job", filter=wanted, select="action,targetResource", first=first, last=first + WINDOW - 1)
        yield from map(_about, page["jobs"])
        if len(page["jobs"]) < WINDOW:
            return


def _pending(jobs: Sequence[NewJob]) -> str:
    """Return a filter for pending jobs that may keep these jobs from being added."""
    wanted = f"(state='QUEUED' or state='RUNNING') and ({_any('action', (_about(job)[0] for job in jobs))})"
    targets = {_about(job)[1] for job in jobs}
    if None in targets or len(targets) > NAMED:
        return wanted
    return f"{wanted} and ({_any('targetResource/href', targets)})"


def _any(attribute: str, values: Iterable[str]) -> str:
    """Return a filter for any of several values of an attribute."""
    return " or ".join(f"{attribute}={quoted(value)}" for value in sorted(set(values)))


def _about(job: NewJob) -> tuple[Any, Any]:
    target = job.get("targetResource")
    return job.get("action"), target.get("href") if isinstance(target, Mapping) else target


def described(job: Any) -> str:
    """Return the action and the target of a job, for the log."""
    action, target = _about(job)
    return f"{action} of {target}" if target else str(action)


class Firing:
    """The jobs of one tick that are still to be added."""

    def __init__(self, distributor: str, tick: int | str, jobs: list[NewJob]) -> None:
        self.tick = tick
        self.made: list[str] = []
        """The ids of the jobs that were added."""
        self._distributor = distributor
        self._left = jobs

    def add(self, client: Client, leads: Callable[[], bool]) -> int:
        """Add the jobs, and return their number. Refused jobs are logged and given up.

        Raises CimiError, after which another call adds the rest. Raises NotLeading.
        """
        while self._left:
            if not leads():
                raise NotLeading
            page = self._left[:PAGE]
            for job, result in zip(page, client.bulk_add(page), strict=True):
                self._count(job, result)
            del self._left[:PAGE]
        return len(self.made)

    def _count(self, job: NewJob, result: str | Refused) -> None:
        if isinstance(result, str):
            self.made.append(result)
            log.info("%s added %s: %s", self._distributor, result, described(job))
        elif not isinstance(result, Conflict):  # a conflict is this tick's own key: the job exists
            log.error("%s: a job of %s was refused: %s", self._distributor, job.get("action"), result)
