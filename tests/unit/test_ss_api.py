"""The old API over the new client, for actions that were written for SlipStream."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from geventjob.cimi.client import Client
from geventjob.cimi.errors import LoginRefused, ServerAway
from geventjob.cimi.ss_api import SlipStreamError, SsApi, snake
from geventjob.ends import JobLost
from tests.support.answering import Answering, Asked, Reply, answering
from tests.support.ports import free_port

JOB = {
    "id": "job/1",
    "resourceURI": "http://sixsq.com/slipstream/1/Job",
    "statusMessage": "well",
    "operations": [{"rel": "edit", "href": "job/1"}],
}
ENTRY = {"baseURI": "http://x/api/", "jobs": {"href": "job"}} | Answering.entry_point


def reply(asked: Asked) -> Reply:
    if asked.path == "/api/cloud-entry-point":
        return Reply(200, ENTRY)
    if asked.method == "PUT" and asked.path == "/api/job":
        return Reply(200, {"count": 7, "jobs": [JOB, {**JOB, "id": "job/2"}]})
    if asked.method == "POST" and asked.path == "/api/job":
        return Reply(201, {"status": 201, "resource-id": "job/9"})
    if asked.path == "/api/job/missing":
        return Reply(404, {"status": 404, "message": "job/missing not found"})
    if asked.path == "/api/job/broken":
        return Reply(500, {"status": 500, "message": "Unexpected exception thrown: x"})
    return Reply(200, JOB)


reply.entry_point = True  # type: ignore[attr-defined]


@pytest.fixture
def server() -> Iterator[Answering]:
    with answering(reply) as running:
        yield running


@pytest.fixture
def api(server: Answering) -> Iterator[SsApi]:
    with Client(server.url) as client:
        yield SsApi(client)


def test_a_resource_has_its_attributes_in_snake_case(api: SsApi) -> None:
    job = api.cimi_get("job/1", select="statusMessage")
    assert (job.id, job.status_message, job.json) == ("job/1", "well", JOB)
    assert job.resource_uri.endswith("/Job")
    assert job.operations_by_name["edit"]["href"] == "job/1"
    assert not hasattr(job, "return_code")
    assert "statusMessage: well" in str(job)


def test_a_search_gives_count_and_resources(api: SsApi, server: Answering) -> None:
    found = api.cimi_search("jobs", filter="state='QUEUED'", first=0, last=2, select=["id", "state"], other=1)
    assert found.count == 7
    assert [job.id for job in found.resources()] == ["job/1", "job/2"]
    assert [job.id for job in found.resources_list] == [job.id for job in found]
    assert server.asked[-1].form["$first"] == ["0"]
    assert "$other" not in server.asked[-1].form
    api.cimi_search("jobs")
    assert server.paths().count("GET /api/cloud-entry-point") == 1


def test_add_edit_delete_and_operation(api: SsApi, server: Answering) -> None:
    added = api.cimi_add("jobs", {"action": "a"})
    assert (added.status, added.json["resource-id"]) == (201, "job/9")
    assert api.cimi_edit("job/1", {"progress": 3}, select="name").json == JOB
    assert server.asked[-1].query == {"$select": ["name"]}
    assert api.cimi_delete("job/1").json == JOB
    assert api.cimi_operation("job/1", "http://schemas.dmtf.org/cimi/2/action/stop").id == "job/1"
    assert server.paths()[-1] == "POST /api/job/1/stop"


@pytest.mark.parametrize(("id", "status"), [("job/missing", 404), ("job/broken", 500)])
def test_what_the_server_says_against_it_is_one_kind_of_error(api: SsApi, id: str, status: int) -> None:
    with pytest.raises(SlipStreamError) as caught:
        api.cimi_get(id)
    assert caught.value.response.status_code == status
    assert caught.value.response.json()["status"] == status
    assert caught.value.reason in caught.value.response.text
    assert str(caught.value) == caught.value.reason


def test_an_action_that_catches_the_old_clients_error_catches_ours(api: SsApi) -> None:
    import slipstream.api

    with pytest.raises(slipstream.api.SlipStreamError, match="not found") as caught:
        api.cimi_get("job/missing")
    assert caught.value.response.status_code == 404


def test_no_answer_is_no_answer() -> None:
    with Client(f"http://127.0.0.1:{free_port()}", patience=0) as client, pytest.raises(ServerAway) as caught:
        SsApi(client).cimi_get("job/1")
    assert not isinstance(caught.value, SlipStreamError)


def test_a_refused_log_in_is_the_infrastructures(server: Answering) -> None:
    with Client(server.url, "alice", "wrong") as client, pytest.raises(LoginRefused):
        SsApi(client).cimi_get("job/1")


def test_an_unknown_type_is_named_as_before(api: SsApi) -> None:
    with pytest.raises(KeyError, match="Resource type 'nothing' not found"):
        api.cimi_search("nothing")


def test_nothing_leaves_when_the_check_raises(server: Answering) -> None:
    def lost() -> None:
        raise JobLost

    with Client(server.url) as client:
        api = SsApi(client, check=lost)
        for call in (
            lambda: api.cimi_get("job/1"),
            lambda: api.cimi_search("jobs"),
            lambda: api.cimi_add("jobs", {}),
            lambda: api.cimi_edit("job/1", {}),
            lambda: api.cimi_delete("job/1"),
            lambda: api.cimi_operation("job/1", "stop"),
        ):
            with pytest.raises(JobLost):
                call()  # type: ignore[no-untyped-call]
    assert not server.asked


def test_snake() -> None:
    assert [snake(n) for n in ("resourceURI", "timeOfStatusChange", "baseURI", "count", "resource-id")] == [
        "resource_uri",
        "time_of_status_change",
        "base_uri",
        "count",
        "resource-id",
    ]
