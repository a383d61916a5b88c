"""`geventjob.Client` against the real server, in a process that is not patched."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from geventjob import Client
from geventjob.cimi.errors import Conflict, Forbidden, Invalid, LoginRefused, NotFound
from geventjob.cimi.ss_api import SlipStreamError, SsApi
from tests.support.fleet import until
from tests.support.job_server import Caller, JobServer


@pytest.fixture
def client(server: JobServer) -> Iterator[Client]:
    with Client(server.url, "super", server.password) as made:
        yield made


def test_the_life_of_a_job(client: Client) -> None:
    id = client.add("job", {"action": "a", "payload": {"x": 1}, "description": "one"})
    assert client.get(id, select=["state", "payload"])["payload"] == {"x": 1}
    assert "description" not in client.edit(id, {"name": "n"}, delete=["description"])
    found = client.search("job", filter=f"id='{id}'", aggregation="terms:state")
    assert (found["count"], found["jobs"][0]["name"]) == (1, "n")
    assert found["aggregations"]["terms:state"]["buckets"] == [{"key": "QUEUED", "doc_count": 1}]
    assert client.operation(id, "stop")["state"] == "STOPPED"
    with pytest.raises(Conflict) as caught:
        client.edit(id, {"state": "RUNNING"})
    assert caught.value.reason == "final"
    assert caught.value.job
    assert caught.value.job["id"] == id
    client.delete(id)
    with pytest.raises(NotFound):
        client.get(id)


def test_refusals_have_their_types(client: Client) -> None:
    with pytest.raises(Invalid, match="unknown attribute"):
        client.add("job", {"action": "a", "nonsense": 1})
    with pytest.raises(Invalid) as large:
        client.add("job", {"action": "a", "payload": {"x": "y" * 300_000}})
    assert large.value.status == 413
    with pytest.raises(Invalid, match="Invalid CIMI filter"):
        client.search("job", filter="state=")
    client.add("job", {"action": "a", "idempotencyKey": "taken"})
    with pytest.raises(Conflict, match="idempotencyKey"):
        client.add("job", {"action": "b", "idempotencyKey": "taken"})


def test_many_at_once(client: Client) -> None:
    jobs: list[dict[str, object]] = [{"action": "many", "payload": {"n": n}} for n in range(1200)]
    jobs[7] = {"payload": {}}
    ids = client.bulk_add(jobs)
    assert isinstance(ids[7], Invalid)
    well = [id for id in ids if isinstance(id, str)]
    assert len(set(well)) == 1199
    entry = client.get(well[0])["properties"]["zookeeper-path"]
    owner = {"entry": entry, "fence": 5, "executor": "x"}
    edits = [
        {"id": well[0], "set": {"state": "RUNNING"}, **owner},
        {"id": well[0], "set": {"progress": 5}, **owner, "fence": 4},
        {"id": "job/nothing", "set": {}},
        {"id": well[1], "set": {"progress": 101}},
        {"id": well[2], "set": {"state": "RUNNING"}},
    ]
    running, fenced, missing, wrong, unknown = client.bulk_edit(edits, actions=["many"])
    assert isinstance(running, dict)
    assert (running["state"], running["executor"]) == ("RUNNING", "x")
    assert isinstance(fenced, Conflict)
    assert (fenced.reason, fenced.job and fenced.job["id"]) == ("fence", well[0])
    assert isinstance(missing, NotFound)
    assert isinstance(wrong, Invalid)
    assert isinstance(unknown, dict)
    (refused,) = client.bulk_edit([{"id": well[3], "set": {"state": "RUNNING"}}], actions=["others"])
    assert isinstance(refused, Conflict)
    assert refused.reason == "action"
    assert client.bulk_edit([{"id": well[4], "set": {"progress": 3}}], answer="status") == [{"status": 200}]
    assert client.bulk_delete("action='many'") == 1199


def test_whoever_may_not_is_told_so_and_stays_logged_in(server: JobServer, user: Callable[[str], Caller]) -> None:
    user("dora")
    with Client(server.url, "dora", "secret of dora") as dora:
        assert dora.search("job")["count"] >= 0
        for call in (dora.nodes, dora.queue, lambda: dora.add("job", {"action": "a"})):
            with pytest.raises(Forbidden):
                call()
        assert dora.get("user/dora")["username"] == "dora"


def test_a_session_that_was_ended_is_opened_again(
    server: JobServer, admin: Caller, user: Callable[[str], Caller]
) -> None:
    user("emil")
    with Client(server.url, "emil", "secret of emil") as emil:
        (session,) = emil.search("session")["sessions"]
        emil.delete(session["id"])
        assert emil.get("user/emil")["username"] == "emil"
        admin.put("user/emil", {"password": "another one"})
        with pytest.raises(LoginRefused, match="invalid credentials for 'emil'"):
            emil.get("user/emil")


def test_logging_out_ends_the_session(server: JobServer, admin: Caller) -> None:
    with Client(server.url, "super", server.password) as client:
        (session,) = client.search("session")["sessions"]
        assert admin.get(session["id"]).status_code == 200
        client.log_out()
        assert admin.get(session["id"]).status_code == 404
        client.queue()  # and logs in again


def test_adds_through_a_server_that_dies_are_each_one_job(own_server: Callable[..., JobServer]) -> None:
    server = own_server()
    ids: list[str] = []
    with Client(server.url, "super", server.password, patience=60) as client:

        def add() -> None:
            for _ in range(100):
                ids.append(client.add("job", {"action": "a"}))
                ids.extend(id for id in client.bulk_add([{"action": "a"}] * 3) if isinstance(id, str))

        adding = [threading.Thread(target=add) for _ in range(4)]
        for thread in adding:
            thread.start()
        for stage in (300, 700):
            until(lambda stage=stage: len(ids) > stage)
            server.kill()
            server.restart()
        for thread in adding:
            thread.join(60)
        assert len(ids) == len(set(ids)) == 1600
        assert client.search("job", last=0)["count"] == 1600


def test_the_old_api(client: Client) -> None:
    api = SsApi(client)
    id = api.cimi_add("jobs", {"action": "old", "targetResource": {"href": "job"}}).json["resource-id"]
    found = api.cimi_search("jobs", filter=f"id='{id}'", select="id,targetResource", first=0)
    assert [job.target_resource["href"] for job in found.resources()] == ["job"]
    assert api.cimi_edit(id, {"statusMessage": "well"}).status_message == "well"
    assert api.cimi_get(id).time_of_status_change
    assert "http://schemas.dmtf.org/cimi/2/action/stop" in api.cimi_get(id).operations_by_name
    assert api.cimi_operation(id, "http://schemas.dmtf.org/cimi/2/action/stop").state == "STOPPED"
    assert api.cimi_delete(id).status == 200
    with pytest.raises(SlipStreamError) as caught:
        api.cimi_get(id)
    assert caught.value.response.status_code == 404
    assert api.cimi_search("jobs", last=0).count >= 0
