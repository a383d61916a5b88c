"""The ends of actions. Bounds of time are generous: the machine may be busy."""

from typing import Any

import pytest

from tests.support.watching.scenario import Answers

found_by = Answers(
    "ends.limits",
    "ends.swallows computes",
    "ends.swallows waits",
    "ends.own_errors",
    "ends.stops",
    "ends.leases",
    "ends.children",
    "ends.races",
)

LATE = 1.5
"""Seconds that an end may come late on a busy machine."""


def test_a_time_out_ends_whatever_computes_or_waits() -> None:
    found = found_by["ends.limits"]
    assert len(found["answers"]) == 18
    for kind, (said, seconds) in found["answers"].items():
        assert said == "TimedOut 0.15", kind
        # A loop of nothing but logging is almost never at a safe point: on a busy machine 7 s were seen.
        assert 0.14 <= seconds < (30 if kind == "logs" else LATE), kind
    assert not found["imported"], "a module whose import was ended must not stay half imported"
    assert found["log"], "the lock of the log must be free"
    assert not found["faults"]


@pytest.mark.parametrize("how", ["computes", "waits"])
def test_code_that_swallows_its_time_out_gets_it_again_and_is_abandoned(how: Any) -> None:
    found = found_by[f"ends.swallows {how}"]
    assert found["abandoned"] == ["TimedOut 0.15"]
    assert found["before"] == {"running": 0, "abandoned": 1}
    assert "abandoned" in found["described"]
    assert (found["end"], found["after"]) == ("NoneType", 0), "when its code ends at last there is nothing left to do"
    assert (found["kinds"], found["errors"]) == (["Timeout"], 1), "it is the same Timeout each time"
    assert len(found["gaps"]) >= 2
    assert all(0.24 <= gap < 1 for gap in found["gaps"])
    assert found["brief"] == "TimedOut 0.15", "a value that comes after a swallowed Timeout does not count"


def test_what_an_action_raises_by_itself_is_its_own() -> None:
    found = found_by["ends.own_errors"]
    for error in ("SystemExit", "KeyboardInterrupt", "GreenletExit", "JobLost", "JobStopped", "ValueError"):
        assert found[error] == f"Raised {error}"
    assert found["own timeout"] == "Raised Timeout"
    assert found["late, returned"] == "Returned done", "a stop that came too late changes nothing"
    assert found["late, raised"] == "Raised ValueError"
    assert found["refused"] == "Lost"
    assert found["stopped by its call"] == "Stopped"
    assert found["frames"] == ["body", None], "the traceback begins at the action's own code"


def test_stops_and_losses() -> None:
    found = found_by["ends.stops"]
    for name in ("waits", "loop", "in_finally", "cleans_up", "swallows_once"):
        for end, said in (("stop", "Stopped"), ("lose", "Lost")):
            ending, seconds = found[f"{end} {name}"]
            assert ending == said, name
            assert seconds < LATE, name
    assert found["one of two"] == "Stopped"
    assert found["the other"], "the other action of the same job was not meant"
    assert found["strongest"] == ["Lost", ["Timeout", "JobLost"]], "a loss counts more than what came before"
    assert found["not begun"] == found["revoked"] == ["Lost", []], "what is lost does not begin"
    assert found["left"] == [0, 0, 0, 0]


def test_a_lease_that_ends_loses_the_actions_of_its_session() -> None:
    found = found_by["ends.leases"]
    assert found["lost"] == ["Lost"] * 3
    assert 0.3 < found["seconds"] < 0.5 + LATE
    assert found["kept"] == [True, True]
    assert found["steps after"] == 0
    assert found["unsliced"] == "Lost", "the hub that would find it out is the one that is held up"
    assert found["sessions"] == 1


def test_what_an_action_started_ends_with_it() -> None:
    found = found_by["ends.children"]
    answers = found["answers"]
    for name, said, error in (
        ("timed out", "TimedOut 0.4", "GreenletExit"),
        ("timed out computing", "TimedOut 0.4", "GreenletExit"),
        ("stopped", "Stopped", "JobStopped"),
        ("lost", "Lost", "JobLost"),
        ("abandoned", "NoneType", "GreenletExit"),
    ):
        assert answers[name] == [said, True, [error]]
    assert found["threads"] == ["GreenletExit", "GreenletExit", "JobStopped", "JobLost", "GreenletExit"]
    assert found["beside"], "a greenlet of somebody else runs on"
    assert answers["returned"] == ["Returned 7", 5], "a normal end leaves them"
    assert answers["late"] < 1, "and they are sliced"


def test_ends_that_race_the_end() -> None:
    found = found_by["ends.races"]
    assert found["stray"] == found["wrong"] == []
    assert found["endings"]["timed out"] > 500
    assert found["endings"]["returned"] > 100
    assert sum(found["endings"].values()) == 3000
    assert found["raises"] > 20, "some were raised by the alarm"
    assert (found["left"], found["faults"]) == (0, 0)
