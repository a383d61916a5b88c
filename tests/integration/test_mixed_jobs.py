"""Two thousand jobs of every outcome through real processes end in the right state, with the right message."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import Fleet, ended, fleet, until
from tests.support.mixed import ACTIONS, Mixed


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path) as made:
        shutil.copy(ACTIONS, made.actions_dir)
        made.server()
        yield made


def test_two_thousand_jobs_of_every_outcome(engine: Fleet) -> None:
    client = engine.client()
    mixed = Mixed(client)
    engine.executor("first", "--threads", "200", "--unknown-grace", "3")
    until(mixed.stop_running, 60)
    mixed.check(ended(client, list(mixed.kinds), 120), engine.actions_dir)
    until(lambda: client.queue()["entries"] == 0)
