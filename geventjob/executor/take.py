"""The one take loop of an executor: it fills the free slots of the whole pool (DESIGN §4)."""

from __future__ import annotations

from collections.abc import Callable

import gevent
from gevent.event import Event
from gevent.lock import Semaphore

from geventjob.coordination.base import Claim, Coordination
from geventjob.executor.claims import HeldClaims


class Taker:
    """Takes while there are free slots and the server answers; starts what it took."""

    def __init__(
        self,
        coordination: Coordination,
        claims: HeldClaims,
        up: Event,
        slots: Semaphore,
        start: Callable[[Claim], None],
    ) -> None:
        """`start(claim)` runs in a greenlet of its own and gives the slot back."""
        self._coordination = coordination
        self._claims = claims
        self._up = up
        self._slots = slots
        self._start = start
        self._stopped = Event()

    def run(self) -> None:
        """Until `stop`."""
        while self._ready():
            exclude, until = self._claims.excluded()
            for claim in self._coordination.take(self._slots.counter, exclude, until):
                self._begin(claim)

    def stop(self) -> None:
        """Take nothing more. From any greenlet, or the hub."""
        self._stopped.set()
        self._coordination.interrupt()

    def _ready(self) -> bool:
        """Wait for the server and a free slot; False once stopped."""
        while not self._stopped.is_set():
            gevent.wait([self._stopped, self._up], count=1)
            self._slots.wait(timeout=1)
            if self._up.is_set() and self._slots.counter > 0:
                break
        return not self._stopped.is_set()

    def _begin(self, claim: Claim) -> None:
        if self._stopped.is_set():
            self._claims.release(claim)
            return
        self._slots.acquire()
        gevent.spawn(self._start, claim)
