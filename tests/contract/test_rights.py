"""Rights over HTTP, with real log-ins, over both stores (docs/reference/api.md, "Rights")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.support.callers import STORES, LocalServer, acl, comparable, local_server
from tests.support.job_server import Caller, good, problem

METHODS = {
    "job": ("GET", "PUT", "DELETE", "POST stop"),
    "user": ("GET", "PUT", "DELETE"),
    "session": ("GET", "DELETE"),
    "credential": ("GET", "DELETE"),
    "schedule": ("GET", "PUT", "DELETE", "POST pause"),
    "pause": ("GET", "DELETE"),
}


@pytest.fixture(scope="module", params=STORES)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """Start one server of each kind for all tests, which use names of their own."""
    with local_server(request.param, tmp_path_factory.mktemp("house")) as made:
        yield made


def ask(caller: Caller, method: str, id: str) -> Any:
    verb, _, operation = method.partition(" ")
    body = {"description": "x"} if verb == "PUT" else None
    return caller(verb, f"{id}/{operation}" if operation else id, json=body)


def a_schedule(here: LocalServer) -> str:
    body = {"name": uuid4().hex, "action": "nothing", "cron": "@daily"}
    return str(here.admin.post("schedule", body).json()["resource-id"])


@pytest.mark.parametrize(("kind", "method"), [(kind, method) for kind in METHODS for method in METHODS[kind]])
def test_a_stranger_cannot_tell_which_ids_exist(here: LocalServer, kind: str, method: str) -> None:
    owner, stranger = here.known("owner"), here.known("stranger")
    strangers = (stranger, here.by_key(here.key(stranger)), Caller(here.url))
    session = good(owner.get("session"))["sessions"][0]
    found = {
        "job": here.admin.add(acl=acl(session["username"], "ALL")),
        "user": f"user/{session['username']}",
        "session": session["id"],
        "credential": here.key(owner)[0],
        "schedule": a_schedule(here),
        "pause": here.admin.post("pause", {"action": uuid4().hex}).json()["id"],
    }[kind]
    missing = f"{kind}/{uuid4()}"
    for caller in strangers:
        assert comparable(ask(caller, method, found), found) == comparable(ask(caller, method, missing), missing)
        assert problem(ask(caller, method, found), 403) == {"status": 403, "message": "credentials required"}
    good(here.admin.get(found))
    problem(ask(here.admin, method, missing), 404, missing)


def test_a_bulk_edit_does_not_tell_strangers_which_ids_exist(here: LocalServer) -> None:
    stranger = here.known("stranger")
    ids = [here.admin.add(), f"job/{uuid4()}"]
    owner = {"entry": "/job/entries/entry-999-0000000001", "fence": 1, "executor": "x"}
    edits = [{"id": id, "set": {"name": "x"}, **more} for id in ids for more in ({}, owner)]
    results = stranger.bulk("edit", edits=edits)["results"]
    assert results == [{"status": 403, "message": "credentials required"}] * 4
    assert [result["status"] for result in here.admin.bulk("edit", edits=edits)["results"]] == [200, 409, 404, 404]


# --- the action and its input


EDITS: dict[str, Any] = {
    "action": "cleanup_jobs",
    "payload": {"days": 0},
    "timeout": 5,
    "targetResource": {"href": "job/other"},
    "parentJob": f"job/{uuid4()}",
    "priority": 1,
    "state": "SUCCESS",
}


@pytest.mark.parametrize("name", EDITS)
def test_the_right_to_edit_a_job_does_not_cover_what_runs(here: LocalServer, name: str) -> None:
    user, editor = "editor", here.known("editor")
    owned = {"owner": {"principal": user, "type": "USER"}}
    full = {"payload": {}, "timeout": 60.0, "targetResource": {"href": "job"}, "parentJob": f"job/{uuid4()}"}
    for rights in (acl(user, "MODIFY"), acl(user, "ALL"), owned):
        id = here.admin.add(acl=rights, **full)
        before = good(editor.get(id))
        problem(editor.put(id, {name: EDITS[name]}), 403, name)
        problem(editor.put(id, {"name": "x", name: EDITS[name]}), 403, name)
        if name in full:
            problem(editor.put(id + f"?$select={name}", {}), 403, name)
        (result,) = editor.bulk("edit", edits=[{"id": id, "set": {name: EDITS[name]}}])["results"]
        assert (result["status"], name in result["message"]) == (403, True)
        assert good(editor.get(id)) == before
        good(editor.put(id, {"name": "x", "description": "y", "tags": ["z"], "properties": {"a": "b"}, "acl": rights}))
        assert good(here.admin.put(id, {name: EDITS[name]}))[name] == EDITS[name]


def test_the_whole_document_may_be_sent_back(here: LocalServer) -> None:
    user, editor = "editor", here.known("editor")
    id = here.admin.add(acl=acl(user, "MODIFY"), payload={"a": 1}, timeout=5, targetResource={"href": "job"})
    owner = {"entry": good(editor.get(id))["properties"]["zookeeper-path"], "fence": 1, "executor": "x"}
    here.admin.bulk("edit", edits=[{"id": id, "set": {"state": "RUNNING"}, **owner}])
    after = good(editor.put(id, {**good(editor.get(id)), "name": "renamed"}))
    assert (after["name"], after["state"], after["payload"]) == ("renamed", "RUNNING", {"a": 1})
    (result,) = here.admin.bulk("edit", edits=[{"id": id, "set": {"state": "SUCCESS"}, **owner}])["results"]
    assert result["status"] == 200


# --- submitters, viewers and keys


def new(**more: Any) -> dict[str, Any]:
    return {"action": "report_daily", **more}


def test_a_submitter_adds_jobs_of_the_actions_in_the_ini(here: LocalServer) -> None:
    submitter = here.known("submitter", "SUBMITTER USER")
    other = here.known("unnamed", "SUBMITTER USER")  # `*` in the ini
    assert submitter.post("job", new()).status_code == 201
    assert other.post("job", {"action": "nothing"}).status_code == 201
    problem(other.post("job", new()), 403, "report_daily", "unnamed")
    for action in ("nothing", "my_report_x", "Report_x", "cleanup_jobs"):
        problem(submitter.post("job", {"action": action}), 403, action, "[rights]")
    items = [new(), {"action": "cleanup_jobs"}, {"action": 3}, {"action": "mirror"}]
    assert [result["status"] for result in submitter.bulk("add", jobs=items)["results"]] == [201, 403, 400, 201]
    assert {action["rel"] for action in submitter.search("job", last=0)["operations"]} == {
        "add",
        "bulk-add",
        "bulk-edit",
        "bulk-stop",
        "bulk-release",
        "bulk-rerun",
        "batch",
    }


def test_a_submitter_sees_their_own_jobs(here: LocalServer) -> None:
    submitter = here.known("submitter", "SUBMITTER USER")
    other = here.known("unnamed", "SUBMITTER USER")
    id = submitter.post("job", new(description=uuid4().hex)).json()["resource-id"]
    hidden = here.admin.add()
    assert good(submitter.get(id))["acl"]["owner"] == {"principal": "submitter", "type": "USER"}
    problem(submitter.get(hidden), 403)
    problem(other.get(id), 403)
    found = submitter.search("job", filter=f"id='{id}' or id='{hidden}'")
    assert [job["id"] for job in found["jobs"]] == [id]
    problem(submitter.put(id, {"action": "cleanup_jobs"}), 403, "action")
    assert good(submitter.post(f"{id}/stop"))["state"] == "STOPPED"


def test_idempotency_keys_of_submitters_are_their_own(here: LocalServer) -> None:
    submitter, other = here.known("submitter", "SUBMITTER USER"), here.known("unnamed", "SUBMITTER USER")
    key = uuid4().hex
    admins = here.admin.add(action="nothing", idempotencyKey=key)
    first = submitter.post("job", new(idempotencyKey=key)).json()["resource-id"]
    assert submitter.post("job", new(idempotencyKey=key)).json()["resource-id"] == first
    others = other.post("job", {"action": "nothing", "idempotencyKey": key}).json()["resource-id"]
    assert len({admins, first, others}) == 3
    problem(submitter.post("job", new(idempotencyKey=key, priority=3)), 409, first)
    assert here.admin.add(action="nothing", idempotencyKey=key) == admins


def test_a_viewer_changes_no_job_even_of_their_own(here: LocalServer) -> None:
    viewer = here.known("viewer", "VIEWER USER")
    id = here.admin.add(acl={"owner": {"principal": "viewer", "type": "USER"}})
    for answer in (viewer.put(id, {"name": "x"}), viewer.post(f"{id}/stop"), viewer.delete(id)):
        problem(answer, 403, "credentials required")
    assert [action["rel"].rpartition("/")[2] for action in good(viewer.get(id))["operations"]] == ["stop"]
    hidden = here.admin.add()
    assert viewer.search("job", filter=f"id='{hidden}'")["count"] == 1


def test_an_administrators_key_may_have_the_role_viewer_alone(here: LocalServer) -> None:
    key = here.key(here.admin, "VIEWER")
    id = here.admin.add()
    for caller in (here.by_key(key), here.bearer(key)):
        good(caller.get(id))
        good(caller.get("queue"))
        problem(caller.put(id, {"name": "x"}), 403)
        problem(caller.post("job", new()), 403)
    owner = here.known("owner")
    template = {"href": "credential-template/generate-api-key", "roles": "VIEWER"}
    problem(owner.post("credential", {"credentialTemplate": template}), 403, "VIEWER")


def test_a_key_authenticates_each_request(here: LocalServer, caplog: pytest.LogCaptureFixture) -> None:
    owner = here.known("owner")
    key = here.key(owner)
    bearer = here.bearer(key)
    assert good(bearer.get("user/owner"))["username"] == "owner"
    assert good(bearer.get("session"))["count"] == 0
    assert "Set-Cookie" not in bearer.get("job").headers
    for wrong in (f"{key[0]}.{'a' * 30}", f"{uuid4()}.{key[1]}", key[1], "x", "", "x" * 5_000):
        answer = Caller(here.url).get("cloud-entry-point", headers={"Authorization": f"Bearer {wrong}"})
        problem(answer, 403, "invalid credentials")
        cookie = owner.get("job", headers={"Authorization": f"Bearer {wrong}"})
        problem(cookie, 403, "invalid credentials")
    good(owner.get("job", headers={"Authorization": "Basic x"}))
    good(here.admin.delete(key[0]))
    problem(bearer.get("job"), 403, "invalid credentials")
    assert key[1] not in caplog.text
    assert key[1].partition(".")[0] not in caplog.text
