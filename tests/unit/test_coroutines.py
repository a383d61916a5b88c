"""Coroutines of `async def` actions: they end, are sliced and are abandoned as greenlets are."""

from tests.support.watching.scenario import Answers

found_by = Answers(
    "coroutines.ends",
    "coroutines.swallows",
    "coroutines.blocks",
    "coroutines.hopeless",
    "coroutines.shared",
    "coroutines.debugged",
    "coroutines.sleepers 1000",
)


def test_each_end_of_a_coroutine_is_the_end_of_its_action() -> None:
    found = found_by["coroutines.ends"]
    assert found["by themselves"] == [
        "Returned {'a': [1]}",
        "Raised ValueError",
        "Raised SystemExit",
        "Raised CancelledError",
        "Returned None",
        "Returned None",
    ]
    assert found["timed"] == ["TimedOut 0.3"] * 4, "a wait, an error at the end, computing, a wait of the whole loop"
    assert found["stopped"] == ["Stopped"] * 3
    assert found["lost"] == ["Lost"] * 2
    assert found["before"] == ["Stopped"], "before its first step"
    assert found["after"] == ["Returned {'a': [1]}"], "the loop goes on"


def test_clean_up_may_wait_and_learns_the_reason() -> None:
    notes = found_by["coroutines.ends"]["notes"]
    assert notes[0] == "cancelled", "a task that was left behind is cancelled, and awaited"
    assert sorted(notes[1:]) == ["JobLost", "JobStopped", "Timeout", "cleaned up", "cleaned up", "cleaned up"]


def test_a_traceback_shows_the_line_of_the_coroutine() -> None:
    assert 'raise ValueError("no")' in found_by["coroutines.ends"]["trace"]
    assert "in live" not in found_by["coroutines.ends"]["trace"]


def test_a_coroutine_that_swallows_its_end_is_cancelled_again_and_abandoned() -> None:
    found = found_by["coroutines.swallows"]
    assert found["abandoned"] == ["TimedOut(seconds=0.2, note='')"]
    assert found["cancels"] == 3, "at once, and each second until it is abandoned after 2.5 s"
    assert found["beside"] == ["Returned None"]
    [line] = found["log"]
    assert line.startswith("the action 'swallows' swallows its end and is abandoned; it is at")
    assert "in swallows\n    await asyncio.sleep(60)" in line


def test_a_coroutine_that_holds_the_loop_is_named_and_holds_up_coroutines_only() -> None:
    found = found_by["coroutines.blocks"]
    for name in ("computes", "waits"):
        said, beside, waited, greenlets_ran = found["found"][name]
        assert (said, beside) == ("Returned None", "Returned None")
        assert waited, "the other coroutine had to wait"
        assert greenlets_ran
    computes, waits = found["log"]
    assert "held by job/computes (action 'computes'), at\n" in computes
    assert "in computes\n    spin(1)" in computes
    assert "held by job/waits (action 'waits'), at\n" in waits


def test_a_loop_that_is_held_for_good_gets_a_successor() -> None:
    found = found_by["coroutines.hopeless"]
    assert found["abandoned"] == ["[TimedOut(seconds=0.3, note='')]"] * 2
    assert found["after"] == ["Returned 7"]


def test_log_lines_threads_and_programs_of_a_coroutine() -> None:
    found = found_by["coroutines.shared"]
    seen = found["seen"]
    assert found["said"] == ["Returned None"] * 7
    assert seen["log"] == ["job/names_itself names_itself"] * 3
    assert seen["thread"] == "job/threads threads"
    assert seen["50 threads"], "each in a greenlet of its own"
    assert seen["loop in a thread"] is None
    assert seen["program"] == ["hello\n", 0]
    assert seen["address"]


def test_state_of_the_process_stays_with_coroutines() -> None:
    found = found_by["coroutines.shared"]
    assert found["seen"]["environment"] == ["1"]
    assert found["seen"]["outside"] == [None, None, None]
    assert found["nested"] == ["Returned(value=7)"], "asyncio.run of a greenlet goes on beside the loop"
    assert found["seen"]["alarm"] == "alarm() in an action"
    assert found["seen"]["fork"] == "a coroutine cannot fork"


def test_the_debug_mode_of_asyncio() -> None:
    assert found_by["coroutines.debugged"] == ["Returned True", "TimedOut 0.3"]


def test_a_thousand_sleep_at_once() -> None:
    found = found_by["coroutines.sleepers 1000"]
    assert found["said"] == ["Returned None"]
    assert found["seconds"] < 20
