"""Walk two tables of the reference over HTTP, each cell, over both stores.

Requests: docs/reference/api.md, "Who may do what". Attributes: docs/reference/job.md, "Who may set and delete".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from geventjob.job.attributes import AT_EDIT, ATTRIBUTES
from tests.support.callers import PASSWORD, STORES, LocalServer, local_server
from tests.support.job_server import Caller, good

PAGES = Path(__file__).parents[2] / "docs" / "reference"
KEY = {"credentialTemplate": {"href": "credential-template/generate-api-key"}}
ROLES = {
    "stranger": "USER",
    "VIEW": "USER",
    "MODIFY": "USER",
    "owner": "USER",
    "SUBMITTER": "SUBMITTER USER",
    "VIEWER": "VIEWER USER",
    "EXECUTOR": "EXECUTOR USER",
    "ADMIN": "ADMIN USER",
}
"""Column of the first table → roles of the user who stands for it; `anonymous` has none."""
ACL = {
    "owner": {"principal": "owner", "type": "USER"},
    "rules": [{"principal": right.lower(), "type": "USER", "right": right} for right in ("VIEW", "MODIFY")],
}


def table(page: str, first: str) -> tuple[list[str], dict[str, list[str]]]:
    """Return the columns and the rows of the table on the page that begins with `first`."""
    lines = (PAGES / page).read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(first))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    head, _, *body = rows
    return head[1:], {label: cells for label, *cells in body}


class Callers(dict[str, Caller]):
    """The callers by the columns of the table, authenticated in one of three ways."""

    def __init__(self, here: LocalServer, way: str) -> None:
        super().__init__(anonymous=Caller(here.url))
        self.here = here
        self.way = way
        for name, roles in ROLES.items():
            known = here.known(name.lower(), roles)
            self[name] = known if way == "password" else self._by_key(here.key(known))

    def _by_key(self, key: tuple[str, str]) -> Caller:
        return self.here.by_key(key) if self.way == "key" else self.here.bearer(key)


@pytest.fixture(scope="module", params=STORES)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with local_server(request.param, tmp_path_factory.mktemp("house")) as made:
        yield made


# --- requests

MIRROR = {"action": "mirror"}


class Targets:
    """The targets of requests in the first table, new for each request that may change its target."""

    def __init__(self, here: LocalServer) -> None:
        self.admin = here.admin
        self.here = here
        self.bystander = here.known("bystander")

    def job(self) -> str:
        return self.admin.add(acl=ACL)

    def batch(self) -> str:
        return str(
            self.admin.post("job/batch", {"callback": {**MIRROR, "acl": ACL}, "open": True}).json()["resource-id"]
        )

    def user(self) -> str:
        """Return a user, who stays until a request deletes them, as hashing a password takes time."""
        if self.admin.get("user/doomed").status_code == 404:
            assert self.admin.post("user", {"username": "doomed", "password": PASSWORD}).status_code == 201
        return "user/doomed"

    def event(self) -> str:
        """Return an event of the audit; the first requests of a server have made some."""
        (event,) = self.admin.search("event", last=1)["events"]
        return str(event["id"])

    def key(self) -> str:
        return self.here.key(self.bystander)[0]

    def session(self, name: str = "bystander") -> str:
        """Return another session of this user; of a bystander for `anonymous`."""
        user = self.here.known("bystander" if name == "anonymous" else name.lower())
        caller = self.here.by_key(self.here.key(user))
        return str(good(caller.get("session"))["sessions"][0]["id"])

    def pause(self) -> str:
        return str(self.admin.post("pause", {"action": uuid4().hex}).json()["id"])

    def schedule(self) -> str:
        answer = self.admin.post("schedule", {**SCHEDULE, "name": uuid4().hex})
        return str(answer.json()["resource-id"])

    def limit(self) -> str:
        id = f"limit/{uuid4().hex}"
        assert self.admin.put(id, LIMIT).status_code == 200
        return id


def own(caller: Caller, name: str) -> str:
    return f"user/{name.lower()}"


NEW = {"action": "nothing"}
LIMIT = {"action": "nothing", "running": 1}
SCHEDULE = {"action": "nothing", "cron": "@daily"}
Request = Callable[[Caller, Targets, str], Any]
REQUESTS: dict[str, Request] = {
    "`POST /api/job` of an action in `[rights]`": lambda c, t, name: c.post("job", {"action": "report_x"}),
    "`POST /api/job` of another action": lambda c, t, name: c.post("job", NEW),
    "`POST /api/job/bulk-add`": lambda c, t, name: c.post("job/bulk-add", {"jobs": [NEW]}),
    "`POST /api/job/batch` of actions in `[rights]`": lambda c, t, name: c.post("job/batch", {"callback": MIRROR}),
    "`GET /api/job`": lambda c, t, name: c.get("job?$last=0"),
    "`GET /api/job/<uuid>`": lambda c, t, name: c.get(t.job()),
    "`GET /api/job/<uuid>/why`": lambda c, t, name: c.get(t.job() + "/why"),
    "`GET /api/job/<uuid>/log`": lambda c, t, name: c.get(t.job() + "/log"),
    "`GET /api/job/<uuid>/record`": lambda c, t, name: c.get(t.job() + "/record"),
    "`POST /api/job/<uuid>/stack` of a job that waits": lambda c, t, name: c.post(t.job() + "/stack"),
    "`PUT /api/job/<uuid>` with a `name`": lambda c, t, name: c.put(t.job(), {"name": "x"}),
    "`PUT /api/job/<uuid>?force=true`": lambda c, t, name: c.put(t.job() + "?force=true", {"name": "x"}),
    "`POST /api/job/<uuid>/stop`": lambda c, t, name: c.post(t.job() + "/stop"),
    "`POST /api/job/<uuid>/release`": lambda c, t, name: c.post(t.job() + "/release"),
    "`POST /api/job/<uuid>/close` of a batch": lambda c, t, name: c.post(t.batch() + "/close"),
    "`DELETE /api/job/<uuid>`": lambda c, t, name: c.delete(t.job()),
    "`GET /api/job/<uuid>` that does not exist": lambda c, t, name: c.get(f"job/{uuid4()}"),
    "`POST /api/job/bulk-edit`": lambda c, t, name: c.post("job/bulk-edit", {"edits": []}),
    "`POST /api/job/<uuid>/rerun` of a job that waits": lambda c, t, name: c.post(t.job() + "/rerun"),
    "`GET /api/job/<uuid>/event`": lambda c, t, name: c.get(t.job() + "/event"),
    "`POST /api/job/bulk-stop`, `POST /api/job/bulk-release`": lambda c, t, name: _same(
        *(c.post(f"job/bulk-{what}", {"filter": "name='nosuch'"}) for what in ("stop", "release"))
    ),
    "`POST /api/job/bulk-rerun`": lambda c, t, name: c.post(
        "job/bulk-rerun", {"filter": "name='nosuch'", "idempotencyKey": "k"}
    ),
    "`POST /api/job/bulk-delete`": lambda c, t, name: c.post("job/bulk-delete", {"filter": "name='nosuch'"}),
    "`POST /api/user`": lambda c, t, name: c.post("user", {"username": uuid4().hex, "password": PASSWORD}),
    "`GET /api/user`": lambda c, t, name: c.get("user?$last=0"),
    "`GET /api/user/<name>` of the caller": lambda c, t, name: c.get(own(c, name)),
    "`PUT /api/user/<name>` of the caller": lambda c, t, name: c.put(own(c, name), {"name": "x"}),
    "`PUT /api/user/<name>` with `roles` of the caller": lambda c, t, name: c.put(
        own(c, name), {"roles": ROLES.get(name, "USER")}
    ),
    "`GET /api/user/<name>` of another": lambda c, t, name: c.get("user/bystander"),
    "`PUT /api/user/<name>` of another": lambda c, t, name: c.put("user/bystander", {"name": "x"}),
    "`DELETE /api/user/<name>` of another": lambda c, t, name: c.delete(t.user()),
    "`POST /api/credential`": lambda c, t, name: c.post("credential", KEY),
    "`GET /api/credential/<uuid>` of another": lambda c, t, name: c.get(t.key()),
    "`DELETE /api/credential/<uuid>` of another": lambda c, t, name: c.delete(t.key()),
    "`GET /api/session`": lambda c, t, name: c.get("session"),
    "`GET /api/session?all=true`": lambda c, t, name: c.get("session?all=true"),
    "`DELETE /api/session/<uuid>` of the caller, not of the request": lambda c, t, name: c.delete(t.session(name)),
    "`GET /api/session/<uuid>` of another": lambda c, t, name: c.get(t.session()),
    "`DELETE /api/session/<uuid>` of another": lambda c, t, name: c.delete(t.session()),
    "`POST /api/pause`": lambda c, t, name: c.post("pause", {"action": uuid4().hex}),
    "`GET /api/pause`, `GET /api/pause/<action>`": lambda c, t, name: _same(c.get("pause"), c.get(t.pause())),
    "`DELETE /api/pause/<action>`": lambda c, t, name: c.delete(t.pause()),
    "`POST /api/schedule`": lambda c, t, name: c.post("schedule", {**SCHEDULE, "name": uuid4().hex}),
    "`GET /api/schedule`, `GET /api/schedule/<name>`": lambda c, t, name: _same(c.get("schedule"), c.get(t.schedule())),
    "`PUT /api/schedule/<name>`": lambda c, t, name: c.put(t.schedule(), {"priority": 5}),
    "`POST /api/schedule/<name>/pause`": lambda c, t, name: c.post(t.schedule() + "/pause", {}),
    "`POST /api/schedule/<name>/fire`": lambda c, t, name: c.post(t.schedule() + "/fire", {"idempotencyKey": "k"}),
    "`POST /api/schedule/bulk-fire`": lambda c, t, name: c.post("schedule/bulk-fire", {"ticks": []}),
    "`DELETE /api/schedule/<name>`": lambda c, t, name: c.delete(t.schedule()),
    "`PUT /api/limit/<name>`": lambda c, t, name: c.put("limit/" + uuid4().hex, LIMIT),
    "`GET /api/limit`, `GET /api/limit/<name>`": lambda c, t, name: _same(c.get("limit"), c.get(t.limit())),
    "`DELETE /api/limit/<name>`": lambda c, t, name: c.delete(t.limit()),
    "`POST /api/distributor/<name>/fire` that does not exist": lambda c, t, name: c.post(
        "distributor/nobody/fire", {"idempotencyKey": "k"}
    ),
    "`POST /api/executor/<name>/quiet` that does not live": lambda c, t, name: c.post("executor/nobody/quiet"),
    "`GET /api/node`, `GET /api/queue`, `GET /api/distributor`": lambda c, t, name: _same(
        c.get("node"), c.get("queue"), c.get("distributor")
    ),
    "`GET /api/event`, `GET /api/event/<uuid>`": lambda c, t, name: _same(c.get("event"), c.get(t.event())),
    "`GET /api/events`": lambda c, t, name: _closed(c.get("events", stream=True)),
    "`GET /api/rate`, `GET /api/attention`, `GET /api/failure`": lambda c, t, name: _same(
        c.get("rate"), c.get("attention"), c.get("failure")
    ),
    "`POST /api/queue/reconcile`": lambda c, t, name: c.post("queue/reconcile", {"dryRun": True}),
    "`GET /metrics` through a proxy": lambda c, t, name: c.get("/metrics", headers={"X-Forwarded-For": "10.0.0.1"}),
    "`GET /api/openapi.json`": lambda c, t, name: c.get("openapi.json"),
    "`GET /api/cloud-entry-point`, `GET /healthz`": lambda c, t, name: _same(
        c.get("cloud-entry-point"), c.get("/healthz")
    ),
}


def _closed(answer: Any) -> Any:
    answer.close()
    return answer


def _same(*answers: Any) -> Any:
    assert len({answer.status_code for answer in answers}) == 1
    return answers[0]


def test_the_table_has_a_row_for_each_request() -> None:
    columns, rows = table("api.md", "| request | anonymous |")
    assert columns == ["anonymous", *ROLES, "with an API key"]
    assert list(rows) == list(REQUESTS)


@pytest.mark.parametrize("way", ["password", "key", "bearer"])
def test_each_cell_of_requests(here: LocalServer, way: str) -> None:
    (*columns, _), rows = table("api.md", "| request | anonymous |")
    callers, targets = Callers(here, way), Targets(here)
    found = {
        label: [str(REQUESTS[label](callers[name], targets, name).status_code) for name in columns] for label in rows
    }
    assert found == {label: _expected(columns, cells, way) for label, cells in rows.items()}


def _expected(columns: list[str], cells: list[str], way: str) -> list[str]:
    *statuses, with_key = cells
    if way == "password" or with_key == "the same":
        return statuses
    if with_key == "403":
        return ["403"] * len(statuses)
    assert with_key == "403 without ADMIN"
    return [status if name == "ADMIN" else "403" for name, status in zip(columns, statuses, strict=True)]


# --- attributes


ELSEWHERE = ("acl", "idempotencyKey", "after", "unique")
"""Attributes with other values, or none, in the jobs of this test."""
FIRST: dict[str, Any] = {
    attribute.name: attribute.type.examples[0]
    for attribute in ATTRIBUTES
    if "add" in attribute.sent and attribute.name not in ELSEWHERE
}
"""The attributes of the jobs at their add."""
OTHER: dict[str, Any] = {attribute.name: attribute.type.examples[1] for attribute in ATTRIBUTES} | {
    "acl": {**ACL, "rules": [*ACL["rules"], {"principal": "other", "type": "USER", "right": "VIEW"}]}
}
"""The values that the callers try to set."""
RUNNERS, EDITORS = ("EXECUTOR", "ADMIN"), ("MODIFY", "owner")
OTHERS = ("anonymous", "stranger", "VIEW", "SUBMITTER", "VIEWER")
COLUMNS = {
    "add": ("add", ("SUBMITTER", "ADMIN")),
    "edit with MODIFY": ("edit", EDITORS),
    "edit by EXECUTOR, ADMIN": ("edit", RUNNERS),
    "delete with MODIFY": ("delete", EDITORS),
    "delete by EXECUTOR, ADMIN": ("delete", RUNNERS),
    "executor's write with MODIFY": ("write", EDITORS),
    "executor's write by EXECUTOR, ADMIN": ("write", RUNNERS),
}
"""Column of the second table → method of `Attributes`, and callers."""


class Attributes:
    """The effect of a request on an attribute: set, ignored, deleted, kept, or the status of a refusal."""

    def __init__(self, here: LocalServer) -> None:
        self.callers = Callers(here, "password")
        self.admin = here.admin
        self._jobs: list[dict[str, Any]] = []
        job = {"action": "noop", "acl": {**ACL, "rules": [{"principal": "USER", "type": "ROLE", "right": "VIEW"}]}}
        over = self.admin.post("job", job).json()["resource-id"]
        other = self.admin.post("job", job).json()["resource-id"]
        good(self.admin.post(f"{over}/stop"))
        self.first = {**FIRST, "acl": ACL, "parentJob": over, "after": {"jobs": [over], "whenFailed": "run"}}
        self.other = {**OTHER, "parentJob": other, "after": {"jobs": [over], "whenFailed": "stop"}}

    def job(self) -> dict[str, Any]:
        """Return another job with all of FIRST."""
        if not self._jobs:
            results = self.admin.bulk("add", jobs=[self._first() for _ in range(300)])["results"]
            assert {result["status"] for result in results} == {201}
            ids = {result["resource-id"] for result in results}
            jobs = self.admin.search(
                "job", filter=f"state='QUEUED' and name='{FIRST['name']}'", orderby="created:desc"
            )["jobs"]
            self._jobs = [job for job in jobs if job["id"] in ids]
        return self._jobs.pop()

    def _first(self) -> dict[str, Any]:
        return {**self.first, "unique": {"by": [f"payload.{uuid4().hex}"], "while": "active"}}

    def add(self, name: str, who: str) -> str:
        answer = self.callers[who].post("job", {"action": "report_x", name: self.other[name]})
        if answer.status_code != 201:
            return self._refused(answer.status_code, answer.json(), name)
        job = good(self.admin.get(answer.json()["resource-id"]))
        return "set" if has(job.get(name), self.other[name]) else "ignored"

    def edit(self, name: str, who: str) -> str:
        return self._edited(self.callers[who].put(self.job()["id"], {name: self.other[name]}), name)

    def delete(self, name: str, who: str) -> str:
        before = self.job()
        if name in AT_EDIT - before.keys():
            before = good(self.admin.put(before["id"], {name: self.other[name]}))
        answer = self.callers[who].put(f"{before['id']}?$select={name}", {})
        if answer.status_code != 200:
            return self._refused(answer.status_code, answer.json(), name)
        after = good(self.admin.get(before["id"]))
        if name == "properties":
            return "kept" if has(after.get(name), before[name]) else "deleted"
        return "deleted" if name in before and name not in after else "kept"

    def write(self, name: str, who: str) -> str:
        """Write as the executor that runs the job."""
        job = self.job()
        owner = {"entry": job["properties"]["zookeeper-path"], "fence": 1, "executor": "x"}
        (begun,) = self.admin.bulk("edit", edits=[{"id": job["id"], "set": {"state": "RUNNING"}, **owner}])["results"]
        assert begun["status"] == 200
        edits = [{"id": job["id"], "set": {name: self.other[name]}, **owner}]
        answer = self.callers[who].post("job/bulk-edit", {"edits": edits})
        result = answer.json()["results"][0] if answer.status_code == 200 else answer.json()
        if result["status"] != 200:
            return self._refused(result["status"], result, name)
        return "set" if has(result["job"].get(name), self.other[name]) else "ignored"

    def _edited(self, answer: Any, name: str) -> str:
        if answer.status_code != 200:
            return self._refused(answer.status_code, answer.json(), name)
        return "set" if has(answer.json().get(name), self.other[name]) else "ignored"

    def _refused(self, status: int, body: Any, name: str) -> str:
        assert body["message"] == "credentials required" or name in body["message"]
        return str(status)


def has(there: Any, value: Any) -> bool:
    """Return whether `there` is the value, or an object or a list that contains all of the value."""
    if isinstance(value, dict) and isinstance(there, dict):
        return all(has(there.get(name), part) for name, part in value.items())
    if isinstance(value, list) and isinstance(there, list):
        return all(part in there for part in value)
    return bool(there == value)


def named(label: str) -> list[str]:
    return re.findall("`([A-Za-z]+)`", label)


def test_the_table_has_each_attribute_of_a_job() -> None:
    columns, rows = table("job.md", "| attribute | add |")
    assert columns == list(COLUMNS)
    names = [name for label in rows for name in named(label)]
    assert sorted(names) == sorted(OTHER)


def test_each_cell_of_attributes(here: LocalServer) -> None:
    columns, rows = table("job.md", "| attribute | add |")
    attributes, wrong = Attributes(here), []
    for label, cells in rows.items():
        for name in named(label):
            for column, cell in zip(columns, cells, strict=True):
                what, who = COLUMNS[column]
                found = [getattr(attributes, what)(name, caller) for caller in who]
                if found != [cell] * len(found):
                    wrong.append(f"{name}: {column}: {cell} expected, {found} found")
    assert wrong == []


@pytest.mark.parametrize("what", ["edit", "delete", "write"])
def test_no_other_caller_edits_an_attribute(here: LocalServer, what: str) -> None:
    columns, rows = table("job.md", "| attribute | add |")
    place = columns.index("delete with MODIFY")
    for_no_caller = {name for label, cells in rows.items() for name in named(label) if cells[place] == "400"}
    attributes = Attributes(here)
    for who in OTHERS:
        found = {name: getattr(attributes, what)(name, who) for name in OTHER}
        for name, status in found.items():
            assert status == "403" or (status == "400" and what == "delete" and name in for_no_caller), (who, name)
