"""Twenty-three kinds of action, ended at random, with thousands of yields: nothing breaks."""

from tests.support.watching.scenario import answer


def test_stress() -> None:
    found = answer("stress.run", "6", "1")
    assert found["kinds"] == 23
    assert found["wrong"] == {}
    assert found["stray"] == [0]
    assert found["free"] == ["lock", "rlock", "semaphore", "gevent_rlock", "log", "requests"]
    assert found["left"] == [0, 0, 0, 0, 0]
    assert found["greenlets"] == []
    assert found["faults"] == 0
    assert (found["aside"], found["base"]) == ([0, 0], [False, None, 0o22]), "no state of an action is left"
    assert found["actions"] == sum(found["outcomes"].values()) > 1000
    assert min(found["outcomes"][end] for end in ("Returned", "TimedOut", "Stopped", "Lost")) > 20
    assert found["yields"] > 500
    assert found["raises"] > 0
