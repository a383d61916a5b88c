"""Who may do what over HTTP, with real log-ins, over both stores: docs/reference/api.md says it, and is walked here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.callers import STORES, House, acl, house, told
from tests.job_server import Caller, good, problem

METHODS = {
    "job": ("GET", "PUT", "DELETE", "POST stop"),
    "user": ("GET", "PUT", "DELETE"),
    "session": ("GET", "DELETE"),
    "credential": ("GET", "DELETE"),
}


@pytest.fixture(scope="module", params=STORES)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One server of each kind for all tests, which use names of their own."""
    with house(request.param, tmp_path_factory.mktemp("house")) as made:
        yield made


def ask(caller: Caller, method: str, id: str) -> Any:
    verb, _, operation = method.partition(" ")
    body = {"name": "x"} if verb == "PUT" else None
    return caller(verb, f"{id}/{operation}" if operation else id, json=body)


@pytest.mark.parametrize(("kind", "method"), [(kind, method) for kind in METHODS for method in METHODS[kind]])
def test_a_stranger_cannot_tell_what_exists(here: House, kind: str, method: str) -> None:
    owner, stranger = here.known("owner"), here.known("stranger")
    strangers = (stranger, here.by_key(here.key(stranger)), Caller(here.url))
    session = good(owner.get("session"))["sessions"][0]
    found = {
        "job": here.admin.add(acl=acl(session["username"], "ALL")),
        "user": f"user/{session['username']}",
        "session": session["id"],
        "credential": here.key(owner)[0],
    }[kind]
    missing = f"{kind}/{uuid4()}"
    for caller in strangers:
        assert told(ask(caller, method, found), found) == told(ask(caller, method, missing), missing)
        assert problem(ask(caller, method, found), 403) == {"status": 403, "message": "credentials required"}
    good(here.admin.get(found))
    problem(ask(here.admin, method, missing), 404, missing)


def test_a_bulk_edit_tells_strangers_as_little(here: House) -> None:
    stranger = here.known("stranger")
    ids = [here.admin.add(), f"job/{uuid4()}"]
    owner = {"entry": "/job/entries/entry-999-0000000001", "fence": 1, "executor": "x"}
    edits = [{"id": id, "set": {"name": "x"}, **more} for id in ids for more in ({}, owner)]
    results = stranger.bulk("edit", edits=edits)["results"]
    assert results == [{"status": 403, "message": "credentials required"}] * 4
    assert [result["status"] for result in here.admin.bulk("edit", edits=edits)["results"]] == [200, 409, 404, 404]


# --- what is run


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
def test_who_may_edit_a_job_does_not_edit_what_it_runs(here: House, name: str) -> None:
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


def test_the_whole_document_may_be_sent_back(here: House) -> None:
    user, editor = "editor", here.known("editor")
    id = here.admin.add(acl=acl(user, "MODIFY"), payload={"a": 1}, timeout=5, targetResource={"href": "job"})
    owner = {"entry": good(editor.get(id))["properties"]["zookeeper-path"], "fence": 1, "executor": "x"}
    here.admin.bulk("edit", edits=[{"id": id, "set": {"state": "RUNNING"}, **owner}])
    after = good(editor.put(id, {**good(editor.get(id)), "name": "renamed"}))
    assert (after["name"], after["state"], after["payload"]) == ("renamed", "RUNNING", {"a": 1})
    (result,) = here.admin.bulk("edit", edits=[{"id": id, "set": {"state": "SUCCESS"}, **owner}])["results"]
    assert result["status"] == 200
