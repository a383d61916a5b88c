"""State of the process in actions that overlap: the lines of docs/how-to/write-safe-actions.md."""

from typing import Any

import pytest

from tests.support.watching.scenario import Answers

found_by = Answers("state.kept_apart", "state.refusals", "state.finalizers", "state.reprs", "state.loops 100")


def folders() -> Any:
    return found_by["state.kept_apart"]["folders"]


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("stdout", lambda n: f"first {n}\nchild {n}\nerror {n}\n"),
        ("stdout without with", lambda n: [str(n)] * 3),
        ("warnings", lambda n: [f"of {n}"]),
        ("filters", lambda n: ["raised", "ignored"][n]),
        ("directory", lambda n: [folders()[n]] * 3),
        ("umask", lambda n: [[0o27, 0o77][n]] * 3),
        ("environment", lambda n: [[str(n)] * 2] * 3),
        ("removed from it", lambda n: [None] * 3),
        ("zone", lambda n: [[18000, -32400][n]] * 3),
        ("locale", lambda n: [["C.UTF-8", "C"][n]] * 3),
        ("recursion limit", lambda n: [3000 + n] * 3),
    ],
)
def test_what_an_action_changes_is_its_own(kind: Any, seen: Any) -> None:
    found = found_by["state.kept_apart"]["answers"][kind]
    assert found["found"] == [seen(0), seen(1)]
    assert not found["disturbed"], "who runs in between sees nothing of it"
    assert not found["left"], "it ends with the action"


def test_what_an_action_leaves_changed_is_told_once() -> None:
    found = found_by["state.kept_apart"]
    kinds = ("sys.stdout", "the working directory", "the umask", "os.environ", "the time zone", "the locale")
    expected = [f"the action 'a' left {kind} changed: put back" for kind in (*kinds, "the recursion limit")]
    assert found["log"] == expected
    assert (found["aside"], found["faults"]) == (0, 0)


def test_signals_and_timers_are_refused() -> None:
    found = found_by["state.refusals"]
    assert len(found["answers"]) == 9
    for call, error in found["answers"].items():
        assert "in an action: signals and timers belong to the executor" in error, call
    assert found["allowed"] == "set()", "other signals may be held back for a moment"
    assert found["beside"] == "TimedOut 1.5", "an action that computes is ended all the same"
    assert found["outside"] == [0.0, 0.0]


def test_a_finalizer_that_waits_is_told_so() -> None:
    found = found_by["state.finalizers"]
    assert found["answers"] == ["collected", "went on", None]
    assert found["freed"] == [1, 2], "garbage was collected, and what is freed by its count may wait"
    assert len(found["errors"]) == 2
    assert all("must not wait" in error for error in found["errors"])


def test_a_repr_that_waits_changes_no_other() -> None:
    assert found_by["state.reprs"] == ["[slow, [slow]]"] * 3 + ["[slow, [...]]"]


def test_a_hundred_asyncio_runs_at_once() -> None:
    found = found_by["state.loops 100"]
    assert found["found"] == [True] * 100
    assert found["after"] == [[True] * 3]
    assert found["outside"], "no loop and no hook is left behind"
    assert (found["aside"], found["trace"]) == (0, True)


def test_asyncio_is_ended_by_time_out_and_stop() -> None:
    found = found_by["state.loops 100"]
    assert found["endings"] == {"timed out": ["TimedOut 0.5"] * 4, "stopped": ["Stopped"] * 4}
    assert found["cleaned"] == sorted(["waits", "waits in a task", "in a call", "computes"] * 2)
