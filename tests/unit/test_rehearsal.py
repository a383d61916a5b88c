"""`geventjob.testing`: an action runs as an executor would run it, and its job follows the server's rules."""

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from geventjob import Action, Backoff, GiveUp, JobLost, JobStopped, Retry, action
from geventjob.testing import Rehearsal, SteppedClock, run_action

SURE = Backoff(first=10, factor=3, jitter=0)


@action("copies", retries=3, backoff=SURE)
def copies(job: Any, rows: int, fails: int = 0) -> dict[str, int]:
    start = job.checkpoint or 0
    job.set_checkpoint(start + rows)
    if job.attempt <= fails:
        raise OSError("away")
    return {"rows": start + rows}


def test_a_job_succeeds_with_its_output() -> None:
    done = run_action(copies, {"rows": 3})
    assert (done.state, done.output, done.attempts, done.errors) == ("SUCCESS", {"rows": 3}, 1, [])
    assert (done.job["progress"], done.job["returnCode"]) == (100, 0)
    assert done.edits == [{"checkpoint": 3}]


def test_the_whole_life_has_all_retries_without_their_pauses() -> None:
    started = time.monotonic()
    done = run_action(copies, {"rows": 1, "fails": 2})
    assert time.monotonic() - started < 10 + 30
    assert (done.state, done.attempts, done.output, done.checkpoint) == ("SUCCESS", 3, {"rows": 3}, 3)
    assert [round(pause) for pause in done.pauses] == [10, 30]
    assert [(error["attempt"], error["type"]) for error in done.errors] == [(1, "OSError"), (2, "OSError")]
    assert done.job["retried"] == 2


def test_the_last_failure_is_final() -> None:
    done = run_action(copies, {"rows": 1, "fails": 9})
    assert (done.state, done.message, done.attempts) == ("FAILED", "OSError: away", 4)
    assert run_action(copies, {"rows": 1, "fails": 9}, retries=1).attempts == 2
    assert run_action(copies, {"rows": 1, "fails": 9}, max_retries=0).attempts == 1
    assert "raise OSError" in done.errors[-1]["traceback"]


def test_the_test_moves_the_clock() -> None:
    job = Rehearsal(copies, {"rows": 1, "fails": 1})
    assert (job.state, job.wait) == ("QUEUED", 0)
    assert job.run() is job
    assert (job.state, job.job["held"]["why"], job.job["held"]["detail"]) == ("QUEUED", "retry", "OSError: away")
    assert 9 < job.wait <= 10
    with pytest.raises(RuntimeError, match=r"waits for [\d.]+ s more: call clock.advance\(10\)"):
        job.run()
    job.clock.advance(10)
    assert job.run().state == "SUCCESS"
    with pytest.raises(RuntimeError, match="the job is SUCCESS"):
        job.run()
    with pytest.raises(ValueError, match="not back by 1 s"):
        SteppedClock().advance(-1)


def test_a_job_for_later_waits_and_may_expire() -> None:
    job = Rehearsal(copies, {"rows": 1}, notBefore="+2h", expires="+3h")
    assert job.job["held"]["why"] == "notBefore"
    assert 7190 < job.wait <= 7200
    assert job.finish().state == "SUCCESS"
    late = Rehearsal(copies, {"rows": 1}, notBefore="+2h", expires="+3h")
    late.clock.advance(3 * 3600 + 1)
    assert (late.run().state, late.message, late.attempts) == ("STOPPED", "expired", 0)
    assert run_action(copies, {"rows": 1, "fails": 1}, expires="+5s").attempts == 1, "its retry would be too late"


@pytest.mark.parametrize("wait", [time.sleep, gevent.sleep, lambda seconds: all(iter(lambda: True, None))])
def test_a_time_out_ends_code_that_waits_blocks_or_computes(wait: Callable[[float], Any]) -> None:
    @action("waits", timeout=0.2)
    def waits(job: Any) -> None:
        wait(600)

    done = run_action(waits)
    assert (done.state, done.message) == ("FAILED", "timed out after 0.2 s")
    assert done.errors[-1]["type"] == "Timeout"
    assert run_action(waits, timeout=0.3).message == "timed out after 0.3 s"


def test_a_time_out_is_tried_again_and_the_default_limit_counts() -> None:
    @action("waits", retries=1)
    def waits(job: Any) -> None:
        if job.attempt == 1:
            gevent.sleep(600)

    assert run_action(waits, action_timeout=0.2).job["retried"] == 1


@pytest.mark.parametrize(
    ("code", "state", "message"),
    [
        (lambda job: 3, "FAILED", "return code 3"),
        (lambda job: "text", "FAILED", "TypeError: the action returned str, expected an int, a dict, a list or None"),
        (lambda job: job.set_state("STOPPED"), "STOPPED", ""),
        (lambda job: job.set_output("x" * 70_000), "FAILED", "ValueError: output: expected at most 64 KB"),
        (lambda job: job.edit(name=3), "FAILED", "Invalid: resource does not satisfy defined schema: name"),
        (lambda job: job.client.search("job"), "FAILED", "RuntimeError: client.search: this action runs without a"),
        (lambda job: (_ for _ in ()).throw(GiveUp("no")), "FAILED", "GiveUp: no"),
        (lambda job: (_ for _ in ()).throw(SystemExit(0)), "FAILED", "SystemExit: 0"),
        (lambda job: (_ for _ in ()).throw(JobStopped()), "FAILED", "JobStopped"),
    ],
)
def test_an_end_means_what_it_means_in_an_executor(code: Callable[[Any], Any], state: str, message: str) -> None:
    @action("ends")
    def ends(job: Any) -> Any:
        return code(job)

    done = run_action(ends)
    assert (done.state, done.message[: len(message)]) == (state, message), done


def test_a_coroutine_runs_as_in_an_executor() -> None:
    @action("waits", timeout=0.3, retries=1, backoff=SURE)
    async def waits(job: Any, seconds: float) -> dict[str, int]:
        await job.aset_progress(50)
        await asyncio.sleep(seconds if job.attempt == 1 else 0)
        return {"attempt": job.attempt}

    assert run_action(waits, {"seconds": 0}).edits == [{"progress": 50}]
    late = run_action(waits, {"seconds": 600})
    assert (late.state, late.output, [error["type"] for error in late.errors]) == (
        "SUCCESS",
        {"attempt": 2},
        ["Timeout"],
    )
    assert run_action(waits, {"seconds": "x"}).message == "InvalidPayload: seconds: expected float, got str"


def test_an_exception_says_when_to_try_again() -> None:
    @action("busy")
    def busy(job: Any) -> None:
        if job.attempt < 3:
            raise Retry("busy", after=5)

    assert [round(pause) for pause in run_action(busy).pauses] == [5, 5]


def test_a_class_has_its_client_settings_and_job() -> None:
    @action("looks", aliases="look")
    class Looks(Action):
        def do_work(self, name: str) -> Any:
            found = self.job.client.found is self.executor.client.found
            return {"found": found, "name": name, "days": self.executor.settings.days, "to": self.job.targetResource}

    target = {"href": "site/1"}
    stubs = {"client": SimpleNamespace(found=object()), "settings": SimpleNamespace(days=3)}
    done = run_action(Looks, {"name": "n"}, targetResource=target, **stubs)
    assert done.output == {"found": True, "name": "n", "days": 3, "to": target}, done.errors


def test_a_stop_ends_the_action_where_it_waits() -> None:
    seen = []

    @action("waits", retries=3)
    def waits(job: Any) -> None:
        try:
            gevent.sleep(600)
        finally:
            seen.append("cleaned up")

    job = Rehearsal(waits)
    gevent.spawn_later(0.05, job.stop)
    assert (job.finish().state, job.attempts, seen) == ("STOPPED", 1, ["cleaned up"])
    job.stop()


def test_a_lost_job_is_begun_again_as_interrupted() -> None:
    seen = []

    @action("waits")
    def waits(job: Any) -> dict[str, Any]:
        job.set_checkpoint(job.attempt)
        if not job.interrupted:
            try:
                gevent.sleep(600)
            finally:
                with pytest.raises(JobLost):
                    job.set_progress(5)
                seen.append("cleaned up")
        return {"attempt": job.attempt, "checkpoint": job.checkpoint}

    job = Rehearsal(waits)
    gevent.spawn_later(0.05, job.lose)
    assert (job.run().state, job.attempts, job.checkpoint, seen) == ("QUEUED", 1, 1, ["cleaned up"])
    assert (job.finish().state, job.output) == ("SUCCESS", {"attempt": 2, "checkpoint": 2})
    assert (job.job["interruptions"], job.errors) == (0, []), "the action ended in good order"
    assert run_action(waits, interrupted=True, checkpoint=3).output == {"attempt": 2, "checkpoint": 2}


def test_what_is_no_job_or_no_action_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="priority: expected"):
        Rehearsal(copies, priority=-1)
    with pytest.raises(ValueError, match="checkpoint: expected at most 64 KB"):
        Rehearsal(copies, checkpoint="x" * 70_000)
    with pytest.raises(TypeError, match="expected a function or class with @action, or a name"):
        Rehearsal(lambda job: None)
    (tmp_path / "broken.py").write_text("import nonsense_of_nobody")
    with pytest.raises(LookupError, match=r"no action is named 'x' in .*; .*broken.py does not import: ModuleNotFound"):
        Rehearsal("x", actions_dir=tmp_path)
    assert run_action("dummy_test_action", {"seconds": 0}).state == "SUCCESS"


def test_a_thread_is_told_that_signals_do_not_arrive_there() -> None:
    errors = gevent.get_hub().threadpool.apply(lambda: [_error(run_action, copies, {"rows": 1})])
    assert errors == ["an action is rehearsed in the main thread alone, where signals arrive"]


def _error(call: Callable[..., Any], *args: Any) -> str:
    try:
        return f"no error: {call(*args)}"
    except RuntimeError as error:
        return str(error)


def test_a_test_keeps_its_time_limit() -> None:
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    try:
        signal.setitimer(signal.ITIMER_REAL, 600)
        run_action(copies, {"rows": 1})
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 600
        assert signal.getsignal(signal.SIGALRM) == signal.SIG_IGN
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
