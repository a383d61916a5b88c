"""The lag of the event loop that an executor announces."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest

from geventjob.executor import lag


@pytest.mark.parametrize(
    ("seconds", "step"), [(0.0, None), (0.09, None), (0.1, 0.1), (0.7, 0.5), (10.0, 10.0), (70.0, 10.0)]
)
def test_a_lag_is_announced_in_steps(seconds: float, step: float | None) -> None:
    assert lag.step_of(seconds) == step


def test_a_lag_is_announced_when_its_step_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag, "LOOK", 0.0)
    looks: Iterator[float] = iter([0.0, 0.3, 0.4, 1.0, 0.0, 0.0])
    asked, told = [], []

    def held(since: float) -> float:
        asked.append(since)
        return next(looks)

    announcing = gevent.spawn(lag.announce_lag, held, lambda lag: told.append(lag))
    with pytest.raises(StopIteration):
        announcing.get(timeout=10)
    assert told == [0.25, 1.0, None]
    assert asked == sorted(asked)
