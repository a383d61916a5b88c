"""Notices that need attention: each notice with facts that call for it, and with facts that do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from geventjob.server.watch.attention import Observed, notices
from geventjob.server.watch.fleet import ELECTIONS
from geventjob.server.watch.rates import new_counts, percentile

WELL = Observed(executors={"e": {"actions": ["x"]}}, leaders=dict.fromkeys(ELECTIONS, "s"))


def kinds(**observed: Any) -> list[str]:
    return [notice["kind"] for notice in notices(replace(WELL, **observed))]


def text(**observed: Any) -> str:
    (notice,) = notices(replace(WELL, **observed))
    assert notice["text"].endswith(".")
    return str(notice["text"])


def minutes(depths: Sequence[int | None] = (), failed: Sequence[tuple[int, int]] = ()) -> list[dict[str, Any]]:
    """Return minutes with these depths, or with so many of so many ended jobs of x failed."""
    found: list[dict[str, Any]] = [{"actions": {}} | ({} if one is None else {"depth": one}) for one in depths]
    for bad, ended in failed:
        found.append({"actions": {"x": new_counts() | {"failed": bad, "out": ended}}})
    return found


def test_all_is_well() -> None:
    assert notices(WELL) == []


def test_no_executor() -> None:
    assert text(executors={}, entries=1) == "No executor is alive; 1 job waits in the queue."
    assert text(executors={}, entries=12) == "No executor is alive; 12 jobs wait in the queue."


def test_an_action_that_nobody_has() -> None:
    told = "No executor has the action y; jobs wait for one since 2026-01-01T00:00:00.000Z."
    assert text(waiting={"y": "2026-01-01T00:00:00.000Z"}) == told


@pytest.mark.parametrize(
    ("depths", "grows"),
    [
        (range(0, 110, 10), True),
        ([5, *range(100, 111)], True),
        ([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 85], False),
        (range(11), True),
        ([0] * 5 + [9] * 6, False),
        ([0, 50, 100], False),
        ([None] * 8 + [0, 50, 100], False),
    ],
)
def test_a_queue_that_grows(depths: Sequence[int | None], grows: bool) -> None:
    assert kinds(minutes=minutes(depths)) == ["growing-queue"] * grows
    if grows:
        assert f"to {list(depths)[-1]} jobs" in text(minutes=minutes(depths))


@pytest.mark.parametrize("election", ELECTIONS)
def test_a_leader_is_missing(election: str) -> None:
    leaders = {name: "s" for name in ELECTIONS if name != election}
    assert text(leaders=leaders) == f"No server leads the election {election}."


def test_jobs_that_were_interrupted_more_than_once() -> None:
    one, other = {"id": "job/1", "interruptions": 3}, {"id": "job/2", "interruptions": 2}
    assert "The job job/1 was interrupted 3 times" in text(interrupted=[one])
    assert "2 jobs were interrupted more than once" in text(interrupted=[one, other])


@pytest.mark.parametrize(
    ("failed", "jumps"),
    [
        ([(0, 10)] * 50 + [(5, 10)] * 10, True),
        ([(0, 10)] * 50 + [(1, 10)] * 10, False),  # a tenth is not much
        ([(2, 10)] * 50 + [(5, 10)] * 10, False),  # not three times as much
        ([(0, 10)] * 50 + [(0, 0)] * 9 + [(4, 4)], False),  # too few to tell
        ([(0, 0)] * 59 + [(5, 5)], True),
    ],
)
def test_an_action_that_fails_far_more_often(failed: Sequence[tuple[int, int]], jumps: bool) -> None:
    assert kinds(minutes=minutes(failed=failed)) == ["failure-rate"] * jumps


def test_the_sentence_of_a_failure_rate() -> None:
    told = text(minutes=minutes(failed=[(1, 100)] * 50 + [(5, 10)] * 10))
    assert told == "50 of 100 jobs of x have failed in 10 minutes, 50 % instead of 1 %."


def test_the_store_takes_no_writes() -> None:
    assert text(store_trouble="the disk is full") == "Nothing can be stored: the disk is full."


def test_a_fleet_that_cannot_be_asked_tells_this_alone() -> None:
    assert notices(Observed(trouble="the queue is away")) == [
        {"kind": "out-of-reach", "text": "The fleet cannot be looked at: the queue is away."}
    ]


def test_the_worst_comes_first() -> None:
    assert kinds(executors={}, store_trouble="full", waiting={"y": ""})[:2] == ["read-only-store", "no-executor"]


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_percentiles_are_within_a_fifth(share: float) -> None:
    from geventjob.server.watch.rates import step_of

    durations = [n / 100 for n in range(1, 1001)]
    counts = new_counts()
    for seconds in durations:
        job = {"started": "2026-01-01T00:00:00.000Z", "updated": f"2026-01-01T00:00:{seconds:06.3f}Z"}
        step = str(step_of(job))
        counts["ms"][step] = counts["ms"].get(step, 0) + 1
    found = percentile(counts, share)
    assert found is not None
    assert abs(found / durations[int(share * 1000) - 1] - 1) < 0.2
    assert percentile(new_counts(), share) is None
