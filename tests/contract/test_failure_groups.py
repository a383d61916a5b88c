"""Failures in groups, over HTTP and both stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from geventjob.server.life.failures import kind_of_failure
from geventjob.server.store.watched import Written
from geventjob.server.watch import failure_groups
from geventjob.server.watch.failure_groups import FailureGroups
from tests.support.callers import STORES, LocalServer, local_server
from tests.support.job_server import good, problem

TRACEBACK = """Traceback (most recent call last):
  File "/srv/geventjob/executor/running.py", line 10, in run
  File "/srv/actions/fetch.py", line 17, in get
    requests.get(url)
  File "/srv/.venv/lib/python3.11/site-packages/requests/api.py", line 73, in get
ConnectionError: refused
"""


@pytest.fixture(scope="module", params=STORES)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with local_server(request.param, tmp_path_factory.mktemp("house")) as made:
        yield made


def fail(here: LocalServer, action: str, retry: bool = False, **failure: str) -> str:
    """Add a job and fail as its executor; with `retry` the job is held for another try."""
    id = here.admin.add(action=action)
    entry = good(here.admin.get(id))["properties"]["zookeeper-path"]
    owner = {"entry": entry, "fence": 1, "executor": "x"}
    report = {"type": "ConnectionError", "message": "refused", "traceback": TRACEBACK, **failure}
    end: dict[str, Any] = {"set": {"state": "FAILED", "statusMessage": report["message"]}, "failure": report}
    if retry:
        end["retry"] = {"after": 100, "limit": 3}
    for edit in ({"set": {"state": "RUNNING"}}, end):
        (result,) = here.admin.bulk("edit", edits=[{"id": id, **edit, **owner}])["results"]
        assert result["status"] == 200, result
    return id


def groups(here: LocalServer, action: str) -> list[dict[str, Any]]:
    return [group for group in good(here.admin.get("failure"))["failures"] if group["action"] == action]


def test_failures_of_one_kind_are_one_group(here: LocalServer) -> None:
    ids = [fail(here, "same", message=f"refused {n}") for n in range(3)]
    fail(here, "same", type="ValueError")
    other, group = groups(here, "same")
    assert other["type"] == "ValueError"
    assert (group["type"], group["place"], group["count"]) == ("ConnectionError", "actions/fetch.py:17 get", 3)
    assert (group["message"], group["job"]) == ("refused 2", ids[-1])
    assert sum(hour["count"] for hour in group["hours"]) == 3
    assert group["first"] <= group["last"]
    name = group["id"].removeprefix("failure/")
    found = here.admin.search("job", filter=f"failure='{name}' and state='FAILED'")["jobs"]
    assert {job["id"] for job in found} == set(ids)


def test_each_attempt_counts_once(here: LocalServer) -> None:
    id = fail(here, "tried", retry=True)
    assert good(here.admin.get(id))["state"] == "QUEUED"
    (group,) = groups(here, "tried")
    assert group["count"] == 1
    here.admin.put(id, {"name": "another write"})
    assert groups(here, "tried")[0]["count"] == 1


def test_a_failure_without_an_exception_has_a_group_too(here: LocalServer) -> None:
    id = here.admin.add(action="returned")
    assert here.admin.put(id, {"state": "FAILED", "returnCode": 3}).status_code == 200
    (group,) = groups(here, "returned")
    assert (group["type"], group["place"], group["job"]) == ("returnCode 3", "", id)


def test_counts_of_several_servers_add_up(here: LocalServer) -> None:
    job = good(here.admin.get(fail(here, "shared")))
    (group,) = groups(here, "shared")
    other = FailureGroups(here.store)
    other.note([Written({**job, "state": "RUNNING"}, job)] * 4)
    other.write()
    (more,) = groups(here, "shared")
    assert more["count"] == group["count"] + 4


def test_old_groups_are_forgotten(here: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(here, "old")
    assert groups(here, "old")
    monkeypatch.setattr(failure_groups, "KEPT", -failure_groups.KEPT)
    FailureGroups(here.store).forget()
    assert groups(here, "old") == []


def test_groups_between_two_writes_are_bounded(here: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure_groups, "MOST", 2)
    counted = FailureGroups(here.store)
    job = {"id": "job/1", "action": "bound", "state": "FAILED", "updated": "2026-01-01T00:00:00.000Z"}
    counted.note([Written(None, {**job, "failure": f"{n}"}) for n in range(5)])
    assert len(counted._seen) == 2


def test_the_number_of_groups_is_bounded(here: LocalServer) -> None:
    assert len(good(here.admin.get("failure?$last=1"))["failures"]) <= 1
    problem(here.admin.get("failure?$last=1001"), 400, "$last is 1001: 1000 at most")
    problem(here.admin.get("failure?$last=x"), 400, "$last")


@pytest.mark.parametrize(
    ("traceback", "place"),
    [
        (TRACEBACK, "actions/fetch.py:17 get"),
        ('  File "/usr/lib/python3.11/json/decoder.py", line 5, in decode\n', "json/decoder.py:5 decode"),
        ("", ""),
        ("nonsense", ""),
    ],
)
def test_the_place_of_a_failure(traceback: str, place: str) -> None:
    error = {"attempt": 1, "type": "E", "message": "m", "traceback": traceback}
    assert kind_of_failure({"action": "a", "attempts": 1, "errors": [error]}) == ("a", "E", place)
