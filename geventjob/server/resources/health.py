"""Health checks: `/healthz`."""

from __future__ import annotations

import logging
from collections.abc import Callable

import falcon
import gevent

from geventjob.clock import boottime, cimi_time, now
from geventjob.coordination.base import Coordination
from geventjob.server.store.base import DuplicateKey, Insert, Store, StoreError, StoreRefused, Update

log = logging.getLogger(__name__)

STORE_TIMEOUT = 5.0
"""Seconds in which a healthy store writes a document."""
CHECK_INTERVAL = 2.0
"""Seconds between two such writes."""
HEALTH_DOCUMENT = "secret/health"


class HealthResource:
    """The health check, open to anonymous clients: 200 `ok`, or 503 with the reason.

    A server that can read but not write (a full disk, a read-only store) is unhealthy. The check therefore writes a
    document of its own, in the background and at most once in CHECK_INTERVAL, and responds with the latest result.
    """

    def __init__(self, store: Store, coordination: Coordination, queue_refuses: Callable[[], bool]) -> None:
        """`queue_refuses`: returns whether the queue takes no jobs despite a session (`Jobs.queue_refuses`)."""
        self._store = store
        self._coordination = coordination
        self._queue_refuses = queue_refuses
        self._why: str | None = None
        self._asking: gevent.Greenlet[[], None] | None = None
        self._asked = -CHECK_INTERVAL

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Respond with the state of the queue and the store."""
        why = self._why_not()
        resp.status = 503 if why else 200
        resp.content_type = "text/plain"
        resp.text = why or "ok"

    on_head = on_get

    def _why_not(self) -> str | None:
        session = self._coordination.session
        if session is None or session.over:
            return "the queue is out of reach"
        if self._queue_refuses():
            return "the queue takes no jobs"
        return self.store_trouble()

    def store_trouble(self) -> str | None:
        """Return why the store takes no writes; None: it does, by the latest result."""
        is_first = self._asking is None
        if is_first or (
            self._asking is not None and self._asking.ready() and boottime() > self._asked + CHECK_INTERVAL
        ):
            self._asked = boottime()
            self._asking = gevent.spawn(self._ask)
        assert self._asking is not None
        if is_first or self._why is not None:
            self._asking.join(STORE_TIMEOUT)
        if not self._asking.ready() and boottime() > self._asked + STORE_TIMEOUT:
            return f"the store does not answer within {STORE_TIMEOUT:g} s"
        return self._why

    def _ask(self) -> None:
        try:
            [result] = self._store.write([Insert({"id": HEALTH_DOCUMENT, "checked": cimi_time(now())})])
            if isinstance(result, DuplicateKey):
                moment = {"checked": cimi_time(now())}
                [result] = self._store.write([Update(HEALTH_DOCUMENT, lambda document: document | moment)])
        except StoreError as error:
            self._why = error.told
        except Exception as error:
            log.error("unexpected error", exc_info=error)
            self._why = f"the store cannot be asked: {type(error).__name__}"
        else:
            self._why = f"{StoreRefused.MEANING}: {result}" if isinstance(result, Exception) else None
