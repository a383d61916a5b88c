"""The newest changes of jobs and of the fleet, which the streams of all clients read, each at a pace of its own.

A stream keeps no queue, only the number of the last change that it has sent. The feed keeps each job once, in its
newest state, and forgets the oldest changes; a stream that is behind them is told to look anew. So a slow client costs
nothing and holds up nobody (docs/reference/api.md, "Live events").
"""

from __future__ import annotations

import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import gevent
import msgspec
from gevent.event import Event

from geventjob import supervise
from geventjob.backoff import Trouble
from geventjob.cimi.document import Document
from geventjob.clock import boottime
from geventjob.coordination.base import CoordinationError
from geventjob.job.attributes import named
from geventjob.server.accounts.acl import VIEW
from geventjob.server.accounts.caller import Caller
from geventjob.server.store.base import StoreError
from geventjob.server.store.watched import Written

log = logging.getLogger(__name__)

KEPT = 5_000
"""Jobs whose last change is kept."""
MOST = 250
"""Most jobs of one batch: more than people can read in a second."""
LINGER = 30.0
"""Seconds after the end of the last stream for which changes are still kept, for a client that comes back."""
MESSAGE_LENGTH = 200
"""Characters of a message in an event."""
LEFT_OUT = frozenset({
    "acl", "operations", "resourceURI", "description", "properties", "affectedResources", "nestedJobs", "idempotencyKey"
})  # fmt: skip
"""Searched attributes that events lack: they can be long, or are the client's own affair."""
SHOWN = tuple(name for name in named(lambda attribute: attribute.search is not None) if name not in LEFT_OUT)
"""Attributes of a job in an event, as far as the job has them: none that can be large or secret."""

_encode = msgspec.json.Encoder().encode


@dataclass
class Changed:
    """The last change of a job."""

    number: int
    id: str
    updated: str
    access: Document
    """The id and the acl of the job, which decide who sees the change."""
    shown: Document | None
    """The job as events show it; None: the job was deleted."""
    _json: bytes = b""

    @property
    def json(self) -> bytes:
        """The job as JSON, encoded once for all streams."""
        if not self._json:
            self._json = _encode(self.shown)
        return self._json


@dataclass
class Batch:
    """The changes that a caller has to hear after a number."""

    number: int
    """The number to go on from."""
    missed: bool = False
    """Whether changes were forgotten meanwhile: the client must look anew."""
    jobs: list[Changed] = field(default_factory=list)
    more: bool = False
    """Whether more jobs have changed than the batch names."""
    figures: list[tuple[str, bytes]] = field(default_factory=list)
    """Names and JSON of figures of the fleet that have changed."""

    def __bool__(self) -> bool:
        return bool(self.missed or self.jobs or self.more or self.figures)


class Feed:
    """The changes of a server, numbered. Nothing is kept while no stream is open."""

    def __init__(self) -> None:
        self.name = secrets.token_hex(4)
        """Name of this feed, which tells the numbers of two servers, and of two runs of one, apart."""
        self.is_closed = False
        self._number = 0
        self._jobs: OrderedDict[str, Changed] = OrderedDict()
        self._figures: dict[str, tuple[int, bytes]] = {}
        self._forgotten = 0
        """Number of the newest change that is not kept."""
        self._gap = 0
        """Number at which more jobs of another server had changed than this server has read."""
        self._news = Event()
        self._waiting = 0
        self._streams = 0
        self._until = 0.0
        """Boottime until which changes are kept without a stream."""
        self._work: list[tuple[str, Callable[[], float]]] = []
        self._workers: dict[str, gevent.Greenlet[..., Any]] = {}

    # --- what happens

    def note(self, written: Sequence[Written]) -> None:
        """Keep these changes of jobs, if somebody listens."""
        if not self.is_open:
            return
        for before, after in written:
            self._keep(after if after is not None else before or {}, is_deleted=after is None)
        self._wake()

    def note_others(self, jobs: Sequence[Document], *, is_all: bool) -> None:
        """Keep the changes that other servers made of these jobs, the oldest change first.

        `is_all`: no more jobs have changed. Otherwise jobs are missing unless the first one was read before.
        """
        is_all = is_all or self._knows(jobs[0])
        new = [job for job in jobs if not self._knows(job)]
        for job in new:
            self._keep(job, is_deleted=False)
        if not is_all:
            self._number += 1
            self._gap = self._number
        if new or not is_all:
            self._wake()

    def tell(self, name: str, value: Any) -> None:
        """Keep a figure of the fleet, for callers who see everything, unless the figure is as before."""
        data = _encode(value)
        if self._figures.get(name, (0, b""))[1] != data:
            self._number += 1
            self._figures[name] = self._number, data
            self._wake()

    def _knows(self, job: Document) -> bool:
        """Return whether this state of a job, or a newer one, is kept already."""
        kept = self._jobs.get(job["id"])
        return kept is not None and kept.updated >= job.get("updated", "")

    def _keep(self, job: Document, *, is_deleted: bool) -> None:
        self._number += 1
        id = job["id"]
        access = {"id": id, "acl": job["acl"]}
        self._jobs[id] = Changed(self._number, id, job.get("updated", ""), access, None if is_deleted else shown(job))
        self._jobs.move_to_end(id)
        while len(self._jobs) > KEPT:
            self._forgotten = self._jobs.popitem(last=False)[1].number

    def _wake(self) -> None:
        if self._waiting:
            news, self._news = self._news, Event()
            news.set()

    # --- streams

    @property
    def is_open(self) -> bool:
        """Whether somebody listens, or may come back."""
        return self._streams > 0 or boottime() < self._until

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Keep changes within the context."""
        if not self.is_open:
            self._jobs.clear()
            self._forgotten = self._number = self._number + 1
        self._streams += 1
        self._start_work()
        try:
            yield
        finally:
            self._streams -= 1
            self._until = boottime() + LINGER

    @property
    def number(self) -> int:
        """The number of the last change."""
        return self._number

    def since(self, number: int, caller: Caller) -> Batch:
        """Return what has changed after this number, as far as the caller may see the changes."""
        batch = Batch(self._number, missed=number < self._forgotten, more=number < self._gap)
        if batch.missed:
            return batch
        for changed in reversed(self._jobs.values()):
            if changed.number <= number:
                break
            if not caller.may(VIEW, changed.access):
                continue
            if len(batch.jobs) == MOST:
                batch.more = True
                break
            batch.jobs.append(changed)
        batch.jobs.reverse()
        if caller.sees_all:
            batch.figures = [(name, data) for name, (at, data) in self._figures.items() if at > number]
        return batch

    def wait(self, number: int, seconds: float) -> None:
        """Wait until there is a change after this number, the feed is closed, or `seconds` are over."""
        if self._number > number or self.is_closed:
            return
        self._waiting += 1
        try:
            self._news.wait(seconds)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End all streams: the server stops."""
        self.is_closed = True
        self._wake()

    # --- looking around

    def attend(self, name: str, look: Callable[[], float]) -> None:
        """Call `look` in a greenlet while streams are open. `look` returns the seconds until the next call."""
        self._work.append((name, look))

    def _start_work(self) -> None:
        for name, look in self._work:
            if name not in self._workers or self._workers[name].ready():
                attend = partial(self._attend, name, look)
                self._workers[name] = supervise.spawn(f"the look at {name}", attend, supervise.end_process)

    def _attend(self, name: str, look: Callable[[], float]) -> None:
        trouble = Trouble(log, f"live events lack {name}")
        while self.is_open and not self.is_closed:
            try:
                pause = look()
                trouble.end()
            except (StoreError, CoordinationError) as error:
                pause = trouble.pause(str(error))
            gevent.sleep(pause)


def shown(job: Document) -> Document:
    """Return the part of a job that events show."""
    part = {name: job[name] for name in SHOWN if name in job}
    message = part.get("statusMessage")
    if message is not None and len(message) > MESSAGE_LENGTH:
        part["statusMessage"] = message[:MESSAGE_LENGTH]
    held = part.get("held")
    if held is not None and len(held.get("detail", "")) > MESSAGE_LENGTH:
        part["held"] = {**held, "detail": held["detail"][:MESSAGE_LENGTH]}
    return part
