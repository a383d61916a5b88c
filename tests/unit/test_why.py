"""The sentence about a job that does not run: each case."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from geventjob.server.jobs.why import Facts, details, explained

NOW = datetime(2026, 4, 2, 12, 0, 0, tzinfo=timezone.utc)
ENTRY = {"zookeeper-path": "/job/entries/entry-999-0000000001"}
ONE = {"actions": ["copy", "report"], "slots": 10}


def job(state: str = "QUEUED", **attributes: Any) -> dict[str, Any]:
    return {"id": "job/1", "state": state, "action": "copy", "updated": "2026-04-02T11:00:00.000Z",
            "properties": ENTRY, **attributes}  # fmt: skip


def held(why: str, until: str, detail: str = "added to run at this time or later", **more: Any) -> dict[str, Any]:
    return job(held={"why": why, "until": until, "detail": detail}, **more)


@pytest.mark.parametrize(
    ("job", "facts", "words"),
    [
        (job("FAILED", statusMessage="OSError: away"), Facts(),
         "The job is FAILED since 2026-04-02T11:00:00.000Z: OSError: away."),
        (job("SUCCESS", started="2026-04-02T10:00:00.000Z", duration=90), Facts(),
         "The job is SUCCESS since 2026-04-02T10:01:30.000Z."),
        (held("notBefore", "2026-04-04T13:00:00.000Z"), Facts(),
         "waits until 2026-04-04T13:00:00.000Z, 2 d 1 h from now"),
        (held("retry", "2026-04-02T12:02:30.000Z", "OSError: away", attempts=2), Facts(),
         "2 min from now: run 2 failed (OSError: away), and the job is tried again."),
        (held("retry", "2026-04-02T11:59:59.000Z"), Facts(promoter="one"), "the server one puts it into the queue"),
        (held("retry", "2026-04-02T11:59:59.000Z"), Facts(), "no server leads the election promoter"),
        (held("retry", "2026-04-02T11:59:59.000Z"), Facts(trouble="no session"),
         "the queue is out of reach: no session"),
        (job(), Facts(trouble="no session"), "The job is QUEUED, and the queue is out of reach: no session."),
        (job(), Facts(), "has no entry in the queue"),
        (job(), Facts(ahead=0), "No executor is connected; the job is the first in the queue."),
        (job(), Facts(ahead=3, executors={"one": {"actions": ["report"]}}),
         "No executor has the action copy; they have report."),
        (job(), Facts(ahead=1, executors={"one": {**ONE, "away": "401 refused"}}),
         "No executor with the action reaches the server: one (401 refused)."),
        (job(), Facts(ahead=1, executors={"one": {**ONE, "quiet": {"state": "quiet", "why": "super"}}}),
         "Each executor with the action takes no more jobs: one (super)."),
        (job(), Facts(ahead=1, executors={"one": {**ONE, "quiet": {"why": "super"}}, "two": {**ONE, "away": "401"}}),
         "No executor with the action reaches the server: two (401)."),
        (job(), Facts(ahead=1, executors={"one": ONE, "two": {"actions": []}}, running={"one": 10}),
         "All 10 slots of the executors with the action are taken; 1 job is before it in the queue."),
        (job(), Facts(ahead=7, executors={"one": ONE}, running={"one": 9}),
         "An executor takes the job in a moment; 7 jobs are before it in the queue."),
        (job(interruptions=2), Facts(ahead=0, holder="one", executors={"one": ONE}),
         "one has taken the job and has not begun it: it was interrupted 2 times"),
        (job(), Facts(ahead=0, holder="one", executors={"one": {**ONE, "away": "401 refused"}}),
         "one has taken the job and cannot reach the server: 401 refused."),
        (job("RUNNING", executor="one", attempts=2, started="2026-04-02T10:00:00.000Z"),
         Facts(ahead=0, holder="one", executors={"one": ONE}),
         "The job runs on one, attempt 2, since 2026-04-02T10:00:00.000Z, which has written nothing for 1 h 0 min."),
        (job("STOPPING", executor="one", started="x", updated="2026-04-02T11:59:30.000Z"),
         Facts(ahead=0, holder="one", executors={"one": ONE}),
         "The job is being stopped on one, attempt 1, since x, which has written nothing for 30 s."),
        (job("RUNNING", executor="one"), Facts(ahead=0, holder="one"), "is connected no more"),
        (job("RUNNING", executor="one"), Facts(ahead=0, executors={"one": ONE}), "has lost the job"),
        (job("RUNNING", started="x"), Facts(ahead=0, holder="other"), "an executor of another engine"),
    ],
)  # fmt: skip
def test_each_case(job: dict[str, Any], facts: Facts, words: str) -> None:
    sentence = explained(job, facts, NOW)
    assert words in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_many_actions_are_not_all_named() -> None:
    facts = Facts(ahead=0, executors={"one": {"actions": [f"a{n:02}" for n in range(50)]}})
    assert explained(job(), facts, NOW).endswith("a19 and 30 more.")


def test_only_callers_who_see_everything_are_given_counts_and_executors() -> None:
    facts = Facts(ahead=2, holder=None, executors={"one": ONE, "two": {"actions": [], "away": "x"}}, running={"one": 3})
    assert details(job(), facts, whole=False) == {}
    assert explained(job(), replace(facts, others=False), NOW).endswith("moment; the jobs before it come first.")
    assert details(job(), facts, whole=True)["executors"] == [
        {"name": "one", "hasAction": True, "running": 3, "slots": 10},
        {"name": "two", "hasAction": False, "running": 0, "slots": None, "away": "x"},
    ]
