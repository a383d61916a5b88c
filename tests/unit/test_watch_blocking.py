"""System calls that block: parked and ended like code that computes, where the kernel lets them be interrupted."""

import pytest

from tests.watching.scenario import Answers

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
CANNOT = ("calls_system 0.8 yes", "waits_for_sqlite 0.8 yes")

found_by = Answers(
    *(f"blocks.one {name}" for name in (*BLOCKS, "reads_at_last 10", "reads_a_pipe 0.8 no", *CANNOT)),
    "blocks.ended stop",
    "blocks.ended lose",
    "blocks.restarted",
)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_call_that_blocks_is_parked_and_ended_by_its_time_out(name):
    found = found_by[f"blocks.one {name}"]
    assert found["said"] == "TimedOut 0.8"
    assert 0.75 < found["seconds"] < 0.8 + LATE
    assert found["steps"] >= 3, "the hub must run while the call blocks"
    assert found["faults"] == 0


def test_a_call_that_was_interrupted_has_its_result():
    found = found_by["blocks.one reads_at_last 10"]
    assert found["said"] == "Returned 1"
    assert found["steps"] > 5


def test_a_call_in_an_action_without_slices_is_ended():
    found = found_by["blocks.one reads_a_pipe 0.8 no"]
    assert found["said"] == "TimedOut 0.8"
    assert found["seconds"] < 0.8 + LATE


def test_calls_that_cannot_be_interrupted_run_to_their_end():
    """As docs/reference/blocking-calls.md says of them."""
    assert found_by["blocks.one calls_system 0.8 yes"]["seconds"] > 2.9
    sqlite = found_by["blocks.one waits_for_sqlite 0.8 yes"]
    assert sqlite["said"] == "Raised OperationalError"
    assert sqlite["seconds"] > 2, "the alarm must not use up the time that SQLite may wait"


def test_a_stop_and_a_loss_end_a_call_that_blocks():
    for how, said in (("stop", "Stopped"), ("lose", "Lost")):
        found = found_by[f"blocks.ended {how}"]
        assert found["said"] == said
        assert found["seconds"] < 0.3 + LATE


def test_calls_are_interrupted_only_while_they_hold_up_the_hub():
    found = found_by["blocks.restarted"]
    assert found["in the hub"] == [False]
    assert not found["after"]
