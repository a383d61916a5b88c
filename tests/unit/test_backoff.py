"""Pauses between tries, retries, and names that are left alone."""

from __future__ import annotations

from itertools import islice

import pytest

from geventjob import backoff
from geventjob.backoff import delays, retry


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the seconds that `retry` slept, which pass at once."""
    made: list[float] = []
    monkeypatch.setattr(backoff.time, "sleep", made.append)  # type: ignore[attr-defined]
    return made


class Flaky:
    """A call that fails for the errors it is given, then returns."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_delays_double_up_to_five_seconds_with_jitter() -> None:
    for delay, most in zip(islice(delays(), 9), (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5), strict=True):
        assert most / 2 <= delay <= most


def test_a_call_is_tried_again_after_the_errors_that_pass(slept: list[float]) -> None:
    assert retry(Flaky(OSError(), OSError()), OSError) == "done"
    assert len(slept) == 2
    assert slept[0] < slept[1]


def test_another_error_ends_the_tries(slept: list[float]) -> None:
    with pytest.raises(ValueError, match="no"):
        retry(Flaky(OSError(), ValueError("no")), OSError)
    assert len(slept) == 1


def test_a_pause_chooses_the_seconds_and_may_end_the_tries(slept: list[float]) -> None:
    def pause(error: OSError, delay: float) -> float:
        if len(slept) == 2:
            raise error
        return delay + 10

    with pytest.raises(OSError, match="third"):
        retry(Flaky(OSError(), OSError(), OSError("third")), OSError, pause)
    assert [seconds > 10 for seconds in slept] == [True, True]
