"""The take loop of an executor, which fills the free slots of the whole pool."""

from __future__ import annotations

from collections.abc import Callable

import gevent
from gevent.event import Event
from gevent.lock import Semaphore

from geventjob.coordination.base import Claim, Coordination
from geventjob.executor.claims import HeldClaims


class Taker:
    """Takes claims while slots are free and the server answers, and starts each in a greenlet."""

    def __init__(
        self,
        coordination: Coordination,
        claims: HeldClaims,
        up: Event,
        slots: Semaphore,
        start: Callable[[Claim], None],
    ) -> None:
        """Take nothing yet. `start(claim)` runs in a greenlet of its own and frees the slot."""
        self._coordination = coordination
        self._claims = claims
        self._up = up
        self._slots = slots
        self._start = start
        self._takes = Event()
        self._takes.set()
        self._stopped = Event()
        self.taken = 0
        """Claims that were taken so far."""

    def run(self) -> None:
        """Take claims until `stop` is called."""
        while self._ready():
            exclude, until = self._claims.excluded()
            for claim in self._coordination.take(self._slots.counter, exclude, until):
                self._begin(claim)

    def quiet(self) -> None:
        """Take no more claims until `resume`. A claim that arrives meanwhile is released."""
        self._takes.clear()
        self._coordination.interrupt()

    def resume(self) -> None:
        """Take claims again."""
        self._takes.set()

    def stop(self) -> None:
        """Take no more claims. Callable from any greenlet and from the hub."""
        self._stopped.set()
        self._coordination.interrupt()

    def _ready(self) -> bool:
        """Wait until claims are wanted, the server answers and a slot is free; return False once stopped."""
        while not self._stopped.is_set():
            for needed in (self._takes, self._up):
                gevent.wait([self._stopped, needed], count=1)
            self._slots.wait(timeout=1)
            if self._takes.is_set() and self._up.is_set() and self._slots.counter > 0:
                break
        return not self._stopped.is_set()

    def _begin(self, claim: Claim) -> None:
        self.taken += 1
        if self._stopped.is_set() or not self._takes.is_set():
            self._claims.release(claim)
            return
        self._slots.acquire()
        gevent.spawn(self._start, claim)
