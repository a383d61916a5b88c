"""System calls that block: parked and ended like code that computes, where the kernel lets them be interrupted."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.watching.scenario import Answers, answer, run

LATE = 1.5
"""Seconds that an end may come late on a busy machine."""
BLOCKS = (
    "reads_a_pipe",
    "reads_a_fifo",
    "locks_a_file",
    "acquires_a_native_lock",
    "asks_a_pipe",
    "asks_a_terminal",
    "waits_for_any_child",
    "joins_a_spawned_process",
    "gets_from_a_queue",
    "acquires_a_shared_lock",
    "maps_in_a_pool",
)
CANNOT = ("calls_system", "waits_for_sqlite")
SEVERAL = " ".join(("blocks.several", *BLOCKS, *CANNOT))

found_by = Answers(
    SEVERAL,
    "blocks.timed_out",
    "blocks.at_last",
    "blocks.lost",
    "blocks.restarted",
)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_call_that_blocks_is_parked_and_ended(name: Any) -> None:
    found = found_by[SEVERAL][name]
    assert found["said"] == "Stopped"
    assert found["steps"] == 5, "the hub must run while the call blocks"
    assert found["faults"] == 0


def test_a_call_in_an_action_without_slices_is_ended_by_its_time_out() -> None:
    for said, seconds in found_by["blocks.timed_out"]:
        assert said == "TimedOut 0.5"
        assert seconds < 0.5 + LATE


def test_a_call_that_was_interrupted_has_its_result() -> None:
    found = found_by["blocks.at_last"]
    assert found["said"] == "Returned 1"
    assert found["steps"] > 5


def test_calls_that_cannot_be_interrupted_run_to_their_end() -> None:
    """The list is in docs/reference/blocking-calls.md, "What cannot be interrupted, and what to write instead"."""
    for name in CANNOT:
        found = found_by[SEVERAL][name]
        assert found["said"] == ("Raised OperationalError" if name == "waits_for_sqlite" else "Returned None")
        assert found["seconds"] > 1.5, "the alarm must not use up the time that SQLite may wait"


def test_a_loss_ends_a_call_that_blocks() -> None:
    found = found_by["blocks.lost"]
    assert found["said"] == "Lost"
    assert found["seconds"] < 0.3 + LATE


def test_calls_are_interrupted_only_while_they_hold_up_the_hub() -> None:
    found = found_by["blocks.restarted"]
    assert found["in the hub"] == [False]
    assert not found["after"]


def test_a_call_that_outlasts_the_session_ends_the_process_with_a_line_and_a_note(tmp_path: Path) -> None:
    done = run("blocks.hopeless", f"{tmp_path}/notes", code=1)
    [line] = [line for line in done.stderr.splitlines() if "CRITICAL" in line]
    assert "[job/1 calls_system] the hub has not run for longer than the session lives (0.8 s)" in line
    assert 'by `os.system(f"sleep {SHORT:g}")`' in line
    assert "in calls_system\n" in done.stderr.partition(line)[2]
    assert (tmp_path / "notes" / "1").read_text().startswith('`os.system(f"sleep {SHORT:g}")`')


def test_a_process_that_was_stopped_while_it_waits_lives_on(tmp_path: Path) -> None:
    found = answer("blocks.frozen", f"{tmp_path}/notes")
    assert found["said"] == "Returned 0"
    assert found["seconds"] > 2, "it must have been stopped for longer than the limit"


def test_the_note_of_a_call_that_returns_is_forgotten(tmp_path: Path) -> None:
    found = answer("blocks.returns", f"{tmp_path}/notes")
    assert found["meanwhile"][0].startswith("`os.system(")
    assert found["after"] == ""
