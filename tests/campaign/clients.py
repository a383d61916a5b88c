"""Clients that keep adding jobs of each kind, and record what the server has accepted.

A line `added` tells what must become of the job: how often it fails and is tried again, the jobs that it comes after,
the key that it has alone, the account whose limit it comes under, the jobs of its batch.
"""

from __future__ import annotations

import contextlib
import heapq
import random
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from geventjob import Client
from geventjob.cimi.errors import CimiError, Conflict, NotFound, Refused
from tests.campaign.record import Recorder

T = TypeVar("T")
LIMIT = 3
"""Jobs of the action `limited` of one account that run at once."""
KEYS = [f"key-{number}" for number in range(4)]
UNIQUE = ["action", "payload.key"]


class Stopped(Exception):
    """The campaign is over: a request that has no answer yet is given up."""


class Clients:
    """Threads that add jobs until `stop`. What they choose comes from the seed."""

    def __init__(self, connect: Callable[[], Client], recorder: Recorder, seed: int, pause: float) -> None:
        """Keep the settings. `pause`: the longest time of one client between two adds, seconds."""
        self._connect = connect
        self._recorder = recorder
        self._pause = pause
        self._over = threading.Event()
        self.errors: list[str] = []
        """Refusals that no fault explains."""
        self._threads = [threading.Thread(target=self._run, args=(f"{seed}/{n}",), daemon=True) for n in range(6)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop adding; return when each client has its last answer, or has given up."""
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            if thread.is_alive():
                self.errors.append("a client did not return within 60 s")

    def _run(self, seed: str) -> None:
        with self._connect() as connected, contextlib.suppress(Stopped):
            adder = Adder(connected, self._recorder, self._over, random.Random(seed))
            while not self._over.wait(adder.dice.uniform(0, self._pause)):
                try:
                    adder.add()
                    adder.stop_due()
                except Refused as error:
                    self.errors.append(f"{type(error).__name__} {error.status}: {error}")


class Adder:
    """One client: each call adds a job, or some that belong together."""

    def __init__(self, client: Client, recorder: Recorder, over: threading.Event, dice: random.Random) -> None:
        self.client = client
        self.dice = dice
        self._recorder = recorder
        self._over = over
        self._stops: list[tuple[float, str]] = []
        self._kinds: dict[Callable[[], None], int] = {
            self._plain: 6, self._apart: 3, self._failing: 4, self._limited: 4, self._unique: 3, self._held: 3,
            self._chain: 2, self._batch: 1, self._stopped: 2, self._expiring: 2, self._replacing: 2, self._pause: 1,
        }  # fmt: skip
        self._first = dice.sample(list(self._kinds), len(self._kinds))

    def add(self) -> None:
        """Add jobs of a kind that the dice choose: first of each kind, then some more often than others."""
        kinds, weights = list(self._kinds), list(self._kinds.values())
        add = self._first.pop() if self._first else self.dice.choices(kinds, weights)[0]
        add()

    def stop_due(self) -> None:
        """Stop jobs whose time has come."""
        while self._stops and self._stops[0][0] < time.monotonic():
            _, id = heapq.heappop(self._stops)
            self._recorder.note("stop", job=id)
            with contextlib.suppress(Conflict):  # it has ended
                self._answered(lambda id=id: self.client.operation(id, "stop"))

    # --- kinds of jobs

    def _plain(self) -> None:
        self._added("plain", priority=self.dice.choice((1, 500, 999)), payload=self._payload())

    def _apart(self) -> None:
        self._added("apart", action="apart", payload=self._payload())

    def _failing(self) -> None:
        fail, retries = self.dice.randrange(4), self.dice.randrange(4)
        payload = self._payload(seconds=0.2, fail=fail)
        self._added("failing", payload=payload, retries=retries, said={"fail": fail, "retries": retries})

    def _limited(self) -> None:
        account = self.dice.choice("ab")
        payload = self._payload(account=account)
        self._added("limited", action="limited", payload=payload, said={"group": f"account {account}", "most": LIMIT})

    def _unique(self) -> None:
        key = self.dice.choice(KEYS)
        said = {"group": f"key {key}", "most": 1}
        unique = {"by": UNIQUE, "while": "active"}
        with contextlib.suppress(Conflict):
            self._added("unique", payload=self._payload(key=key), unique=unique, said=said)

    def _held(self) -> None:
        self._added("held", payload=self._payload(), notBefore=f"+{self.dice.randrange(1, 8)}s")

    def _chain(self) -> None:
        """Add a job, and two that come one after the other behind it; one in three chains begins with a failure."""
        fail = self.dice.choice((0, 0, 1))
        payload = self._payload(seconds=0.2, fail=fail)
        last = self._added("failing", payload=payload, retries=0, said={"fail": fail, "retries": 0})
        for when in (self.dice.choice(("fail", "stop", "run")), "fail"):
            after = {"jobs": [last], "whenFailed": when}
            last = self._added("after", payload=self._payload(seconds=0.2), after=after, said={"after": after})

    def _batch(self) -> None:
        count, key = self.dice.randrange(1, 12), self._key()
        payload = self._payload(seconds=0.3)

        def whole() -> tuple[str, int]:
            with self.client.batch("recorded", payload, key=key) as batch:
                for _ in range(count):
                    batch.add("recorded", payload)
            return batch.id, count

        id, count = self._answered(whole, open=True)
        self._recorder.note("added", job=id, kind="batch", total=count)

    def _stopped(self) -> None:
        id = self._added("stopped", payload=self._payload(seconds=6))
        heapq.heappush(self._stops, (time.monotonic() + self.dice.uniform(0, 4), id))

    def _expiring(self) -> None:
        self._added("expiring", payload=self._payload(), expires=f"+{self.dice.randrange(1, 4)}s")

    def _replacing(self) -> None:
        """Add a job that takes the place of one with its key which has not begun: both answers name one job."""
        payload = self._payload(key=self.dice.choice(KEYS))
        unique = {"by": UNIQUE, "while": "queued", "replace": True}
        self._added("replacing", action="apart", payload=payload, unique=unique, notBefore="+2s")

    def _pause(self) -> None:
        """Pause the action `limited` for some seconds; once in a while end the pause before."""
        self._answered(lambda: self.client.pause("limited", until="+3s"))
        if self.dice.random() < 0.5:
            with contextlib.suppress(NotFound):
                self._answered(lambda: self.client.resume("limited"))

    # --- requests

    def _payload(self, **more: Any) -> dict[str, Any]:
        seconds = round(self.dice.uniform(0, 2.5), 2)
        return {"record": str(self._recorder.path), "seconds": seconds, "computes": self.dice.random() < 0.2, **more}

    def _key(self) -> str:
        return str(uuid.uuid4())

    def _added(self, kind: str, said: dict[str, Any] | None = None, **job: Any) -> str:
        """Add a job until the server has answered, record and return its id. Raises Refused, Stopped."""
        body = {"action": "recorded", "idempotencyKey": self._key(), **job}
        id = self._answered(lambda: self.client.add("job", body))
        self._recorder.note("added", job=id, kind=kind, **(said or {}))
        return id

    def _answered(self, call: Callable[[], T], *, open: bool = False) -> T:
        """Return the answer to a request that may be repeated. Raises Stopped when the campaign is over before.

        `open`: the request must be answered, since a batch that is not closed never ends.
        """
        while True:
            try:
                return call()
            except CimiError as error:
                if isinstance(error, Refused):
                    raise
                if self._over.wait(0.2) and not open:
                    raise Stopped from error
                time.sleep(0.2)


def job_of_key(record: Path, key: str) -> dict[str, Any]:
    """Return a job with a key of the unique jobs, which is added where no other job has the key."""
    payload = {"record": str(record), "seconds": 0, "key": key}
    return {"action": "recorded", "payload": payload, "unique": {"by": UNIQUE, "while": "active"}}
