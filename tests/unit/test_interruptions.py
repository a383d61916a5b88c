"""Interruptions of a job: attempts whose executor ended without a report."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from geventjob.server.jobs.lifecycle import Edit, Owner, edited
from geventjob.server.jobs.stops import stopped
from geventjob.server.life.changes import added
from geventjob.server.life.conflicts import Refusal
from geventjob.server.life.requeue import requeued

NOW = datetime(2024, 5, 1, 12, 0, 0, tzinfo=timezone.utc)
E1, E2 = "/job/entries/entry-999-0000000001", "/job/entries/entry-999-0000000002"
A, B, C, D = Owner(E1, 1, "a"), Owner(E1, 2, "b"), Owner(E1, 3, "a"), Owner(E1, 4, "d")
Document = dict[str, Any]


def new() -> Document:
    job = added({"action": "act"}, id="job/1", now=NOW, acl={})
    return {**job, "properties": {"zookeeper-path": E1}}


def write(job: Document, owner: Owner | None, state: str, most: int | None = None) -> Document:
    return edited(job, Edit({"state": state}, (), owner, None, most), now=NOW)


def begun(*owners: Owner, job: Document | None = None) -> Document:
    """Return a job that each of these executors has begun, one after the other, without an end."""
    job = job or new()
    for owner in owners:
        job = write(job, owner, "RUNNING")
    return job


def tell(job: Document, owner: Owner) -> Document:
    return write(job, owner, "QUEUED")


def counts(job: Document) -> tuple[str, int, int]:
    return job["state"], job["attempts"], job["interruptions"]


def reason(job: Document, owner: Owner | None, state: str, most: int | None = None) -> str:
    with pytest.raises(Refusal) as refused:
        write(job, owner, state, most)
    return refused.value.reason


# --- an executor that lives on reports an attempt that ended in good order


def test_told_before_the_next_attempt_nothing_is_counted() -> None:
    job = tell(begun(A), A)
    assert counts(job) == ("QUEUED", 1, 0)
    assert tell(job, A) is job
    assert counts(begun(B, job=job)) == ("RUNNING", 2, 0)


def test_told_after_the_next_attempt_began_the_count_goes_back_once() -> None:
    job = begun(A, B)
    assert counts(job) == ("RUNNING", 2, 1)
    job = tell(job, A)
    assert counts(job) == ("RUNNING", 2, 0)
    assert tell(job, A) is job
    assert job["interrupted"]
    assert write(job, B, "SUCCESS")["state"] == "SUCCESS", "the present owner goes on"


def test_each_attempt_is_forgiven_by_its_own_telling_in_any_order() -> None:
    job = begun(A, B, C, D)
    assert counts(job) == ("RUNNING", 4, 3)
    for owner, left in ((B, 2), (A, 1), (B, 1), (C, 0)):
        job = tell(job, owner)
        assert counts(job) == ("RUNNING", 4, left)


@pytest.mark.parametrize("stranger", [Owner(E1, 1, "b"), Owner(E2, 1, "a"), Owner(E1, 0, "a")])
def test_a_telling_of_no_attempt_of_the_job_changes_nothing(stranger: Owner) -> None:
    job = begun(A, B)
    assert reason(job, stranger, "QUEUED") in ("fence", "entry")


def test_only_the_latest_attempts_can_be_told_of() -> None:
    owners = [Owner(E1, fence, "a") for fence in range(1, 20)]
    job = begun(*owners)
    assert job["interruptions"] == 18
    assert reason(job, owners[0], "QUEUED") == "fence"
    assert tell(job, owners[2])["interruptions"] == 17


def test_a_job_that_was_given_up_stays_so() -> None:
    job = write(begun(A, B), B, "FAILED")
    assert reason(job, A, "QUEUED") == "final"
    assert not [name for name in job if name in ("_interrupted", "_left")]


def test_a_job_that_is_to_stop_is_not_queued_by_a_telling() -> None:
    job = stopped(begun(A), now=NOW)
    assert reason(job, A, "QUEUED") == "stopping"
    assert tell(stopped(begun(A, B), now=NOW), A)["interruptions"] == 0


def test_the_attempt_of_an_old_engine_is_counted_for_good() -> None:
    job = edited(begun(A), Edit({"state": "RUNNING"}), now=NOW, owner_gone=True)
    assert reason(job, A, "QUEUED") == "fence"
    job = begun(B, job=job)
    assert job["interruptions"] == 1
    assert reason(job, A, "QUEUED") == "fence"


# --- a job that is put into the queue anew while it is RUNNING


def test_told_of_a_job_that_was_put_anew() -> None:
    again = requeued(begun(A), E2, now=NOW)
    job = tell(again, A)
    assert counts(job) == ("QUEUED", 1, 0)
    assert counts(begun(Owner(E2, 1, "b"), job=job)) == ("RUNNING", 2, 0)
    job = begun(Owner(E2, 1, "b"), job=again)
    assert counts(job) == ("RUNNING", 2, 1)
    assert counts(tell(job, A)) == ("RUNNING", 2, 0)


def test_put_anew_twice_and_never_told() -> None:
    job = requeued(requeued(begun(A), E2, now=NOW), "/job/entries/entry-999-0000000003", now=NOW)
    assert counts(tell(job, A)) == ("QUEUED", 1, 0)


# --- a job that was interrupted too often


def test_within_the_most_interruptions_it_begins() -> None:
    assert counts(write(begun(A), B, "RUNNING", 1)) == ("RUNNING", 2, 1)


def test_beyond_them_it_waits_and_counts_no_attempt() -> None:
    job = write(begun(A, B), C, "RUNNING", 1)
    assert counts(job) == ("QUEUED", 2, 2)
    assert write(job, C, "RUNNING", 1) is job, "the same claim again, and the next claim"
    assert write(job, D, "RUNNING", 1) is job
    assert job["executor"] == "b", "the executor of the last attempt"
    assert reason(job, B, "SUCCESS") == "fence", "the old owner has lost the job"
    assert counts(write(job, C, "RUNNING")) == ("RUNNING", 3, 2)


def test_a_suspect_that_is_told_of_is_none_any_more() -> None:
    job = tell(write(begun(A, B), C, "RUNNING", 1), B)
    assert counts(job) == ("QUEUED", 2, 1)
    assert counts(write(job, C, "RUNNING", 1)) == ("RUNNING", 3, 1)


def test_it_waits_in_another_entry_if_its_own_is_gone() -> None:
    job = begun(A, B)
    edit = Edit({"state": "RUNNING"}, (), Owner(E2, 1, "c"), None, 1)
    job = edited(job, edit, now=NOW, other_entry_gone=True)
    assert counts(job) == ("QUEUED", 2, 2)
    assert job["properties"]["zookeeper-path"] == E2
    assert edited(job, edit, now=NOW) is job
    assert counts(write(job, Owner(E2, 1, "c"), "RUNNING")) == ("RUNNING", 3, 2)
    assert tell(job, B)["interruptions"] == 1


def test_what_ends_or_stops_it_goes_before() -> None:
    assert reason(stopped(begun(A, B), now=NOW), C, "RUNNING", 1) == "stopping"
    assert reason(write(begun(A, B), B, "SUCCESS"), C, "RUNNING", 1) == "final"
