"""Jobs over HTTP (docs/reference/api.md)."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from geventjob.near_uuid import near_uuid
from tests.support.job_server import Caller, JobServer, good, problem

STOP = "http://schemas.dmtf.org/cimi/2/action/stop"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ENTRY = re.compile(r"/job/entries/entry-\d{3}-\d{10}")
ADMIN_ACL = {
    "owner": {"principal": "ADMIN", "type": "ROLE"},
    "rules": [{"principal": "ADMIN", "type": "ROLE", "right": "ALL"}],
}


@pytest.fixture
def action() -> str:
    """Return the name of an action that no other test has."""
    return f"action-{uuid4()}"


def operations(document: Any) -> dict[str, str]:
    return {operation["rel"]: operation["href"] for operation in document.get("operations", ())}


def acl(principal: str, right: str) -> dict[str, Any]:
    rule = {"principal": principal, "type": "USER", "right": right}
    return {"owner": {"principal": "ADMIN", "type": "ROLE"}, "rules": [rule]}


# --- add and get


def test_add(admin: Caller) -> None:
    answer = admin.post("job", {"action": "cleanup_jobs", "targetResource": {"href": "job"}})
    assert answer.status_code == 201
    id = answer.headers["Location"]
    assert re.fullmatch(r"job/[0-9a-f-]{36}", id)
    assert answer.json() == {"status": 201, "message": f"{id} created", "resource-id": id}
    job = good(admin.get(id))
    assert TIME.fullmatch(job["created"])
    assert job["created"] == job["updated"]
    assert ENTRY.fullmatch(job["properties"]["zookeeper-path"])
    assert job["properties"]["zookeeper-path"].startswith("/job/entries/entry-999-")
    expected = {
        "id": id,
        "resourceURI": "http://sixsq.com/slipstream/1/Job",
        "action": "cleanup_jobs",
        "targetResource": {"href": "job"},
        "affectedResources": [{"href": "job"}],
        "state": "QUEUED",
        "progress": 0,
        "priority": 999,
        "acl": ADMIN_ACL,
    }
    assert job | expected == job
    assert operations(job) == {"edit": id, "delete": id, STOP: f"{id}/stop"}
    assert not [name for name in job if name.startswith("_")]


def test_what_a_client_cannot_set_is_taken_and_not_used(admin: Caller) -> None:
    id = admin.add(
        id="job/mine",
        created="1999-01-01T00:00:00.000Z",
        resourceURI="x",
        operations=[],
        state="SUCCESS",
        fence=7,
        executor="me",
        attempts=3,
        properties={"zookeeper-path": "/mine", "mine": "kept"},
    )
    job = good(admin.get(id))
    assert job["state"] == "QUEUED"
    assert job["created"] > "2020"
    assert "fence" not in job
    assert job["properties"]["mine"] == "kept"
    assert ENTRY.fullmatch(job["properties"]["zookeeper-path"])


def test_all_of_a_body_is_kept(admin: Caller) -> None:
    body = {
        "name": "n",
        "description": "d é 😀",
        "payload": {"deep": [{"x": 1.5}, None, True], "empty": {}},
        "timeout": 60,
        "priority": 5,
        "parentJob": "job/0b0b0b0b-0000-4000-8000-000000000000",
        "nestedJobs": ["job/0b0b0b0b-0000-4000-8000-000000000001"],
        "targetResource": {"href": "credential/ab-1", "also": {"this": 1}},
        "statusMessage": "queued",
        "returnCode": -3,
        "progress": 7,
    }
    job = good(admin.get(admin.add(**body)))
    assert job | body == job
    assert job["properties"]["zookeeper-path"].startswith("/job/entries/entry-005-")
    assert job["timeOfStatusChange"] == job["created"]


def test_select(admin: Caller) -> None:
    id = admin.add(targetResource={"href": "dummy", "other": 1})
    job = good(admin.get(f"{id}?$select=state,targetResource.href&$select=nosuch"))
    assert job["state"] == "QUEUED"
    assert job["targetResource"] == {"href": "dummy"}
    assert set(job) == {"id", "acl", "resourceURI", "state", "targetResource", "operations"}
    assert operations(job)["edit"] == id
    assert "action" in good(admin.get(f"{id}?$select=*"))
    problem(admin.get(f"{id}?$select=_body"), 400, "_body")


# --- edit


def test_edit_merges_and_answers_the_whole_job(admin: Caller) -> None:
    id = admin.add(name="n", description="d", properties={"a": "1"})
    before = good(admin.get(id))
    job = good(admin.put(f"{id}?$select=description,name,id,acl", {"name": "new", "statusMessage": "m"}))
    assert job["name"] == "new"
    assert "description" not in job
    assert job["statusMessage"] == "m"
    assert job["timeOfStatusChange"] == job["updated"] > before["updated"]
    assert job["properties"] == before["properties"]
    assert "operations" not in job
    assert good(admin.get(id)) == job | {"operations": before["operations"]}


def test_a_whole_document_may_be_put_back(admin: Caller) -> None:
    job = good(admin.get(admin.add(idempotencyKey=str(uuid4()), name="n")))
    again = good(admin.put(job["id"], job | {"name": "other"}))
    assert again["name"] == "other"
    assert again["properties"] == job["properties"]


def test_the_life_that_an_old_engine_writes(admin: Caller) -> None:
    id = admin.add(targetResource={"href": "dummy"})
    running = good(admin.put(id, {"state": "RUNNING"}))
    assert running["started"] == running["updated"]
    assert good(admin.put(id, {"progress": 50}))["progress"] == 50
    done = good(admin.put(id, {"state": "SUCCESS", "returnCode": 0}))
    assert (done["state"], done["progress"], done["duration"]) == ("SUCCESS", 100, 0)


def test_a_final_state_is_final(admin: Caller) -> None:
    id = admin.add()
    good(admin.put(id, {"state": "FAILED", "statusMessage": "Not implemented action: x"}))
    body = problem(admin.put(id, {"state": "SUCCESS"}), 409, "FAILED")
    assert body["reason"] == "final"
    assert body["resource-id"] == id
    assert body["job"]["state"] == "FAILED"
    assert not [name for name in body["job"] if name.startswith("_")]
    assert good(admin.put(id, {"description": "seen"}))["description"] == "seen"


def test_what_the_table_lacks(admin: Caller) -> None:
    body = problem(admin.put(admin.add(), {"state": "STOPPING"}), 409)
    assert body["reason"] == "transition"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nosuch": 1}, "nosuch"),
        ({"progress": 101}, "progress"),
        ({"name": None}, "name"),
        ({"state": "CANCELED"}, "state"),
        ([], "object"),
    ],
)
def test_an_edit_that_does_not_fit(admin: Caller, change: Any, words: str) -> None:
    problem(admin.put(admin.add(), change), 400, words)


def test_what_a_job_must_have_is_not_deleted(admin: Caller) -> None:
    problem(admin.put(f"{admin.add()}?$select=action", {}), 400, "action")


def test_an_edit_of_no_job(admin: Caller) -> None:
    problem(admin.put("job/nosuch", {"progress": 1}), 404, "job/nosuch not found")
    problem(admin.delete("job/nosuch"), 404)
    problem(admin.post("job/nosuch/stop"), 404)


# --- stop and delete


def entries(admin: Caller) -> list[str]:
    return [item["job"] for item in good(admin.get("queue"))["head"]]


def test_stop_of_a_queued_job_takes_it_off_the_queue(admin: Caller) -> None:
    id = admin.add(priority=0)
    assert id in entries(admin)
    job = good(admin.post(f"{id}/stop"))
    assert job["state"] == "STOPPED"
    assert id not in entries(admin)
    assert good(admin.post(f"{id}/stop"))["state"] == "STOPPED"
    assert problem(admin.put(id, {"state": "RUNNING"}), 409)["reason"] == "final"


def test_stop_of_a_running_job_waits_for_its_executor(admin: Caller) -> None:
    id = admin.add()
    good(admin.put(id, {"state": "RUNNING"}))
    for _ in range(2):
        assert good(admin.post(f"{id}/stop"))["state"] == "STOPPING"
    assert good(admin.put(id, {"state": "STOPPED"}))["state"] == "STOPPED"


def test_delete_takes_a_job_off_the_queue(admin: Caller) -> None:
    id = admin.add(priority=0)
    assert id in entries(admin)
    assert good(admin.delete(id)) == {"status": 200, "message": f"{id} deleted", "resource-id": id}
    assert id not in entries(admin)
    problem(admin.get(id), 404)
    problem(admin.delete(id), 404)


# --- search


def test_a_search_with_nothing(admin: Caller) -> None:
    admin.add()
    for found in (good(admin("PUT", "job")), good(admin.get("job"))):
        assert found["id"] == "job"
        assert found["resourceURI"] == "http://sixsq.com/slipstream/1/JobCollection"
        assert found["count"] >= 1
        assert found["jobs"]
        assert operations(found) == {
            "add": "job",
            "bulk-add": "job/bulk-add",
            "bulk-edit": "job/bulk-edit",
            "bulk-delete": "job/bulk-delete",
            **{name: f"job/{name}" for name in ("batch", "bulk-stop", "bulk-release", "bulk-rerun")},
        }
        assert "aggregations" not in found


def test_pages_and_order(admin: Caller, action: str) -> None:
    ids = [admin.add(action=action, priority=priority) for priority in (3, 1, 2)]

    def found(**parameters: Any) -> list[int]:
        answer = admin.search("job", filter=f"action='{action}'", orderby="priority", select="priority", **parameters)
        assert answer["count"] == 3
        return [job["priority"] for job in answer["jobs"]]

    assert found() == [1, 2, 3]
    assert found(first=0) == [1, 2, 3]
    assert found(first=2) == [2, 3]
    assert found(first=1, last=2) == [1, 2]
    assert found(last=0) == []
    assert found(first=3, last=2) == []
    answer = admin.search("job", filter=f"action='{action}'", orderby="priority:desc,created", last=1)
    assert [job["id"] for job in answer["jobs"]] == [ids[0]]
    assert operations(answer["jobs"][0])["edit"] == ids[0]


def test_filters_are_joined_and_attributes_selected(admin: Caller, action: str) -> None:
    id = admin.add(action=action, priority=1)
    admin.add(action=action, priority=2)
    form = {"$filter": [f"action='{action}'", "priority<2"], "$select": ["state", "priority,acl"]}
    (job,) = good(admin("PUT", "job", data=form))["jobs"]
    assert job["id"] == id
    assert set(job) == {"id", "acl", "resourceURI", "state", "priority", "operations"}


def test_aggregations(admin: Caller, action: str) -> None:
    for priority in (1, 2):
        admin.add(action=action, priority=priority)
    wanted = "terms:state,max:priority,stats:priority,extendedstats:priority,percentiles:priority,missing:name"
    answer = admin.search("job", filter=f"action='{action}'", last=0, aggregation=wanted)
    assert answer["jobs"] == []
    found = answer["aggregations"]
    assert list(found) == wanted.split(",")
    assert found["stats:priority"] == {"count": 2, "min": 1, "max": 2, "avg": 1.5, "sum": 3}
    assert found["extendedstats:priority"]["std_deviation_bounds"] == {"upper": 2.5, "lower": 0.5}
    assert found["percentiles:priority"]["values"]["50.0"] == 1.5
    assert found["missing:name"] == {"doc_count": 2}
    assert found["terms:state"]["buckets"] == [{"key": "QUEUED", "doc_count": 2}]
    assert found["max:priority"] == {"value": 2}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"filter": "state="}, "Invalid CIMI filter. "),
        ({"filter": ""}, "Invalid CIMI filter. "),
        ({"filter": "priority='high'"}, "Invalid CIMI filter. "),
        ({"first": "one"}, "$first"),
        ({"last": "10001"}, "10000"),
        ({"orderby": "_body"}, "_body"),
        ({"aggregation": "median:priority"}, "median"),
        ({"fliter": "x=1"}, "$fliter"),
    ],
)
def test_a_search_that_makes_no_sense(admin: Caller, parameters: dict[str, str], words: str) -> None:
    form = {f"${name}": value for name, value in parameters.items()}
    problem(admin("PUT", "job", data=form), 400, words)


def test_an_unknown_attribute_in_a_filter_is_a_missing_one(admin: Caller) -> None:
    assert admin.search("job", filter="nosuch='x'")["count"] == 0


def test_a_search_sees_what_was_just_written(admin: Caller, action: str) -> None:
    for number in range(20):
        id = admin.add(action=action, name=str(number))
        (job,) = admin.search("job", filter=f"name='{number}' and action='{action}'")["jobs"]
        assert job["id"] == id


# --- idempotency

keys = pytest.mark.parametrize("new_key", [uuid4, near_uuid], ids=["any key", "a key that was just made"])
"""A key that was just made is not looked up (docs/decisions/0052-fresh-keys-are-not-looked-up.md)."""


@keys
def test_the_same_add_again_answers_as_the_first(admin: Caller, new_key: Callable[[], object]) -> None:
    job = {"action": "a", "payload": {"x": [1, 2]}, "idempotencyKey": str(new_key())}
    first = admin.post("job", job)
    again = admin.post("job", dict(reversed(job.items())) | {"id": "job/x"})
    assert again.status_code == first.status_code == 201
    assert again.json() == first.json()
    assert again.headers["Location"] == first.headers["Location"]
    body = problem(admin.post("job", job | {"payload": {}}), 409, first.json()["resource-id"])
    assert body["resource-id"] == first.json()["resource-id"]


@keys
def test_a_key_is_free_again_once_its_job_is_gone(admin: Caller, new_key: Callable[[], object]) -> None:
    key = str(new_key())
    first = admin.add(idempotencyKey=key)
    good(admin.put(first, {"state": "FAILED"}))
    assert admin.add(idempotencyKey=key) == first
    admin.delete(first)
    assert admin.add(idempotencyKey=key) != first


@keys
def test_many_adds_at_once_with_one_key_make_one_job(
    server: JobServer, admin: Caller, new_key: Callable[[], object]
) -> None:
    job = {"action": str(new_key()), "idempotencyKey": str(new_key()), "priority": 0}
    callers = [server.login() for _ in range(8)]

    def add(number: int) -> str:
        answer = callers[number % 8].post("job", job)
        assert answer.status_code == 201, answer.text
        id: str = answer.json()["resource-id"]
        return id

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(add, range(64)))
    assert len(ids) == 1
    assert admin.search("job", filter=f"action='{job['action']}'")["count"] == 1
    assert sum(id in ids for id in entries(admin)) == 1


# --- who may what


def test_a_user_sees_and_edits_what_the_acl_lets_him(admin: Caller, user: Callable[[str], Caller], action: str) -> None:
    bob = user("bob")
    ids = {
        right: admin.add(action=action, acl=acl("bob", right), priority=number)
        for number, right in enumerate(("VIEW", "MODIFY", "ALL", "VIEW_META"))
    }
    others = admin.add(action=action, acl=acl("carol", "ALL"), priority=9)
    private = admin.add(action=action, priority=9)

    answer = bob.search("job", filter=f"action='{action}'", aggregation="max:priority", orderby="priority")
    assert [job["id"] for job in answer["jobs"]] == list(ids.values())
    assert answer["count"] == 4
    assert answer["aggregations"]["max:priority"] == {"value": 3}
    assert operations(answer) == {name: f"job/{name}" for name in ("bulk-edit", "bulk-stop", "bulk-release")}
    shown = {job["id"]: set(operations(job)) for job in answer["jobs"]}
    assert shown == {
        ids["VIEW"]: {STOP},
        ids["MODIFY"]: {"edit", "delete", STOP},
        ids["ALL"]: {"edit", "delete", STOP},
        ids["VIEW_META"]: {STOP},
    }

    for right in ("VIEW", "MODIFY", "ALL"):
        assert set(operations(good(bob.get(ids[right])))) == shown[ids[right]]
    for hidden in (ids["VIEW_META"], others, private):
        problem(bob.get(hidden), 403, "credentials required")
    for fixed in (ids["VIEW"], ids["VIEW_META"], others, private):
        problem(bob.put(fixed, {"name": "x"}), 403)
        problem(bob.post(f"{fixed}/stop"), 403)
        problem(bob.delete(fixed), 403)
    assert good(bob.put(ids["MODIFY"], {"name": "x"}))["name"] == "x"
    assert good(bob.post(f"{ids['MODIFY']}/stop"))["state"] == "STOPPED"
    good(bob.delete(ids["ALL"]))
    edits = [{"id": id, "set": {"name": "bulk"}} for id in (ids["VIEW"], ids["MODIFY"], private, "job/nosuch")]
    assert [result["status"] for result in bob.bulk("edit", edits=edits)["results"]] == [403, 200, 403, 403]


def test_only_an_administrator_adds(user: Callable[[str], Caller]) -> None:
    dora = user("dora")
    problem(dora.post("job", {"action": "a"}), 403)
    problem(dora.post("job/bulk-add", {"jobs": []}), 403)
    problem(dora.post("job/bulk-delete", {"filter": "id=null"}), 403)
    problem(dora.get("node"), 403)
    problem(dora.get("queue"), 403)


def test_administrators_are_in_every_acl(admin: Caller) -> None:
    given = acl("bob", "VIEW")
    job = good(admin.get(admin.add(acl=given)))
    assert job["acl"] == {"owner": given["owner"], "rules": [*given["rules"], *ADMIN_ACL["rules"]]}
    other = acl("carol", "MODIFY")
    job = good(admin.put(job["id"], {"acl": other}))
    assert job["acl"]["rules"] == [*other["rules"], *ADMIN_ACL["rules"]]
    assert good(admin.put(job["id"], {"acl": job["acl"]}))["acl"] == job["acl"]


# --- bulk


@keys
def test_bulk_add(admin: Caller, action: str, new_key: Callable[[], object]) -> None:
    key = str(new_key())
    jobs: list[Any] = [
        {"action": action, "idempotencyKey": key},
        {"action": action, "nosuch": 1},
        {"action": action, "idempotencyKey": key},
        "no job",
        {"action": action, "priority": 3},
        {"action": action, "payload": {"x": "y" * 300_000}},
        {"action": action, "idempotencyKey": key, "priority": 1},
    ]
    results = admin.bulk("add", jobs=jobs)["results"]
    assert [result["status"] for result in results] == [201, 400, 201, 400, 201, 413, 409]
    assert results[0] == results[2]
    assert "nosuch" in results[1]["message"]
    found = admin.search("job", filter=f"action='{action}'")["jobs"]
    assert {job["id"] for job in found} == {results[0]["resource-id"], results[4]["resource-id"]}
    assert results[4]["message"] == f"{results[4]['resource-id']} created"
    assert admin.bulk("add", jobs=[]) == {"results": []}


def test_bulk_edit(admin: Caller) -> None:
    ids = [admin.add() for _ in range(3)]
    done = admin.add()
    good(admin.put(done, {"state": "FAILED"}))
    edits: list[Any] = [
        {"id": ids[0], "set": {"progress": 10}},
        {"id": ids[1], "set": {"progress": 500}},
        {"id": ids[2], "set": {"name": "n"}, "delete": ["description"]},
        {"id": done, "set": {"state": "RUNNING"}},
        {"id": "job/nosuch", "set": {}},
        {"id": ids[0], "set": {"progress": 20}, "entry": "/job/entries/entry-999-0000000001"},
        {"id": ids[0], "set": {"progress": 30}},
    ]
    results = admin.bulk("edit", edits=edits)["results"]
    assert [result["status"] for result in results] == [200, 400, 200, 409, 404, 400, 200]
    assert results[0]["job"]["progress"] == 10
    assert results[3]["reason"] == "final"
    assert results[3]["job"]["state"] == "FAILED"
    assert results[6]["job"]["progress"] == 30
    assert admin.bulk("edit", edits=edits[:1], **{"return": "status"}) == {"results": [{"status": 200}]}


def owned(id: str, entry: str, fence: int, **change: Any) -> dict[str, Any]:
    return {"id": id, "set": change, "entry": entry, "fence": fence, "executor": "one"}


def edited(admin: Caller, edits: list[tuple[int, dict[str, Any], dict[str, Any]]]) -> tuple[str, list[dict[str, Any]]]:
    """Make edits (fence, change, other fields) of a new job in one request. Return its id, and the results.

    One request is one commit: the rescue of jobs whose executors have gone, as `one` has, cannot come between.
    """
    id = admin.add()
    entry = good(admin.get(id))["properties"]["zookeeper-path"]
    all_edits = [owned(id, entry, fence, **change) | more for fence, change, more in edits]
    return id, admin.bulk("edit", edits=all_edits)["results"]


def test_an_owner_writes_with_his_fence(admin: Caller) -> None:
    running, done = {"state": "RUNNING"}, {"state": "SUCCESS"}
    changes: list[tuple[int, dict[str, Any]]] = [
        (7, running), (7, running), (7, {"progress": 3}), (6, {"progress": 4}),
        (8, running), (7, done), (8, done), (8, done),
    ]  # fmt: skip
    _, results = edited(admin, [(fence, change, {}) for fence, change in changes])
    begun, again, progress, late, taken, stranger, end, repeated = results
    assert [begun["job"][name] for name in ("executor", "fence", "attempts")] == ["one", 7, 1]
    assert again["job"]["attempts"] == 1
    assert progress["job"]["progress"] == 3
    assert (late["status"], late["reason"]) == (409, "fence")
    assert taken["job"]["interruptions"] == 1
    assert stranger["reason"] == "fence"
    assert end["job"]["state"] == "SUCCESS"
    assert repeated["status"] == 200


def test_an_attempt_is_told_of_and_a_suspect_waits(admin: Caller) -> None:
    running, few = {"state": "RUNNING"}, {"maxInterruptions": 1}
    begins = [(1, running, {}), (2, running, few), (3, running, few), (3, running, {})]
    queued: dict[str, Any] = {"state": "QUEUED"}
    reports = [(fence, queued, dict[str, Any]()) for fence in (1, 2, 2, 1)]
    id, results = edited(admin, [*begins, *reports, (3, {"state": "SUCCESS"}, {})])
    seen = [tuple(result["job"][name] for name in ("state", "attempts", "interruptions")) for result in results]
    assert seen[1:4] == [("RUNNING", 2, 1), ("QUEUED", 2, 2), ("RUNNING", 3, 2)]
    assert [interruptions for _, _, interruptions in seen[4:8]] == [1, 0, 0, 0]
    assert seen[8] == ("SUCCESS", 3, 0)
    assert not [name for name in good(admin.get(id)) if name.startswith("_")]


def test_another_entry_does_not_count_while_the_first_stands(admin: Caller) -> None:
    other = "/job/entries/entry-999-9999999999"
    (result,) = admin.bulk("edit", edits=[owned(admin.add(), other, 3, state="RUNNING")])["results"]
    assert (result["status"], result["reason"]) == (409, "entry")


def test_an_action_that_was_not_offered(admin: Caller, action: str) -> None:
    id = admin.add(action=action)
    entry = good(admin.get(id))["properties"]["zookeeper-path"]
    edits = [owned(id, entry, 1, state="RUNNING")]
    (result,) = admin.bulk("edit", edits=edits, actions=["other"])["results"]
    assert (result["status"], result["reason"], result["job"]["state"]) == (409, "action", "QUEUED")
    (result,) = admin.bulk("edit", edits=edits, actions=["other", action])["results"]
    assert result["job"]["state"] == "RUNNING"


def test_bulk_delete(admin: Caller, action: str) -> None:
    results = admin.bulk("add", jobs=[{"action": action, "priority": 0}] * 12)["results"]
    keep = results.pop()["resource-id"]
    good(admin.put(keep, {"name": "keep"}))
    assert admin.bulk("delete", filter=f"action='{action}' and name=null") == {"deleted": 11}
    assert admin.search("job", filter=f"action='{action}'")["count"] == 1
    assert entries(admin).count(keep) == 1
    assert not {result["resource-id"] for result in results} & set(entries(admin))
    problem(admin.post("job/bulk-delete", {"filter": ""}), 400, "Invalid CIMI filter.")
    problem(admin.post("job/bulk-delete", {}), 400, "filter")
    admin.delete(keep)


def test_bulk_delete_takes_all_that_match(admin: Caller, action: str) -> None:
    for _ in range(3):
        admin.bulk("add", jobs=[{"action": action}] * 700)
    assert admin.bulk("delete", filter=f"action='{action}'") == {"deleted": 2100}


# --- for operators


def test_the_queue_at_a_glance(admin: Caller) -> None:
    id = admin.add(priority=0)
    queue = good(admin.get("queue"))
    assert queue["entries"] >= 1
    assert queue["taken"] == 0
    assert queue["oldest"] >= 0
    (item,) = [item for item in queue["head"] if item["job"] == id]
    assert (item["priority"], item["takenBy"]) == (0, None)
    assert item["entry"] == good(admin.get(id))["properties"]["zookeeper-path"]
    admin.delete(id)


def test_the_server_is_a_node(server: JobServer, admin: Caller) -> None:
    (node,) = good(admin.get("node"))["nodes"]
    assert (node["role"], node["pid"]) == ("server", server.process.pid)
    assert TIME.fullmatch(node["since"])
    assert node["version"]
