"""The audit, and operations on all jobs that match, over HTTP and both stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from geventjob.clock import now
from geventjob.server.accounts import audit as audits
from geventjob.server.accounts.audit import Audit
from geventjob.server.jobs import matching
from geventjob.server.store.base import StoreAway
from tests.support.callers import PASSWORD, STORES, LocalServer, acl, local_server
from tests.support.job_server import Caller, good, problem

FILTERED = {"filter": "name='nosuch'"}


@pytest.fixture(scope="module", params=STORES)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with local_server(request.param, tmp_path_factory.mktemp("house")) as made:
        yield made


def newest(here: LocalServer) -> dict[str, Any]:
    event: dict[str, Any] = good(here.admin.get("event?$last=1"))["events"][0]
    return event


def told(event: dict[str, Any]) -> tuple[str, str, str]:
    return event["user"], event["content"]["state"], event["content"]["resource"]["href"]


def number(here: LocalServer) -> int:
    count: int = good(here.admin.get("event?$last=0"))["count"]
    return count


def test_who_stopped_a_job_and_from_where(here: LocalServer) -> None:
    id = here.admin.add()
    good(here.admin.post(f"{id}/stop"))
    event = newest(here)
    assert told(event) == ("super", "stopped", id)
    assert (event["client"], event["count"], event["jobs"]) == ("127.0.0.1", 1, [id])
    assert event["type"] == "action"
    assert good(here.admin.get(event["id"])) == event


def test_each_kind_of_change_is_an_event(here: LocalServer) -> None:
    admin, name, id = here.admin, uuid4().hex, here.admin.add()
    schedule = {"name": name, "action": "nothing", "cron": "0 0 1 1 *"}
    user = {"username": name, "password": PASSWORD}
    changes: list[tuple[Callable[[], Any], tuple[str, str]]] = [
        (lambda: admin.put(f"{id}?force=true", {"name": "x"}), ("edited", id)),
        (lambda: admin.post(f"{id}/stop"), ("stopped", id)),
        (lambda: admin.post(f"{id}/rerun"), ("reran", id)),
        (lambda: admin.delete(id), ("deleted", id)),
        (lambda: admin.post("user", user), ("added", f"user/{name}")),
        (lambda: admin.put(f"user/{name}", {"roles": "VIEWER"}), ("edited", f"user/{name}")),
        (lambda: admin.delete(f"user/{name}"), ("deleted", f"user/{name}")),
        (lambda: admin.post("schedule", schedule), ("added", f"schedule/{name}")),
        (lambda: admin.post(f"schedule/{name}/pause", {}), ("paused", f"schedule/{name}")),
        (lambda: admin.post(f"schedule/{name}/resume", {}), ("resumed", f"schedule/{name}")),
        (lambda: admin.post(f"schedule/{name}/fire", {"idempotencyKey": "k"}), ("fired", f"schedule/{name}")),
        (lambda: admin.delete(f"schedule/{name}"), ("deleted", f"schedule/{name}")),
        (lambda: admin.post("pause", {"action": name}), ("paused", "pause")),
        (lambda: admin.delete(f"pause/{name}"), ("resumed", f"pause/{name}")),
        (lambda: admin.post("queue/reconcile", {}), ("reconciled", "queue")),
    ]
    for change, expected in changes:
        before = number(here)
        answer = change()
        assert answer.status_code < 300, (expected, answer.text)
        assert number(here) == before + 1, expected
        _, state, href = told(newest(here))
        assert (state, href.partition("/")[0] if expected[1] == "pause" else href) == expected


def test_what_is_no_change_by_a_person_is_no_event(here: LocalServer) -> None:
    stranger = here.known("stranger")
    before = number(here)
    id = here.admin.add()
    good(here.admin.put(id, {"name": "x"}))
    here.admin.bulk("add", jobs=[{"action": "x"}])
    here.admin.bulk("edit", edits=[{"id": id, "set": {"name": "y"}}])
    here.admin.search("job", last=1)
    good(here.admin.post("job/bulk-stop", FILTERED))
    here.log_in("super")
    problem(here.admin.delete(f"job/{uuid4()}"), 404)
    problem(stranger.post(f"{id}/stop"), 403)
    problem(Caller(here.url).post(f"{id}/stop"), 403)
    assert number(here) == before


def test_a_viewer_reads_the_audit_and_nobody_writes_it(here: LocalServer) -> None:
    viewer = here.known("viewer", "VIEWER USER")
    good(here.admin.post(f"{here.admin.add()}/stop"))
    event = good(viewer.get("event?$last=1"))["events"][0]
    for method in ("PUT", "DELETE"):
        assert here.admin(method, event["id"]).status_code == 405
    assert here.admin.post("event", {"user": "x"}).status_code == 405
    found = viewer.search("event", filter=f"content/resource/href='{event['jobs'][0]}'", orderby="created:asc")
    assert [one["id"] for one in found["events"]] == [event["id"]]
    for caller in (here.known("stranger"), here.known("executor", "EXECUTOR USER")):
        problem(caller.get("event"), 403)
        problem(caller.get(event["id"]), 403)
    problem(viewer.get(f"event/{uuid4()}"), 404)


def test_who_may_see_a_job_sees_its_events_without_addresses(here: LocalServer) -> None:
    id, name = here.admin.add(acl=acl("alice", "VIEW")), uuid4().hex
    here.admin.put(id, {"name": name})
    other = here.admin.add(name=name)
    good(here.admin.post("job/bulk-stop", {"filter": f"name='{name}'"}))
    alice = here.known("alice")
    (event,) = good(alice.get(f"{id}/event"))["events"]
    assert told(event) == ("super", "stopped", "job")
    assert {"client", "detail", "credential"}.isdisjoint(event)
    assert other not in str(event)
    problem(alice.get(f"{other}/event"), 403)
    (whole,) = good(here.admin.get(f"{other}/event"))["events"]
    assert whole["client"] == "127.0.0.1"
    assert name in whole["detail"]


def test_a_key_is_named(here: LocalServer) -> None:
    key = here.key(here.admin)
    good(here.bearer(key).post(f"{here.admin.add()}/stop"))
    event = newest(here)
    assert event["credential"] == {"href": key[0]}
    assert key[1] not in str(event)


def test_an_audit_that_cannot_be_kept_is_logged(
    here: LocalServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any) -> None:
        raise StoreAway("gone")

    id = here.admin.add()
    monkeypatch.setattr(audits, "write_one", away)
    good(here.admin.post(f"{id}/stop"))
    assert f"super has stopped {id}, and the audit does not say so: gone" in caplog.text


def test_old_events_are_deleted(here: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    good(here.admin.post(f"{here.admin.add()}/stop"))
    Audit(here.store, 0).forget()
    Audit(here.store, 1).forget()
    assert number(here)
    monkeypatch.setattr(audits, "now", lambda: now() + timedelta(days=2))
    Audit(here.store, 1).forget()
    assert number(here) == 0


# --- all jobs that match


def named(here: LocalServer, count: int, **job: Any) -> tuple[str, list[str]]:
    name = uuid4().hex
    return name, [here.admin.add(name=name, **job) for _ in range(count)]


def test_stop_all_that_match(here: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "PAGE", 2)
    name, ids = named(here, 5)
    good(here.admin.post(f"{ids[0]}/stop"))
    answer = good(here.admin.post("job/bulk-stop", {"filter": f"name='{name}'"}))
    assert answer == {"stopped": 4, "refused": 0, "more": False}
    assert {good(here.admin.get(id))["state"] for id in ids} == {"STOPPED"}
    event = newest(here)
    assert (told(event), event["count"]) == (("super", "stopped", "job"), 4)
    assert sorted(event["jobs"]) == sorted(ids[1:])
    assert event["detail"] == f"name='{name}'"


def test_each_job_is_stopped_with_the_rights_of_the_caller(here: LocalServer) -> None:
    name, ids = named(here, 1)
    bob = here.known("bob")
    allowed = here.admin.add(name=name, acl=acl("bob", "MODIFY"))
    seen = here.admin.add(name=name, acl=acl("bob", "VIEW"))
    answer = good(bob.post("job/bulk-stop", {"filter": f"name='{name}'"}))
    assert answer == {"stopped": 1, "refused": 1, "more": False}
    states = [good(here.admin.get(id))["state"] for id in (allowed, seen, *ids)]
    assert states == ["STOPPED", "QUEUED", "QUEUED"]


def test_a_request_that_takes_long_says_that_there_is_more(here: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "PAGE", 2)
    monkeypatch.setattr(matching, "TIME", -1)
    name, _ = named(here, 3)
    answers = [good(here.admin.post("job/bulk-stop", {"filter": f"name='{name}'"})) for _ in range(2)]
    assert [(answer["stopped"], answer["more"]) for answer in answers] == [(2, True), (1, True)]


def test_a_rerun_that_takes_long_goes_on_behind_the_last_job(
    here: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "COPIES", 2)
    monkeypatch.setattr(matching, "TIME", -1)
    name, ids = named(here, 3)
    for id in ids:
        good(here.admin.post(f"{id}/stop"))
    filter, key, reran = f"name='{name}' and state='STOPPED'", uuid4().hex, []
    last = ""
    for _ in range(3):
        answer = good(here.admin.post("job/bulk-rerun", {"filter": f"{filter} and id>'{last}'", "idempotencyKey": key}))
        reran.append(answer["reran"])
        last = answer.get("last", last)
    assert (reran, last) == ([2, 1, 0], max(ids))
    assert here.admin.search("job", filter=f"idempotencyKey^='{key}/'")["count"] == 3


def test_release_all_that_match(here: LocalServer) -> None:
    name, _ = named(here, 2, notBefore="+1d")
    here.admin.add(name=name)
    answer = good(here.admin.post("job/bulk-release", {"filter": f"name='{name}'"}))
    assert answer == {"released": 2, "refused": 0, "more": False}


def test_rerun_all_that_match_once_for_a_key(here: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "COPIES", 2)
    name, ids = named(here, 3, payload={"a": 1}, priority=7)
    here.admin.add(name=name)  # not over: not run again
    for id in ids:
        good(here.admin.post(f"{id}/stop"))
    body = {"filter": f"name='{name}'", "idempotencyKey": uuid4().hex}
    assert good(here.admin.post("job/bulk-rerun", body)) == {"reran": 3, "refused": 0, "more": False}
    good(here.admin.post("job/bulk-rerun", body))
    new = [job for job in here.admin.search("job", filter=f"name='{name}'")["jobs"] if "idempotencyKey" in job]
    assert len(new) == 3
    assert {(job["state"], job["priority"], job["payload"]["a"]) for job in new} == {("QUEUED", 7, 1)}
    assert told(newest(here)) == ("super", "reran", "job")


def test_rerun_a_job(here: LocalServer) -> None:
    id = here.admin.add(payload={"a": 1}, tags=["t"])
    problem(here.admin.post(f"{id}/rerun"), 409, "only a job that has ended can be run again")
    good(here.admin.post(f"{id}/stop"))
    answer = here.admin.post(f"{id}/rerun")
    assert answer.status_code == 201
    new = good(here.admin.get(answer.json()["resource-id"]))
    assert (new["payload"], new["tags"], new["state"]) == ({"a": 1}, ["t"], "QUEUED")
    good(here.admin.post(f"{new['id']}/stop"))
    problem(here.known("viewer", "VIEWER USER").post(f"{id}/rerun"), 403)


@pytest.mark.parametrize("what", ["stop", "release", "rerun"])
def test_a_filter_that_is_none_is_400(here: LocalServer, what: str) -> None:
    body = {"filter": "name=", **({"idempotencyKey": "k"} if what == "rerun" else {})}
    problem(here.admin.post(f"job/bulk-{what}", body), 400, "Invalid CIMI filter")
    problem(here.admin.post(f"job/bulk-{what}", {}), 400, "filter")
