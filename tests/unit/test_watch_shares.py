"""Time slices: the actions that run beside code that computes, and the points that are never interrupted."""

from tests.support.watching.scenario import Answers, answer, run

found_by = Answers(
    "shares.opted_out",
    "shares.ready",
    "shares.states_of_the_thread",
    "shares.frozen",
    "shares.frozen batch",
    "shares.forks",
    "shares.becomes_another",
)


def test_ten_actions_that_compute_beside_a_hundred_that_sleep() -> None:
    """For longer than the session may be silent: it is renewed by the same hub."""
    found = answer("shares.fair")
    assert found["endings"] == {"Returned": 10}, "none was lost"
    assert found["largest gap"] < 0.9, "lag and turn are 0.35 s"
    middle, largest = found["late"]
    assert middle < 0.3
    assert largest < 1.2
    assert found["share of the least"] > 0.2
    assert found["yields"] > 10


def test_a_slice_ends_as_soon_as_something_else_is_ready() -> None:
    found = found_by["shares.ready"]
    assert found == {"endings": {"Returned": 3}, "got": "hello\n", "yielded": True}


def test_an_action_may_opt_out_of_slices_but_not_of_time_outs() -> None:
    found = found_by["shares.opted_out"]
    assert found["yields"] == 0
    assert found["gap"] > 0.5
    assert found["gap of a child"] > 0.5
    said, seconds = found["timed out"]
    assert said == "TimedOut 0.4"
    assert seconds < 2
    assert found["the next"] >= 0.49, "its time begins with it, not when the hub last looked at the clock"


def test_nothing_that_belongs_to_the_thread_is_seen_half_done() -> None:
    found = found_by["shares.states_of_the_thread"]
    assert found["wrong"] == {}
    assert found["endings"] == {"Returned": 15}
    assert set(found["counts"]) == {"repr", "gc", "qsort", "sqlite", "cache"}
    assert found["yields"] > 5
    assert found["faults"] == 0


def test_without_the_guards_nothing_is_interrupted_and_the_log_says_so_once() -> None:
    done = run("shares.without_guards")
    assert done.stderr.count("are not interrupted") == 1
    assert '"TimedOut 0.6"' in done.stdout
    assert '"Returned' in done.stdout
    assert '"yields": 0, "raises": 0' in done.stdout


def test_a_process_that_was_stopped_past_its_lease_goes_on_with_nothing() -> None:
    found = found_by["shares.frozen"]
    assert found["over"]
    assert found["endings"] == {"Lost": 405}
    assert found["after"].get("computes", 0) == 0
    assert sum(found["after"].values()) <= 2, "the one that was about to run when the process was stopped"
    assert found["steps"] >= 300


def test_of_an_interrupted_batch_of_callbacks_only_the_rest_runs() -> None:
    found = found_by["shares.frozen batch"]
    assert found["endings"] == {"Lost": 505}
    assert sum(found["after"].values()) <= 102, "gevent runs a batch of callbacks to its end"


def test_fork_and_the_programs_of_an_action_have_no_timers() -> None:
    found = found_by["shares.forks"]
    assert found["fork"] == 0
    assert found["program"].startswith("(0.0, 0.0) (0.0, 0.0)")
    assert found["armed here"] == [True, True]
    assert found["closed"] == [0.0] * 4


def test_a_closed_watch_allows_exec() -> None:
    assert found_by["shares.becomes_another"] == "alive"
