"""Fleets over each coordination, with actions that leave notes behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import Fleet, fleet
from tests.support.noted import ACTIONS, Notes
from tests.support.zookeeper import shared


@pytest.fixture(params=["sqlite", "zookeeper"])
def engine(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """Yield a fleet without processes. A ZooKeeper serves all tests of this process, each under a root of its own."""
    with fleet(tmp_path, shared().hosts if request.param == "zookeeper" else "") as made:
        shutil.copy(ACTIONS, made.actions_dir)
        yield made


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "notes")
