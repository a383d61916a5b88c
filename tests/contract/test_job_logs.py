"""The logs of jobs over HTTP, over both stores: appended once, fenced, seen by those who see the job, gone with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from geventjob.job.types import LOG_BYTES
from geventjob.server.jobs.attached import Attachments
from geventjob.server.jobs.lifecycle import Edit, JobEdit, Owner
from geventjob.server.life.logs import LogReport
from geventjob.server.store.base import StoreAway
from tests.support.callers import STORES, LocalServer, acl, local_server
from tests.support.job_server import good

EMPTY: list[tuple[int, int, str]] = []


@pytest.fixture(scope="module", params=STORES)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with local_server(request.param, tmp_path_factory.mktemp("house")) as made:
        yield made


class Run:
    """A job, and the claims of its executors."""

    def __init__(self, here: LocalServer, **attributes: Any) -> None:
        self.admin = here.admin
        self.id = here.admin.add(**attributes)
        self.entry = good(self.admin.get(self.id))["properties"]["zookeeper-path"]

    def edit(self, fence: int, set: dict[str, Any], at: int | None = None, text: str = "", **more: Any) -> int:
        """Edit the job as the owner with this fence; return the status."""
        log = {} if at is None else {"log": {"at": at, "text": text}}
        owner = {"entry": self.entry, "fence": fence, "executor": f"executor-{fence}"}
        (result,) = self.admin.bulk("edit", edits=[{"id": self.id, "set": set, **owner, **log, **more}])["results"]
        return int(result["status"])

    def log(self) -> list[tuple[int, int, str]]:
        """Return attempt, start and text of each attempt."""
        attempts = good(self.admin.get(f"{self.id}/log"))["attempts"]
        assert all(each["executor"] == f"executor-{each['attempt']}" for each in attempts)
        return [(each["attempt"], each["start"], each["text"]) for each in attempts]


@pytest.fixture
def run(here: LocalServer) -> Run:
    made = Run(here)
    assert made.log() == EMPTY
    assert made.edit(1, {"state": "RUNNING"}) == 200
    return made


def test_lines_are_appended_once_and_change_nothing_of_the_job(run: Run) -> None:
    assert run.edit(1, {}, 0, "one\n") == 200
    before = good(run.admin.get(run.id))
    assert [run.edit(1, {}, 0, "one\ntwø\n"), run.edit(1, {}, 4, "twø\n")] == [200, 200]
    assert good(run.admin.get(run.id)) == before
    assert not any("log" in name or name.startswith("_") for name in before)
    assert run.edit(1, {"state": "SUCCESS"}, 9, "three\n") == 200
    assert run.edit(1, {"state": "SUCCESS"}, 9, "three\n") == 200
    assert run.log() == [(1, 0, "one\ntwø\nthree\n")]


def test_a_lost_owner_writes_nothing_behind_the_next(run: Run) -> None:
    assert run.edit(1, {}, 0, "first\n") == 200
    assert run.edit(2, {"state": "RUNNING"}) == 200
    assert run.edit(1, {}, 6, "late\n") == 409
    assert run.edit(2, {}, 0, "second\n") == 200
    assert run.edit(1, {}, 6, "late\n") == 409
    assert run.edit(1, {"state": "QUEUED"}, 6, "late report\n") == 200, "the attempt ended in good order"
    assert run.log() == [(1, 0, "first\n"), (2, 0, "second\n")]


def test_lines_come_with_a_failure_that_is_tried_again(run: Run) -> None:
    retry = {"failure": {"type": "OSError", "message": "no"}, "retry": {"after": 3600, "limit": 1}}
    assert run.edit(1, {"state": "FAILED"}, 0, "before the end\n", **retry) == 200
    assert good(run.admin.get(run.id))["held"]["why"] == "retry"
    assert run.log() == [(1, 0, "before the end\n")]


def test_lines_of_others_are_refused(run: Run) -> None:
    log = {"log": {"at": 0, "text": "x\n"}}
    (bare,) = run.admin.bulk("edit", edits=[{"id": run.id, "set": {}, **log}])["results"]
    assert bare["status"] == 400
    assert "log" in bare["message"]
    assert run.edit(1, {}, 0, "x" * (LOG_BYTES + 1)) == 400
    assert run.edit(1, {}, -1, "x") == 400
    assert run.edit(1, {"state": "SUCCESS"}) == 200
    assert run.edit(1, {}, 0, "after the end\n") == 409
    assert run.log() == EMPTY


def test_the_last_lines_are_kept(run: Run) -> None:
    line = "x" * 99 + "\n"
    for at in range(3):
        assert run.edit(1, {}, at * 50_000, line * 500) == 200
    [(_, start, text)] = run.log()
    assert text == line * (LOG_BYTES // 100)
    assert start == 150_000 - len(text)


def test_a_log_is_seen_by_those_who_see_the_job(here: LocalServer) -> None:
    reader, stranger = here.known("reader"), here.known("stranger")
    run = Run(here, acl=acl("reader", "VIEW"))
    run.edit(1, {"state": "RUNNING"}, 0, "private\n")
    assert "private" in reader.get(f"{run.id}/log").text
    assert stranger.get(f"{run.id}/log").status_code == 403
    assert here.admin.get(f"job/{uuid4()}/log").status_code == 404
    log = run.id.replace("job/", "log/")
    assert [here.admin.get(path).status_code for path in (log, "log")] == [405, 405], "no collection"


@pytest.mark.parametrize("way", ["single", "bulk"])
def test_a_log_is_deleted_with_its_job(here: LocalServer, way: str) -> None:
    run = Run(here, name=uuid4().hex)
    name = good(here.admin.get(run.id))["name"]
    run.edit(1, {"state": "RUNNING"}, 0, "gone\n")
    log = run.id.replace("job/", "log/")
    assert here.store.get([log]) != [None]
    if way == "single":
        good(here.admin.delete(run.id))
    else:
        assert here.admin.bulk("delete", filter=f"name='{name}'") == {"deleted": 1}
    assert here.store.get([log, run.id]) == [None, None]


def test_lines_that_come_after_the_deletion_of_their_job_leave_nothing(here: LocalServer) -> None:
    run = Run(here)
    run.edit(1, {"state": "RUNNING"})
    (job,) = here.store.get([run.id])
    assert job
    good(here.admin.delete(run.id))
    edit = Edit({}, owner=Owner(run.entry, 1, "executor-1"), log=LogReport(0, "late\n"))
    assert Attachments(here.store).keep([JobEdit(run.id, edit)], [job]) == [job]
    assert here.store.get([run.id.replace("job/", "log/")]) == [None]


class Full:
    """A store that takes no writes."""

    def write(self, items: object) -> None:
        raise StoreAway("full")


def test_a_store_that_takes_no_lines_refuses_edits_that_bring_nothing_else(run: Run) -> None:
    run.edit(1, {"state": "RUNNING"})
    job = good(run.admin.get(run.id))
    owner, log = Owner(run.entry, 1, "executor-1"), LogReport(0, "x\n")
    edits = [JobEdit(run.id, Edit(set, owner=owner, log=log)) for set in ({}, {"progress": 5})]
    lines, progress = Attachments(Full()).keep(edits, [job, job])  # type: ignore[arg-type]
    assert isinstance(lines, StoreAway)
    assert progress == job
