"""A hub that is held up or never runs again, and the stacks on SIGUSR1."""

import signal
from pathlib import Path

from tests.support.watching.scenario import answer, run


def test_who_holds_up_the_hub_is_told_in_one_line() -> None:
    found = answer("hub.blocked")
    for name, place in (("computes", "spin"), ("calls_c", "calls_c"), ("sleeps_natively", "sleeps_natively")):
        (line,) = found[name]
        assert line.startswith("the hub did not run for ")
        assert f"(job/1 (action '{name}'" in line
        assert f"in {place}\n" in line
    assert "(0.0 s on the CPU)" in found["sleeps_natively"][0]
    (line,) = found["engine"]
    assert "(no job)" in line
    assert "in spin\n" in line
    (line,) = found["hub"]
    assert "held by Hub" in line
    assert [line for line in found["in_short"] + found["sliced"] if on_cpu(line) > 0.1] == []


def on_cpu(line: str) -> float:
    """Return the CPU seconds of a line. On a busy machine a process may wait for a CPU for longer than allowed."""
    return float(line.partition("(")[2].partition(" s on the CPU)")[0])


def test_c_code_that_never_comes_back_ends_the_process_with_its_stack(tmp_path: Path) -> None:
    done = run("hub.never_back", f"{tmp_path}/log", code=-signal.SIGPROF)
    assert done.stdout == "begun\n"
    assert "in hopeless\n" in (tmp_path / "log").read_text()


def test_a_process_that_was_stopped_or_works_lives_on(tmp_path: Path) -> None:
    assert answer("hub.survives", f"{tmp_path}/log") == {"alive": True, "written": ""}


def test_sigusr1_writes_every_stack_with_its_job(tmp_path: Path) -> None:
    found = answer("hub.dumps", f"{tmp_path}/log")
    live = {line.split(": ", 2)[1] + ": " + line.split(": ", 2)[2]: line for line in found["live"][1:-2]}
    stacks = "\n".join(live)
    assert found["live"][0] == "SIGUSR1: 8 greenlets, 2 threads"

    def header(inside: str) -> str:
        (stack,) = [line for line in live if f"in {inside}\n" in line]
        return str(stack.split("\n")[0])

    assert "job/0 (action 'waits_here', " in header("waits_here")
    assert "waits for its next time slice" in header("parked_here")
    assert "abandoned" in header("swallows_here")
    assert "job/2 (action 'starts', " in header("child_waits"), "a child has its job too"
    assert "greenlet Hub: no job" in stacks
    assert all(line.startswith("SIGUSR1: thread ") for line in found["live"][-2:]), "the main one, and the watch's"
    assert "in dumps\n" in found["raw"]
    lines, raw = found["blocked"]
    assert lines == 0, "the log waits for the hub"
    assert raw, "C code does not"
    assert "in dumps\n" in found["followed"], "the bare stacks follow the log when it is rotated"
    assert " threads\n" in found["dump"]
