"""Fixtures of the contract: every test here runs over every implementation of coordination."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from geventjob.coordination.base import Coordination
from tests.contract.coordination.fleets import IMPLEMENTATIONS, Fleet


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def fleets(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Fleet]]:
    """Yield a function that makes fleets, each a namespace of its own."""
    made: list[Fleet] = []
    numbers = count()

    def make() -> Fleet:
        directory = tmp_path / f"fleet-{next(numbers)}"
        made.append(IMPLEMENTATIONS[request.param](directory))
        return made[-1]

    yield make
    for fleet in made:
        fleet.close()


@pytest.fixture
def fleet(fleets: Callable[[], Fleet]) -> Fleet:
    return fleets()


@pytest.fixture
def member(fleet: Fleet) -> Coordination:
    """Return a first member, started."""
    return fleet.member()


@pytest.fixture
def other(fleet: Fleet, member: Coordination) -> Coordination:
    """Return a second member, started."""
    return fleet.member()
