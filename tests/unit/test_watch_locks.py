"""An end that comes while a context manager is entered or left leaves no lock behind, on any Python."""

from tests.support.watching.scenario import answer


def test_no_lock_is_left_locked() -> None:
    found = answer("locks.run", "200")
    assert found["shots"] >= 200, "the alarm must have raised each of these"
    assert found["left"] == {}
    assert found["faults"] == 0
