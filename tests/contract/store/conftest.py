"""Fixtures of the contract suite: every test runs over every implementation of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from geventjob.server.store.base import Store
from geventjob.server.store.sqlite import SqliteStore
from tests.support.elastic_stores import elasticsearch_store

IMPLEMENTATIONS: dict[str, Callable[[Path], Store]] = {
    "elasticsearch": elasticsearch_store,
    "sqlite": lambda directory: SqliteStore(directory / "server.db"),
}
"""Factories of stores, not started; stores of the same directory have the same documents."""


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Store]:
    monkeypatch.setattr("geventjob.server.store.sqlite.terms.STALE", 3)  # so that searches meet indexed and stale rows
    return lambda: IMPLEMENTATIONS[request.param](tmp_path)


@pytest.fixture
def store(make: Callable[[], Store]) -> Iterator[Store]:
    """Return an empty store, started."""
    made = make()
    made.start()
    yield made
    made.close()
