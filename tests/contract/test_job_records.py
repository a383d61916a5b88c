"""The records of jobs over HTTP, over both stores; and the request for a stack, which goes to the owner alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.test_job_logs import Run, here, run  # noqa: F401  (fixtures)
from tests.support.callers import LocalServer, acl
from tests.support.job_server import good, problem

RECORD: dict[str, Any] = {
    "why": "timeout",
    "attempt": 1,
    "ran": 2.5,
    "hubHeld": 0.0,
    "session": "alive, lease for 6.0 s",
    "stack": "  File x, line 1\n",
}


def records(run: Run) -> list[dict[str, Any]]:  # noqa: F811
    found: list[dict[str, Any]] = good(run.admin.get(f"{run.id}/record"))["records"]
    return found


def test_a_record_comes_with_an_outcome_and_is_kept_once(run: Run) -> None:  # noqa: F811
    assert records(run) == []
    for _ in range(2):
        assert run.edit(1, {"state": "FAILED"}, 0, "last words\n", record=RECORD | {"progress": 40}) == 200
    [record] = records(run)
    assert record.pop("at") > "2026"
    assert record == {**RECORD, "progress": 40, "executor": "executor-1"}
    assert run.log() == [(1, 0, "last words\n")]
    assert "record" not in str(good(run.admin.get(run.id)).keys())


def test_a_late_record_of_a_lost_attempt_stands_before_that_of_the_next(run: Run) -> None:  # noqa: F811
    assert run.edit(2, {"state": "RUNNING"}) == 200
    assert run.edit(2, {}, record=RECORD | {"attempt": 2, "why": "asked", "request": "r"}) == 200
    assert run.edit(1, {}, record=RECORD) == 409, "an edit of the former owner"
    assert run.edit(1, {"state": "QUEUED"}, record=RECORD | {"why": "loss", "attempt": 7}) == 200, "a late report"
    assert [(each["attempt"], each["why"]) for each in records(run)] == [(2, "asked"), (2, "loss")]
    assert run.edit(1, {"state": "QUEUED"}, record=RECORD | {"why": "loss"}) == 200
    assert [each["attempt"] for each in records(run)] == [1, 2, 2]


def test_all_records_have_32_kb_at_most(run: Run) -> None:  # noqa: F811
    for number in range(5):
        big = {"stack": '"' * 30_000 + "end", "lines": "é" * 10_000, "ran": number}
        assert run.edit(1, {}, record=RECORD | big) == 200
    [record] = records(run)
    assert record["ran"] == 4
    assert record["stack"].endswith("end")
    assert len(good_text(run)) < 33_000


def good_text(run: Run) -> bytes:  # noqa: F811
    return bytes(run.admin.get(f"{run.id}/record").content)


def test_a_record_of_a_loss_is_kept_also_after_the_end(run: Run) -> None:  # noqa: F811
    assert run.edit(2, {"state": "RUNNING"}) == 200
    assert run.edit(2, {"state": "SUCCESS"}) == 200
    assert run.edit(1, {"state": "QUEUED"}, 0, "too late\n", record=RECORD | {"why": "loss"}) == 409
    assert run.edit(1, {"state": "QUEUED"}, record=RECORD | {"why": "stop"}) == 409
    assert [each["why"] for each in records(run)] == ["loss"]
    assert run.log() == []
    assert good(run.admin.get(run.id))["state"] == "SUCCESS"


def test_records_that_were_asked_for_make_room_first(run: Run) -> None:  # noqa: F811
    assert run.edit(2, {"state": "RUNNING"}) == 200
    assert run.edit(1, {"state": "QUEUED"}, record=RECORD | {"why": "loss"}) == 200
    for number in range(4):
        asked = {"why": "asked", "attempt": 2, "request": f"{number}", "stack": "x" * 12_000}
        assert run.edit(2, {}, record=RECORD | asked) == 200
    assert [each.get("request", each["why"]) for each in records(run)] == ["loss", "2", "3"]


@pytest.mark.parametrize("wrong", [{"why": "whim"}, {"ran": -1}, {"session": "x" * 201}, {"more": 1}])
def test_wrong_records_are_refused(run: Run, wrong: dict[str, Any]) -> None:  # noqa: F811
    assert run.edit(1, {}, record=RECORD | wrong) == 400
    (bare,) = run.admin.bulk("edit", edits=[{"id": run.id, "set": {}, "record": RECORD}])["results"]
    assert bare["status"] == 400


# --- stack


def test_the_stack_of_a_job_that_does_not_run_is_refused(here: LocalServer) -> None:  # noqa: F811
    waiting = Run(here)
    problem(here.admin.post(f"{waiting.id}/stack"), 409, "is QUEUED: no executor runs it")
    waiting.edit(1, {"state": "RUNNING"})
    problem(here.admin.post(f"{waiting.id}/stack"), 409, "no executor runs it")


def test_the_owner_gets_the_request(here: LocalServer) -> None:  # noqa: F811
    viewer = here.known("viewing")
    job = Run(here, acl=acl("viewing", "VIEW"), priority=1)
    coordination = here.coordination
    [claim] = [claim for claim in coordination.take(100, timeout=5) if claim.job == job.id]
    owner = {"entry": claim.entry, "fence": claim.fence, "executor": coordination.name}
    here.admin.bulk("edit", edits=[{"id": job.id, "set": {"state": "RUNNING"}, **owner}])
    assert viewer.post(f"{job.id}/stack").status_code == 403, "VIEW reads records, and asks for none"
    asked = good(here.admin.post(f"{job.id}/stack"))
    assert asked["executor"] == coordination.name
    here.admin.bulk(
        "edit", edits=[{"id": job.id, "set": {}, **owner, "record": {**RECORD, "request": asked["request"]}}]
    )
    assert good(viewer.get(f"{job.id}/record"))["records"][0]["request"] == asked["request"]
