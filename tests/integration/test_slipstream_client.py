"""The stand-in for SlipStream's server behaves like the original: SlipStream's client of PyPI works unchanged.

`geventjob.Client` works too, one request after the other, in a process without monkey-patching.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slipstream.api import Api
from slipstream.api.api import SlipStreamError

from geventjob.cimi.errors import Conflict, Invalid, NotFound
from tests.support.fleet import until
from tests.support.job_server import Caller, good
from tests.support.slipstream_fleet import SlipStreamFleet, slipstream_fleet
from tests.support.slipstream_server import PASSWORD, STOP
from tests.support.zookeeper import shared


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlipStreamFleet]:
    with slipstream_fleet(tmp_path_factory.mktemp("slipstream"), shared().hosts) as made:
        made.serve()
        yield made


@pytest.fixture
def api(engine: SlipStreamFleet, tmp_path: Path) -> Any:
    made = Api(endpoint=engine.url, cookie_file=str(tmp_path / "cookies.txt"), insecure=True)
    assert made.login_internal("super", PASSWORD).status_code == 201
    return made


@pytest.fixture
def http(engine: SlipStreamFleet) -> Caller:
    caller = Caller(engine.url)
    log_in(caller)
    return caller


def log_in(caller: Caller) -> None:
    """Let the client send its Secure cookie over plain HTTP."""
    caller.http.headers["Cookie"] = caller.login("super", PASSWORD).headers["Set-Cookie"].partition(";")[0]


def test_its_own_client(api: Any, engine: SlipStreamFleet) -> None:
    assert api.is_authenticated()
    id = api.cimi_add("jobs", {"action": "a", "targetResource": {"href": "dummy"}, "priority": 7}).json["resource-id"]
    job = api.cimi_get(id)
    assert (job.state, job.json["priority"], job.json["properties"]) == (
        "QUEUED",
        7,
        {"zookeeper-path": f"/job/entries/{engine.entries()[0]}"},
    )
    assert engine.entries()[0].startswith("entry-007-")
    assert engine.zookeeper.get(job.json["properties"]["zookeeper-path"])[0] == id.encode()
    running = api.cimi_edit(id, {"state": "RUNNING", "statusMessage": "m"}).json
    assert "priority" not in running
    assert "operations" not in running
    assert {"started", "timeOfStatusChange"} <= set(running)
    assert api.cimi_operation(id, STOP).state == "STOPPED"
    done = api.cimi_edit(id, {"state": "SUCCESS"}).json
    assert (done["state"], done["progress"], done["duration"]) == ("SUCCESS", 100, 0)
    assert api.cimi_edit(id, {"state": "QUEUED"}).state == "QUEUED"
    found = api.cimi_search("jobs", filter=f"id='{id}' and created>'now-1h'", aggregation="terms:state", first=0)
    assert (found.count, found.aggregations["terms:state"]["buckets"][0]["key"]) == (1, "QUEUED")
    api.cimi_delete(id)
    assert engine.entries()[0].startswith("entry-007-"), "nobody takes it out"
    with pytest.raises(SlipStreamError, match="not found"):
        api.cimi_get(id)
    api.logout()
    assert not api.is_authenticated()


def test_its_oddities(http: Caller, engine: SlipStreamFleet) -> None:
    before = len(engine.entries())
    assert http.post("job", {"action": "a", "payload": {}}).status_code == 400
    assert http.post("job", {"action": "a", "priority": "x"}).status_code == 500
    assert len(engine.entries()) == before + 1, "the entry comes before the schema"
    id = http.add(action="a")
    assert http.put(id, {"statusMessage": None}).status_code == 400
    assert http.put(id, {"affectedResources": []}).status_code == 400
    bare = good(http.get(f"{id}?$select=state"))
    assert {"acl", "resourceURI", "state", "operations"} == set(bare)
    assert [each["href"] for each in bare["operations"]] == [None, None, "/stop"]
    assert http.post("job/bulk-edit", {}).status_code == 405
    assert http.get("nosuch").status_code == 405
    assert http.get("job/1/bulk").status_code == 404
    none = http.search("job", filter=f"id='{id}'", last=0)
    assert (none["count"], none["jobs"], none["operations"]) == (1, [], [{"rel": "add", "href": "job"}])
    assert http("PUT", "job", data={"$filter": "state=="}).status_code == 400
    anonymous = Caller(engine.url)
    assert anonymous.get("job").status_code == 403
    assert anonymous.get(id).status_code == 403
    assert anonymous.get("job/missing").status_code == 404
    assert anonymous.login("super", "wrong").status_code == 403
    cookie = anonymous.login("super", PASSWORD).headers["Set-Cookie"]
    assert re.fullmatch(r"com\.sixsq\.slipstream\.cookie=token=\S+;Secure;Path=/;Expires=.* \+0000", cookie)


def test_a_session_ends_and_its_cookie_means_nobody(tmp_path: Path) -> None:
    with slipstream_fleet(tmp_path, shared().hosts) as made:
        made.serve("--cookie-life", "0.5")
        caller = Caller(made.url)
        log_in(caller)
        assert caller.get("job").status_code == 200
        until(lambda: caller.get("job").status_code == 403, 5)


def test_our_client_in_a_process_that_is_not_patched(engine: SlipStreamFleet) -> None:
    client = engine.client()
    ids = client.bulk_add([{"action": "many"}] * 5)
    assert all(isinstance(id, str) for id in ids)
    steps: list[dict[str, Any]] = [
        {"id": id, "set": {"state": "RUNNING"}, "entry": "e", "fence": 1, "executor": "me"} for id in ids
    ]
    steps[3]["set"] = {"payload": {}}
    steps.append({**steps[0], "id": "job/00000000-0000-0000-0000-000000000000"})
    started = time.monotonic()
    *well, refused, last, missing = client.bulk_edit(steps, actions=["many"])
    assert time.monotonic() - started < 10
    assert all(isinstance(job, dict) and job["attempts"] == 1 for job in [*well, last])
    assert isinstance(refused, Invalid)
    assert isinstance(missing, NotFound)
    [other] = client.bulk_edit([{**steps[1], "executor": "other", "set": {"progress": 3}}])
    assert isinstance(other, Conflict)
    assert other.reason == "fence"
    page = client.search("job", filter="action='many'", select="state", orderby="created")
    assert {job["id"] for job in page["jobs"]} == set(ids)
    assert client.operation(str(ids[0]), "stop")["state"] == "STOPPED"
    assert client.stopping("me", [str(id) for id in ids]) == [ids[0]]
    assert client.bulk_delete("action='many'") == 5
