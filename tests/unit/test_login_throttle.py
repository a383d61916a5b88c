"""Throttling of log-ins: the pause after failures, and the log-ins that do not wait."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from geventjob.server.accounts import login_throttle as module
from geventjob.server.accounts.login_throttle import CONCURRENT, FORGET, FREE_BY_ADDRESS, FREE_BY_NAME, LoginThrottle
from geventjob.server.problem import Problem


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stop the clock; return a function that moves it on by some seconds."""
    passed = [1000.0]

    def go_on(seconds: float) -> None:
        passed[0] += seconds

    monkeypatch.setattr(module, "boottime", lambda: passed[0])
    return go_on


def tried(throttle: LoginThrottle, name: str, address: str = "a", *, good: bool = False) -> int | None:
    """Try to log in: return the seconds of the pause by a refusal; None: the log-in was tried."""
    try:
        with throttle.attempt(name, address):
            if not good:
                raise Problem(403, "wrong")
    except Problem as problem:
        return problem.retry_after if problem.status == 429 else None
    return None


def test_pauses_of_a_name_from_an_address_grow_to_a_minute(clock: Callable[[float], None]) -> None:
    throttle = LoginThrottle()
    pauses = []
    for _ in range(FREE_BY_NAME):
        assert tried(throttle, "ann") is None
    for _ in range(8):
        pause = tried(throttle, "ann", good=True)
        assert pause is not None
        pauses.append(pause)
        clock(pause - 0.5)
        assert tried(throttle, "ann", good=True) == 1
        clock(0.5)
        assert tried(throttle, "ann") is None
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    clock(FORGET + 1)
    assert tried(throttle, "ann") is None
    assert tried(throttle, "ann", good=True) is None


def test_a_flood_on_a_name_locks_out_no_other_address_and_no_other_name(clock: Callable[[float], None]) -> None:
    throttle = LoginThrottle()
    for _ in range(FREE_BY_NAME):
        tried(throttle, "super")
    assert tried(throttle, "super", good=True) is not None
    assert tried(throttle, "super", "fleet", good=True) is None
    assert tried(throttle, "ann", good=True) is None


def test_failures_of_many_names_from_an_address_add_up(clock: Callable[[float], None]) -> None:
    throttle = LoginThrottle()
    for number in range(FREE_BY_ADDRESS):
        assert tried(throttle, f"name-{number}") is None
    assert tried(throttle, "another", good=True) == 1
    assert tried(throttle, "another", "b", good=True) is None


def test_a_log_in_forgets_earlier_failures(clock: Callable[[float], None]) -> None:
    throttle = LoginThrottle()
    for _ in range(3):
        for _ in range(FREE_BY_NAME - 1):
            assert tried(throttle, "ann") is None
        assert tried(throttle, "ann", good=True) is None


def test_a_name_has_a_share_of_the_log_ins_in_progress(clock: Callable[[float], None]) -> None:
    throttle = LoginThrottle()
    with ExitStack() as stack:
        for number in range(CONCURRENT):
            stack.enter_context(throttle.attempt("super", f"address-{number}"))
        assert tried(throttle, "super", "another", good=True) == 1
        assert tried(throttle, "ann", "another", good=True) is None
    assert tried(throttle, "super", "another", good=True) is None


def test_remembered_failures_are_bounded(clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 3)
    throttle = LoginThrottle()
    for number in range(10):
        tried(throttle, f"name-{number}", f"address-{number}")
    assert len(throttle._failures) == 3
