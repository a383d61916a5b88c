"""Retries: the pauses of a backoff, the rule of an action, and what the server keeps of a failure."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventjob import Backoff, Retry, action
from geventjob.clock import cimi_time
from geventjob.executor.job import Job
from geventjob.plugins.retries import RetryPolicy
from geventjob.server.gate.gate import promoted
from geventjob.server.jobs.lifecycle import Edit, Owner, edited
from geventjob.server.jobs.stops import stopped
from geventjob.server.life.changes import entry_of
from geventjob.server.life.conflicts import Refusal
from geventjob.server.life.failures import ERROR_BYTES, KEPT_ERRORS, FailureReport, RetryWish, note

NOW = datetime(2026, 4, 2, 8, 15, 30, tzinfo=timezone.utc)
OWNER = Owner("/job/entries/entry-999-0000000001", 7, "one")
FAILURE = FailureReport("OSError", "OSError: away", "Traceback: ...")


# --- backoff


@given(
    first=st.floats(0, 1e9), factor=st.floats(1, 1e9), longest=st.floats(0, 1e9), jitter=st.floats(0, 1),
    retried=st.integers(0, 100),
)  # fmt: skip
def test_a_pause_is_within_its_bounds(first: float, factor: float, longest: float, jitter: float, retried: int) -> None:
    pause = Backoff(first, factor, longest, jitter).pause(retried)
    assert 0 <= pause <= longest
    assert pause >= min(first, longest) * (1 - jitter) * 0.999999


def test_pauses_grow_by_the_factor_up_to_the_longest() -> None:
    backoff = Backoff(first=1, factor=3, longest=20, jitter=0)
    assert [backoff.pause(n) for n in range(5)] == [1, 3, 9, 20, 20]


@pytest.mark.parametrize(
    ("name", "value"),
    [("first", -1), ("first", "1"), ("factor", 0.5), ("longest", -1), ("jitter", 1.5), ("jitter", float("nan"))],
)
def test_a_backoff_without_pauses_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} of a backoff"):
        Backoff(**{name: value})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"retries": -1}, "retries is a number from 0 to 100"),
        ({"retries": 101}, "retries is a number from 0 to 100"),
        ({"retries": True}, "retries is a number from 0 to 100"),
        ({"backoff": 3}, "backoff is a geventjob.Backoff"),
        ({"retry_on": "OSError"}, "retry_on has classes of exceptions"),
        ({"give_up_on": (OSError, 3)}, "give_up_on has classes of exceptions"),
    ],
)
def test_a_rule_that_is_none_is_refused_by_the_decorator(options: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        action("x", **options)


@pytest.mark.parametrize("after", [-1, "3", float("nan"), True])
def test_a_retry_after_no_time_is_refused(after: Any) -> None:
    with pytest.raises(ValueError, match="after is seconds from 0"):
        Retry("busy", after=after)


def test_the_rule_stands_at_the_action() -> None:
    @action("x", retries=5, backoff=Backoff(first=2), retry_on=OSError, give_up_on=(FileNotFoundError,))
    def x(job: Any) -> None: ...

    assert x.__geventjob_action__.retry == RetryPolicy(5, Backoff(first=2), (OSError,), (FileNotFoundError,))  # type: ignore[attr-defined]


# --- what the action leaves behind


def job_of(**attributes: Any) -> tuple[Job, list[dict[str, Any]]]:
    """Return a job, and the list of its edits."""
    edits: list[dict[str, Any]] = []

    def write(edit: dict[str, Any]) -> dict[str, Any]:
        edits.append(edit)
        return {"id": "job/1", **attributes, **edit}

    return Job({"id": "job/1", **attributes}, write, None), edits  # type: ignore[arg-type]


def test_a_checkpoint_and_an_output_are_saved_as_plain_json() -> None:
    job, edits = job_of()
    assert job.checkpoint is None
    job.set_checkpoint({"row": 7, "at": (1, 2)})
    assert job.checkpoint == {"row": 7, "at": [1, 2]}
    job.set_output([1.5, "x"])
    assert edits == [{"checkpoint": {"row": 7, "at": [1, 2]}}, {"output": [1.5, "x"]}]
    with pytest.raises(AttributeError, match=r"job.set_output"):
        job.output = 3


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "None is no value"),
        (float("nan"), "expected JSON"),
        (object(), "expected JSON"),
        ({"x": {1: object()}}, "expected JSON"),
        ("x" * 65_535, "expected at most 64 KB of JSON, not 65,537 bytes"),
    ],
)
def test_what_is_no_json_or_too_large_is_refused_by_name(value: Any, words: str) -> None:
    job, edits = job_of()
    for name in ("output", "checkpoint"):
        with pytest.raises(ValueError, match=f"{name}: {words}"):
            getattr(job, f"set_{name}")(value)
    assert edits == []


# --- the server's part


def running(**attributes: Any) -> dict[str, Any]:
    """Return a job that OWNER runs."""
    return {
        "id": "job/1",
        "state": "RUNNING",
        "action": "a",
        "created": cimi_time(NOW),
        "attempts": 1,
        "fence": OWNER.fence,
        "executor": OWNER.executor,
        "properties": {"zookeeper-path": OWNER.entry},
        "_owned": True,
        **attributes,
    }


def failed(job: dict[str, Any], limit: int = 2, max_retries: int = 25, after: float = 60) -> dict[str, Any]:
    """Return the job after the owner's failure."""
    set = {"state": "FAILED", "statusMessage": FAILURE.message}
    edit = Edit(set, owner=OWNER, failure=FAILURE, retry=RetryWish(after, limit))
    return edited(job, edit, now=NOW, max_retries=max_retries)


def test_a_failure_with_retries_left_waits_without_an_entry() -> None:
    job = failed(running(returnCode=3))
    until = cimi_time(NOW + timedelta(seconds=60))
    assert (job["state"], job["retried"]) == ("QUEUED", 1)
    assert job["held"] == {"why": "retry", "until": until, "detail": FAILURE.message}
    assert entry_of(job) is None
    assert job["errors"] == [
        {"at": cimi_time(NOW), "attempt": 1, "executor": "one", "type": "OSError", "message": "OSError: away",
         "traceback": "Traceback: ..."}
    ]  # fmt: skip
    assert not {"fence", "_owned", "returnCode"} & job.keys()


@pytest.mark.parametrize(
    ("job", "limit", "most", "state"),
    [
        (running(), 0, 25, "FAILED"),
        (running(), 1, 25, "QUEUED"),
        (running(retried=1), 1, 25, "FAILED"),
        (running(retries=3, retried=2), 0, 25, "QUEUED"),
        (running(retries=0), 9, 25, "FAILED"),
        (running(retries=9, retried=2), 9, 2, "FAILED"),
        (running(expires=cimi_time(NOW + timedelta(seconds=59))), 9, 25, "FAILED"),
        (running(expires=cimi_time(NOW + timedelta(seconds=61))), 9, 25, "QUEUED"),
        (running(state="STOPPING"), 9, 25, "FAILED"),
    ],
)
def test_a_failure_is_final_when_no_retry_is_left(job: dict[str, Any], limit: int, most: int, state: str) -> None:
    after = failed(job, limit, most)
    assert (after["state"], len(after["errors"])) == (state, 1)
    assert ("held" in after) == (state == "QUEUED")


def test_a_repeated_failure_counts_once() -> None:
    """The answer to the first write was lost, and the executor consumes the entry after the refusal."""
    once = failed(running())
    with pytest.raises(Refusal) as refusal:
        failed(once)
    assert refusal.value.reason == "entry"
    end = failed(running(), 0)
    assert failed(end, 0) is end


def test_no_late_write_of_the_failed_attempt_lands() -> None:
    job = failed(running())
    for change in ({"progress": 50}, {"state": "SUCCESS"}, {"state": "RUNNING"}, {"state": "QUEUED"}):
        with pytest.raises(Refusal):
            edited(job, Edit(change, owner=OWNER), now=NOW + timedelta(hours=1))


def test_the_next_attempt_is_no_interruption() -> None:
    later = NOW + timedelta(seconds=60)
    job = promoted(failed(running()), "/job/entries/entry-999-0000000002", later)
    begun = edited(
        job, Edit({"state": "RUNNING"}, owner=Owner("/job/entries/entry-999-0000000002", 1, "two")), now=later
    )
    assert (begun["state"], begun["attempts"], begun["interrupted"]) == ("RUNNING", 2, False)
    assert begun.get("interruptions", 0) == 0
    assert "held" not in begun
    assert not {"statusMessage", "timeOfStatusChange"} & begun.keys(), "the message is that of the failure"
    assert len(begun["errors"]) == 1


def test_a_stop_ends_the_wait() -> None:
    job = stopped(failed(running()), now=NOW)
    assert job["state"] == "STOPPED"
    assert "held" not in job
    assert not any(name.startswith("_last") for name in job)


def test_the_last_errors_are_kept() -> None:
    job = running()
    for attempt in range(1, 15):
        job["attempts"] = attempt
        note(job, FAILURE, "one", NOW)
    assert [error["attempt"] for error in job["errors"]] == list(range(15 - KEPT_ERRORS, 15))


@given(st.text(), st.text(max_size=20_000))
def test_an_error_has_8_kb_at_most(message: str, traceback: str) -> None:
    job = running()
    note(job, FailureReport("E" * 200, message * 5, traceback * 2), "e" * 255, NOW)
    (error,) = job["errors"]
    assert len(msgspec.json.encode(error)) <= ERROR_BYTES
    assert (traceback * 2).endswith(error["traceback"])
