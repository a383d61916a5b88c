"""`events`: changes of jobs, nodes and the queue, as server-sent events (docs/reference/api.md, "Live events")."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import falcon
import gevent
import msgspec

from geventjob.clock import boottime
from geventjob.server.accounts.caller import Caller
from geventjob.server.accounts.sessions import Sessions
from geventjob.server.http.admission import STREAMS
from geventjob.server.http.environ import STREAMING
from geventjob.server.problem import Problem
from geventjob.server.store.base import StoreError
from geventjob.server.watch.feed import Batch, Feed

PAUSE = 0.25
"""Seconds between two batches: people read no faster."""
CHECK = 2.0
"""Seconds between two looks at the session of the caller."""
HEARTBEAT = 10.0
"""Seconds of silence after which a comment shows the client, and the proxies before it, that the stream lives."""
RETRY = b"retry: 2000\n\n"
"""Milliseconds after which a browser connects again."""

_encode = msgspec.json.Encoder().encode
_PLACE = re.compile(r"([0-9a-f]{8})-([0-9]{1,18})")


class EventsResource:
    """The stream of events, for all who have logged in."""

    def __init__(self, feed: Feed, sessions: Sessions) -> None:
        self._feed = feed
        self._sessions = sessions

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Respond with events until the client goes, or the session ends. Raises Problem 403, 503."""
        caller = self._sessions.caller_of(req)
        caller.require_role("USER")
        place = req.get_header("Last-Event-ID") or req.get_param("last-event-id")
        resp.content_type = "text/event-stream"
        resp.set_header("X-Accel-Buffering", "no")  # nginx passes each batch on at once
        resp.stream = EventStream(self._feed, caller, lambda: self._sessions.caller_of(req), place)
        req.env.get(STREAMING, _nothing)()


class EventStream:
    """The events of one client, as an iterable of bytes with a `close`, as WSGI wants a response."""

    def __init__(self, feed: Feed, caller: Caller, look: Callable[[], Caller], place: str | None) -> None:
        """Begin after `place`, the id of the last event that the client has seen. Raises Problem 503.

        `look` returns the caller as the session is now.
        """
        self._feed = feed
        self._caller = caller
        self._look = look
        self._held = ExitStack()
        self._held.enter_context(STREAMS.permit(caller.username or ""))
        self._held.enter_context(feed.stream())
        resumed = _number(place, feed)
        self._begins = resumed is None
        self._number = feed.number if resumed is None else resumed
        self._checked = boottime()

    def __iter__(self) -> Iterator[bytes]:
        yield RETRY
        if self._begins:
            yield self._event("reset", b'{"why":"begin"}')
        spoken = boottime()
        while not self._feed.is_closed:
            if (why := self._end()) is not None:
                yield self._event("end", _encode({"why": why}))
                return
            batch = self._feed.since(self._number, self._caller)
            self._number = batch.number
            if batch:
                yield b"".join(self._events(batch))
                spoken = boottime()
                gevent.sleep(PAUSE)
            elif boottime() - spoken >= HEARTBEAT:
                yield b":\n\n"
                spoken = boottime()
            self._feed.wait(self._number, CHECK)

    def close(self) -> None:
        """Free the place of the stream."""
        self._held.close()

    def _end(self) -> str | None:
        """Return why the stream ends: the session is over, or has other rights; None: the stream goes on."""
        if boottime() - self._checked < CHECK:
            return None
        self._checked = boottime()
        try:
            caller = self._look()
        except Problem:
            return "the key is not valid any more"
        except StoreError:
            return None  # a store that is away has no changes either
        if caller.username is None:
            return "the session has ended"
        return None if caller == self._caller else "the rights have changed"

    def _events(self, batch: Batch) -> Iterator[bytes]:
        if batch.missed:
            yield self._event("reset", b'{"why":"missed"}')
            return
        if batch.jobs or batch.more:
            jobs = b",".join(changed.json for changed in batch.jobs if changed.shown is not None)
            deleted = _encode([changed.id for changed in batch.jobs if changed.shown is None])
            more = _encode(batch.more)
            yield self._event("jobs", b'{"jobs":[' + jobs + b'],"deleted":' + deleted + b',"more":' + more + b"}")
        for name, data in batch.figures:
            yield self._event(name, data)

    def _event(self, name: str, data: bytes) -> bytes:
        """Return an event. JSON has no line break, which would end the data."""
        return f"id: {self._feed.name}-{self._number}\nevent: {name}\ndata: ".encode() + data + b"\n\n"


def _number(place: str | None, feed: Feed) -> int | None:
    """Return the number in the id of an event of this feed; None for another id."""
    found = _PLACE.fullmatch(place or "")
    if found is None or found[1] != feed.name or int(found[2]) > feed.number:
        return None
    return int(found[2])


def _nothing(*_: Any) -> None:
    """Do nothing: a WSGI server other than ours has no limit of time."""
