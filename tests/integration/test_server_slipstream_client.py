"""The SlipStream client of PyPI works unchanged against a geventjob server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slipstream.api import Api
from slipstream.api.api import SlipStreamError

from tests.support.job_server import JobServer

STOP = "http://schemas.dmtf.org/cimi/2/action/stop"


def make(server: JobServer, folder: Path, **options: Any) -> Any:
    return Api(endpoint=server.url, cookie_file=str(folder / "cookies.txt"), **options)


@pytest.fixture
def api(server: JobServer, tmp_path: Path) -> Any:
    made = make(server, tmp_path)
    assert made.login_internal("super", server.password).status_code == 201
    return made


def test_who_is_logged_in(server: JobServer, api: Any, tmp_path: Path) -> None:
    assert api.is_authenticated()
    api._username = None
    assert api.username == "super"
    assert make(server, tmp_path).is_authenticated(), "the cookie file"
    api.logout()
    assert not api.is_authenticated()


def test_a_wrong_log_in_is_answered_not_raised(server: JobServer, tmp_path: Path) -> None:
    api = make(server, tmp_path)
    assert api.login_internal("super", "wrong").status_code == 403
    assert not api.is_authenticated()
    with pytest.raises(SlipStreamError, match="credentials required"):
        api.cimi_add("jobs", {"action": "a"})


def test_the_life_of_a_job(api: Any) -> None:
    added = api.cimi_add("jobs", {"action": "from_slipstream", "targetResource": {"href": "dummy"}})
    id = added.json["resource-id"]
    assert added.json["status"] == 201
    assert api.cimi_get(id).state == "QUEUED"
    assert api.cimi_get(id, select="state").json["state"] == "QUEUED"
    assert api.cimi_edit(id, {"state": "RUNNING"}).state == "RUNNING"
    edited = api.cimi_edit(id, {"statusMessage": "half way", "progress": 50})
    assert (edited.status_message, edited.progress) == ("half way", 50)
    assert "statusMessage" not in api.cimi_edit(id, {}, select="statusMessage").json

    assert api.cimi_operation(id, STOP).state == "STOPPING"
    assert api.cimi_edit(id, {"state": "STOPPED"}).json["progress"] == 100
    with pytest.raises(SlipStreamError) as refused:
        api.cimi_edit(id, {"state": "SUCCESS"})
    assert refused.value.response.status_code == 409
    assert api.cimi_delete(id).json["message"] == f"{id} deleted"
    with pytest.raises(SlipStreamError) as missing:
        api.cimi_get(id)
    assert missing.value.reason == f"{id} not found"


def test_searches(api: Any) -> None:
    ids = {api.cimi_add("jobs", {"action": "searched", "priority": n}).json["resource-id"] for n in range(3)}
    assert api.cimi_search("jobs").count >= 3
    found = api.cimi_search("jobs", filter="action='searched'", orderby="priority:desc", select=["id", "priority"])
    assert found.count == 3
    assert [job.json["priority"] for job in found.resources_list] == [2, 1, 0]
    assert {job.id for job in found} == ids
    assert api.cimi_search("jobs", filter="action='searched'", first=1, last=2).count == 3
    assert api.cimi_search("jobs", filter="action='searched' and created>'now-1h'", last=0).count == 3
    assert api.cimi_search("jobs", filter="action='nowhere'").count == 0
    counted = api.cimi_search("jobs", filter="action='searched'", last=0, aggregation="terms:state")
    assert counted.aggregations["terms:state"]["buckets"] == [{"key": "QUEUED", "doc_count": 3}]


def test_it_logs_in_again_by_itself(server: JobServer, tmp_path: Path) -> None:
    creds = {"username": "super", "password": server.password}
    api = make(server, tmp_path, reauthenticate=True, login_creds=creds)
    assert api.cimi_search("jobs").count >= 0
    api.session.delete(f"{server.url}/api/{api.current_session()}")
    assert api.cimi_search("jobs").count >= 0


def test_a_log_in_by_key(server: JobServer, api: Any, tmp_path: Path) -> None:
    template = {"href": "credential-template/generate-api-key", "ttl": 600}
    made = api.cimi_add("credentials", {"name": "slipstream", "credentialTemplate": template}).json
    key, secret = made["resource-id"], made["secretKey"]
    (tmp_path / "robot").mkdir()
    robot = make(server, tmp_path / "robot")
    assert robot.login_apikey(key, secret[:-1]).status_code == 403
    assert not robot.is_authenticated()
    assert robot.login_apikey(key, secret).status_code == 201
    assert robot.username == "super"
    assert robot.cimi_add("jobs", {"action": "by_key"}).json["status"] == 201
    assert [found.id for found in api.cimi_search("credentials", filter="name='slipstream'")] == [key]
    api.cimi_delete(key)
    assert not robot.is_authenticated()
    with pytest.raises(SlipStreamError, match="credentials required"):
        robot.cimi_search("jobs")
