"""Places for suspects (docs/architecture.md, "Delivery contract", rule 7)."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

import gevent
import pytest
from gevent.lock import Semaphore

from geventjob.coordination.base import Claim, Session
from geventjob.executor import quarantine as module
from geventjob.executor.limits import JobLimits
from geventjob.executor.quarantine import Quarantine


def claim(name: str = "x") -> Claim:
    return Claim(f"/job/entries/{name}", "job/1", 1, 0.0, Session("s", 10))


def quarantine(threads: int = 16, slots: int = 16) -> Quarantine:
    return Quarantine(Semaphore(slots), JobLimits(threads=threads).suspects)


def waiting(made: Quarantine, interruptions: int = 2) -> tuple[Claim, gevent.Greenlet[..., bool]]:
    one = claim()
    greenlet = gevent.spawn(made.wait, one, interruptions)
    gevent.sleep(0)
    return one, greenlet


@pytest.mark.parametrize(
    ("threads", "interruptions", "places"), [(1000, 2, 125), (1000, 3, 15), (1000, 4, 1), (100, 2, 12), (1, 2, 1)]
)
def test_so_many_enter(threads: int, interruptions: int, places: int) -> None:
    made = quarantine(threads)
    assert [made.enter(claim(), interruptions) for _ in range(places + 1)] == [True] * places + [False]


def test_each_occupies_a_place_at_every_lower_level() -> None:
    made = quarantine(1000)
    assert all(made.enter(claim(), 3) for _ in range(15))
    assert not made.enter(claim(), 4), "who fits in nowhere"
    assert [made.enter(claim(), 2) for _ in range(111)] == [True] * 110 + [False]


def test_who_waits_is_started_when_a_place_becomes_free_and_takes_a_slot() -> None:
    slots = Semaphore(2)
    made = Quarantine(slots, lambda _: 1)
    first = claim()
    assert made.enter(first, 2)
    second, waits = waiting(made)
    assert not made.leave(first), "the place is taken again"
    assert waits.get(timeout=1)
    assert slots.counter == 1
    assert made.leave(second), "a place that nobody here waits for"
    assert not made.leave(second), "it had none any more"


def test_the_first_that_fits_is_started() -> None:
    made = Quarantine(Semaphore(9), {2: 2, 3: 1}.__getitem__)
    high, low = claim(), claim()
    assert made.enter(high, 3)
    assert made.enter(low, 2)
    _, higher = waiting(made, 3)
    _, lower = waiting(made, 2)
    made.leave(low)
    assert lower.get(timeout=1)
    assert not higher.ready()
    made.leave(high)
    assert higher.get(timeout=1)


def test_nobody_is_started_without_a_slot() -> None:
    made = Quarantine(Semaphore(0), lambda _: 1)
    first = claim()
    assert made.enter(first, 2)
    _, waits = waiting(made)
    assert made.leave(first)
    assert waits.get(timeout=2) is False


def test_who_waits_for_long_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOLD", 0.05)
    made = quarantine(8)
    first = claim()
    assert made.enter(first, 2)
    _, waits = waiting(made)
    assert waits.get(timeout=1) is False
    assert made.leave(first), "it does not wait any more"


def test_many_who_wait_are_passed_on_at_a_bounded_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOLD", 0.0)
    monkeypatch.setattr(module, "PASSED_ON", 10)
    monkeypatch.setattr(module, "random", Namespace(uniform=max))
    made = quarantine(8)
    assert made.enter(claim(), 2)
    others = [waiting(made)[1] for _ in range(5)]
    gevent.sleep(0.15)
    assert [other.ready() for other in others] == [True, False, False, False, False]
    made.close()
    gevent.joinall(others, timeout=1)


@pytest.mark.parametrize("enter", [Quarantine.enter, Quarantine.wait])
def test_once_closed_nobody_enters(enter: Callable[[Quarantine, Claim, int], bool]) -> None:
    made = quarantine()
    first = claim()
    assert made.enter(first, 4)
    _, waits = waiting(made, 4)
    made.close()
    assert waits.get(timeout=0.1) is False
    assert not enter(made, claim(), 2)
    assert made.leave(first)
