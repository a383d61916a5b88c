"""The take loop of an executor, over a real queue (SQLite)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from gevent.event import Event
from gevent.lock import Semaphore

from geventjob.coordination.base import Claim
from geventjob.coordination.sqlite import SqliteCoordination
from geventjob.executor.claims import HeldClaims
from geventjob.executor.take import Taker
from tests.support.waiting import eventually


class Loop:
    """A taker in a greenlet of its own, with the claims that it has started."""

    def __init__(self, queue: SqliteCoordination, slots: int) -> None:
        self.queue = queue
        self.claims = HeldClaims(queue)
        self.up = Event()
        self.slots = Semaphore(slots)
        self.started: list[Claim] = []
        self.taker = Taker(queue, self.claims, self.up, self.slots, self.started.append)
        self.greenlet = gevent.spawn(self.taker.run)

    def jobs(self) -> list[str]:
        return [claim.job for claim in self.started]

    def free(self) -> int:
        """Return how many entries nobody holds."""
        look = self.queue.stats()
        return look.entries - look.taken


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Callable[[int], Loop]]:
    queue = SqliteCoordination(str(tmp_path / "queue.db"), "me", 10)
    queue.start()
    made: list[Loop] = []

    def make(slots: int) -> Loop:
        made.append(Loop(queue, slots))
        return made[-1]

    yield make
    for each in made:
        each.taker.stop()
        each.greenlet.get(timeout=5)
    queue.close()


def test_it_takes_in_order_and_no_more_than_there_are_slots(loop: Callable[[int], Loop]) -> None:
    mine = loop(2)
    mine.queue.put([(f"job/{n}", 999) for n in range(5)])
    mine.up.set()
    eventually(lambda: mine.jobs() == ["job/0", "job/1"])
    assert mine.slots.counter == 0
    assert mine.free() == 3
    mine.slots.release()
    eventually(lambda: mine.jobs() == ["job/0", "job/1", "job/2"])
    assert mine.free() == 2


def test_it_takes_nothing_while_the_server_is_away(
    loop: Callable[[int], Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = loop(2)
    take = mine.queue.take
    asked: list[bool] = []

    def noted(limit: int, exclude: set[str], timeout: float | None) -> list[Claim]:
        asked.append(mine.up.is_set())
        return take(limit, exclude, timeout)

    monkeypatch.setattr(mine.queue, "take", noted)
    mine.queue.put([("job/1", 999)])
    gevent.idle()  # the taker has run as far as it can
    mine.up.set()
    eventually(lambda: mine.jobs() == ["job/1"])
    assert all(asked)


def test_it_passes_over_an_entry_that_is_left_alone(loop: Callable[[int], Loop]) -> None:
    mine = loop(2)
    mine.up.set()
    mine.queue.put([("job/unknown", 1)])
    (first,) = eventually(lambda: mine.started)
    mine.claims.leave_alone(first)
    mine.slots.release()
    mine.queue.put([("job/known", 999)])
    eventually(lambda: mine.jobs() == ["job/unknown", "job/known"])
    assert mine.free() == 1


def test_it_ends_when_it_is_stopped_while_it_waits(loop: Callable[[int], Loop]) -> None:
    mine = loop(2)
    mine.up.set()
    gevent.sleep(0)
    mine.taker.stop()
    mine.greenlet.get(timeout=5)


def test_a_claim_that_arrives_after_the_stop_is_released(
    loop: Callable[[int], Loop], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = loop(2)
    mine.queue.put([("job/1", 999)])
    take = mine.queue.take

    def stopped_meanwhile(limit: int, exclude: set[str], timeout: float | None) -> list[Claim]:
        claims = take(limit, exclude, timeout)
        mine.taker.stop()
        return claims

    monkeypatch.setattr(mine.queue, "take", stopped_meanwhile)
    mine.up.set()
    mine.greenlet.get(timeout=5)
    assert mine.jobs() == []
    assert mine.free() == 1
