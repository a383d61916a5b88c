"""The client against a server without bulk operations: requests, their order, and failures."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from geventjob.cimi.client import Client
from geventjob.cimi.dialects import slipstream
from geventjob.cimi.errors import CimiError, Conflict, Forbidden, ForeignAnswer, Invalid, NotFound, Refused, ServerAway
from tests.support.answering import Answering, Asked, Reply, answering
from tests.support.ports import free_port

ENTRY = {"resourceURI": "http://schemas.dmtf.org/cimi/2/CloudEntryPoint", "jobs": {"href": "job"}}
BROKEN = Reply(500, {"status": 500, "message": "unexpected error occurred: mapping"})

Document = dict[str, Any]


class Jobs:
    """A server that knows these jobs. `special` answers a request of a method and path in its place."""

    entry_point = True

    def __init__(self, count: int = 0, **attributes: Any) -> None:
        self.jobs: dict[str, Document] = {
            f"job/{n}": {"id": f"job/{n}", "action": "a", "state": "QUEUED", **attributes} for n in range(count)
        }
        self.entry: Reply = Reply(200, ENTRY)
        self.special: dict[str, Callable[[Asked], Reply | None]] = {}
        self.together = self.most = 0

    def __call__(self, asked: Asked) -> Reply:
        path = asked.path.removeprefix("/api/")
        if path == "cloud-entry-point":
            return self.entry
        special = self.special.get(f"{asked.method} {path}", lambda asked: None)(asked)  # type: ignore[no-untyped-call]
        return special or self._usual(asked, path)

    def _usual(self, asked: Asked, path: str) -> Reply:
        if path == "job":
            return self._search(asked) if asked.method == "PUT" else self._add(asked)
        if path not in self.jobs:
            return Reply(404, {"status": 404, "message": f"{path} not found"})
        if asked.method == "DELETE":
            del self.jobs[path]
        elif asked.method == "PUT":
            self.jobs[path] |= asked.json
        return Reply(200, self.jobs.get(path, {}))

    def _add(self, asked: Asked) -> Reply:
        id = f"job/{len(self.jobs)}"
        self.jobs[id] = {**asked.json, "id": id, "state": "QUEUED"}
        return Reply(201, {"status": 201, "resource-id": id})

    def _search(self, asked: Asked) -> Reply:
        found = list(self.jobs.values())
        if "$filter" in asked.form and "id=" in asked.form["$filter"][0]:
            named = re.findall("id='([^']+)'", asked.form["$filter"][0])
            found = [job for job in found if job["id"] in named and job["state"] == "STOPPED"]
        return Reply(200, {"count": len(found), "jobs": found[: int(asked.form.get("$last", ["9"])[0])]})


def owned(id: str, fence: int = 1, **attributes: Any) -> Document:
    return {"id": id, "set": attributes, "entry": "/job/entries/e", "fence": fence, "executor": "me"}


def edits(count: int, **attributes: Any) -> list[Document]:
    return [owned(f"job/{n}", **(attributes or {"state": "RUNNING"})) for n in range(count)]


def paths(server: Answering) -> list[str]:
    """Return the paths of requests, without those of the entry point."""
    return [path for path in server.paths() if not path.endswith("cloud-entry-point")]


# --- edits


def test_an_edit_is_a_get_and_a_put() -> None:
    jobs = Jobs(1)
    with answering(jobs) as server, Client(server.url) as client:
        [running] = client.bulk_edit(edits(1), actions=["a"])
        assert isinstance(running, dict)
        assert (running["state"], running["attempts"], running["executor"]) == ("RUNNING", 1, "me")
        assert client.bulk_edit([{"id": "job/0", "set": {}, "delete": ["name"]}], answer="status") == [{"status": 200}]
    assert paths(server) == ["GET /api/job/0", "PUT /api/job/0"] * 2
    assert server.asked[-1].query == {"$select": ["name"]}


def test_each_stands_or_fails_alone() -> None:
    jobs = Jobs(6)
    jobs.jobs["job/2"]["action"] = "b"
    jobs.special["PUT job/3"] = lambda asked: Reply(403, {"status": 403, "message": "credentials required"})
    jobs.special["PUT job/4"] = lambda asked: BROKEN
    with answering(jobs) as server, Client(server.url, "alice", "secret") as client:
        results = client.bulk_edit([*edits(6), owned("job/9", state="RUNNING")], actions=["a"])
    kinds = [dict, dict, Conflict, Forbidden, ServerAway, dict, NotFound]
    assert [type(result) for result in results] == kinds
    assert isinstance(results[2], Conflict)
    assert results[2].reason == "action"
    assert jobs.jobs["job/2"] == {"id": "job/2", "action": "b", "state": "QUEUED"}


def test_those_of_one_job_are_made_in_their_order() -> None:
    jobs = Jobs(1)
    steps: list[Document] = [
        {"state": "RUNNING"},
        {"progress": 1},
        {"progress": 2},
        {"state": "SUCCESS"},
        {"progress": 3},
    ]
    with answering(jobs) as server, Client(server.url) as client:
        *well, late = client.bulk_edit([owned("job/0", **step) for step in steps])
    assert all(isinstance(result, dict) for result in well)
    assert isinstance(late, Conflict)
    assert (jobs.jobs["job/0"]["state"], jobs.jobs["job/0"]["progress"]) == ("SUCCESS", 2)


def test_what_follows_an_edit_that_failed_does_not_pass_it() -> None:
    jobs = Jobs(2)
    jobs.special["PUT job/0"] = lambda asked: BROKEN if "progress" in asked.json else None
    steps: list[Document] = [{"state": "RUNNING"}, {"progress": 1}, {"state": "SUCCESS"}]
    with answering(jobs) as server, Client(server.url) as client:
        results = client.bulk_edit([owned("job/0", **step) for step in steps] + [owned("job/1", state="RUNNING")])
    assert [type(result) for result in results] == [dict, ServerAway, ServerAway, dict]
    assert jobs.jobs["job/0"]["state"] == "RUNNING"


def test_several_at_once_and_no_more_than_allowed() -> None:
    jobs = Jobs(12)

    def slow(asked: Asked) -> None:
        jobs.together += 1
        jobs.most = max(jobs.most, jobs.together)
        time.sleep(0.05)
        jobs.together -= 1

    jobs.special = {f"{method} job/{n}": slow for method in ("GET", "PUT") for n in range(12)}
    with answering(jobs) as server, Client(server.url, connections=4) as client:
        assert all(isinstance(result, dict) for result in client.bulk_edit(edits(12)))
    assert jobs.most == 4


def test_an_edit_is_not_sent_when_its_claim_was_lost_meanwhile() -> None:
    """The process may freeze anywhere: between the two requests, or before the PUT is sent again."""
    jobs = Jobs(3)
    lost: set[str] = set()
    jobs.special["GET job/0"] = lambda asked: lost.add("job/0")

    def expired(asked: Asked) -> Reply:
        lost.add("job/1")
        return Reply(403, {"status": 403, "message": "credentials required"})

    jobs.special["PUT job/1"] = expired
    with answering(jobs) as server, Client(server.url, "alice", "secret") as client:
        first, second, well = client.bulk_edit(edits(3), held=lambda edit: edit["id"] not in lost)
    for result in (first, second):
        assert isinstance(result, Conflict)
        assert result.reason == "fence"
    assert isinstance(well, dict)
    sent = paths(server)
    assert (sent.count("PUT /api/job/0"), sent.count("PUT /api/job/1")) == (0, 1)


@pytest.mark.parametrize("size", [10, 100_000])
def test_an_edit_is_not_sent_when_its_claim_was_lost_while_a_connection_was_made(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    jobs = Jobs(1)
    connect = socket.create_connection
    done: list[str] = []

    def get(asked: Asked) -> Reply:
        done.append("GET")
        return Reply(200, jobs.jobs["job/0"], headers={"Connection": "close"})

    def slow(*arguments: Any, **options: Any) -> Any:
        made = connect(*arguments, **options)
        done.append("connected")
        return made

    def held(edit: Mapping[str, Any]) -> bool:
        done.append("held?")
        return done[-2] != "connected"

    jobs.special["GET job/0"] = get

    monkeypatch.setattr(socket, "create_connection", slow)
    with answering(jobs) as server, Client(server.url) as client:
        (refused,) = client.bulk_edit([owned("job/0", state="RUNNING", statusMessage="a" * size)], held=held)
    assert done[-4:] == ["GET", "held?", "connected", "held?"]
    assert isinstance(refused, Conflict)
    assert refused.reason == "fence"
    assert "PUT /api/job/0" not in paths(server)


# --- a proxy on the way


def test_what_a_proxy_refuses_of_one_job_is_no_verdict_and_holds_up_no_other() -> None:
    jobs = Jobs(3)
    jobs.special["PUT job/1"] = lambda asked: Reply(403, text=b"<html>blocked</html>")
    with answering(jobs) as server, Client(server.url, "alice", "secret") as client:
        results = client.bulk_edit(edits(3))
    assert [type(result) for result in results] == [dict, ForeignAnswer, dict]


def test_a_proxy_that_refuses_everything_is_a_server_that_is_away() -> None:
    def refuses(asked: Asked) -> Reply:
        return Reply(404, text=b"<html>no such site</html>")

    with answering(refuses) as server, Client(server.url) as client:
        server.entry_point = {**server.entry_point, "geventjob": None}
        del server.entry_point["geventjob"]
        with pytest.raises(ServerAway, match="answered 404"):
            client.bulk_edit(edits(2))


def test_one_edit_that_is_too_large_is_refused_for_its_size() -> None:
    jobs = Jobs(2)
    jobs.special["PUT job/0"] = lambda asked: Reply(413, text=b"<html>too large</html>")
    with answering(jobs) as server, Client(server.url) as client:
        large, well = client.bulk_edit(edits(2))
    assert isinstance(large, Invalid)
    assert large.status == 413
    assert isinstance(well, dict)


# --- a server that is away


def test_nobody_is_there() -> None:
    with Client(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(ServerAway, match="Connection refused"):
        client.bulk_edit(edits(3))


@pytest.mark.parametrize("status", [502, 503, 429])
def test_a_server_that_does_not_serve_is_asked_once(status: int) -> None:
    jobs = Jobs(20)
    for n in range(20):
        jobs.special[f"GET job/{n}"] = lambda asked: Reply(status, {"message": "later"})
    with (
        answering(jobs) as server,
        Client(server.url, connections=2) as client,
        pytest.raises(ServerAway, match="later"),
    ):
        client.bulk_edit(edits(20))
    assert len(paths(server)) <= 2


def test_it_goes_in_the_middle() -> None:
    jobs = Jobs(20)
    jobs.special["GET job/5"] = lambda asked: Reply(503, {"message": "later"})
    with answering(jobs) as server, Client(server.url, connections=1) as client:
        results = client.bulk_edit(edits(20))
    assert [isinstance(result, dict) for result in results] == [True] * 5 + [False] * 15
    assert all(isinstance(result, ServerAway) for result in results[5:])


def test_a_job_that_its_store_refuses_is_not_the_server() -> None:
    jobs = Jobs(1)
    jobs.special["PUT job/0"] = lambda asked: BROKEN
    with answering(jobs) as server, Client(server.url) as client:
        [result] = client.bulk_edit(edits(1))
        assert isinstance(result, ServerAway)
        jobs.special["PUT job"] = lambda asked: BROKEN
        with pytest.raises(ServerAway):
            client.bulk_edit(edits(1))


def test_another_server_may_come_back() -> None:
    jobs = Jobs(1)
    with answering(jobs) as server, Client(server.url) as client:
        assert client.dialect.name == "slipstream"
        jobs.special["GET job/0"] = lambda asked: Reply(503, {})
        with pytest.raises(ServerAway):
            client.bulk_edit(edits(1))
        jobs.entry = Reply(200, Answering.entry_point)
        jobs.special["POST job/bulk-edit"] = lambda asked: Reply(
            200, {"results": [{"status": 200, "job": {"id": "x"}}]}
        )
        assert client.bulk_edit(edits(1)) == [{"id": "x"}]
        assert client.dialect.name == "geventjob"


@pytest.mark.parametrize(
    "entry",
    [
        Reply(404, {"message": "no"}),
        Reply(200, {}),
        Reply(200, text=b"<html>"),
        Reply(503, {}),
        Reply(200, {"geventjob": 1}),
    ],
)
def test_what_is_no_cimi_server_is_away(entry: Reply) -> None:
    """Such a server is not one without our jobs: their entries would be removed from the queue."""
    jobs = Jobs(1)
    jobs.entry = entry
    with answering(jobs) as server, Client(server.url, patience=0) as client:
        for call in (lambda: client.bulk_edit(edits(1)), lambda: client.add("job", {"action": "a"})):
            with pytest.raises(ServerAway):
                call()
    assert not paths(server)


# --- adds


def test_an_add_has_nothing_that_is_ours() -> None:
    jobs = Jobs()
    with answering(jobs) as server, Client(server.url) as client:
        assert client.add("job", {"action": "a", "targetResource": {"href": "job"}}) == "job/0"
        [id, refused] = client.bulk_add([{"action": "a", "idempotencyKey": "k"}, {"action": "a", "payload": {}}])
    sent = [asked.json for asked in server.asked if asked.method == "POST"]
    assert sent == [{"action": "a", "targetResource": {"href": "job"}}, {"action": "a"}]
    assert id == "job/1"
    assert isinstance(refused, Invalid)
    assert len(paths(server)) == 2, "a job that is refused would be queued all the same"


def test_an_add_is_not_made_again_by_itself() -> None:
    jobs = Jobs()
    jobs.special["POST job"] = lambda asked: Reply(raw=lambda connection: None)
    with answering(jobs) as server, Client(server.url, patience=30) as client:
        with pytest.raises(ServerAway):
            client.add("job", {"action": "a"})
        with pytest.raises(ServerAway):
            client.bulk_add([{"action": "a"}])
    assert len(paths(server)) == 2


def test_what_was_added_under_a_key_is_not_added_again() -> None:
    """A distributor repeats a firing when some answers are unknown."""
    jobs = Jobs()
    lost = [Reply(503, {"message": "later"})]
    jobs.special["POST job"] = lambda asked: lost.pop() if lost and asked.json["description"] == "2" else None
    firing = [{"action": "a", "description": str(n), "idempotencyKey": f"d@1#{n}"} for n in range(4)]
    with answering(jobs) as server, Client(server.url, patience=0, connections=1) as client:
        with pytest.raises(ServerAway):
            client.bulk_add(firing)
        assert client.bulk_add(firing) == ["job/0", "job/1", "job/2", "job/3"]
    assert len(jobs.jobs) == 4


# --- the rest


def test_a_bulk_delete_finds_and_deletes_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slipstream, "PAGE", 100)
    jobs = Jobs(230)
    jobs.special["DELETE job/7"] = lambda asked: Reply(404, {"status": 404, "message": "job/7 not found"})
    with answering(jobs) as server, Client(server.url, connections=8) as client:
        assert client.bulk_delete("state='FAILED'") == 229
    assert list(jobs.jobs) == ["job/7"]
    searches = [asked.form for asked in server.asked if asked.path == "/api/job"]
    assert searches[0] == {"$filter": ["state='FAILED'"], "$last": ["100"], "$select": ["id"]}


def test_a_bulk_delete_that_is_forbidden_says_so() -> None:
    jobs = Jobs(3)
    jobs.special["DELETE job/1"] = lambda asked: Reply(403, {"status": 403, "message": "credentials required"})
    with (
        answering(jobs) as server,
        Client(server.url, "alice", "secret") as client,
        pytest.raises(Forbidden),
    ):
        client.bulk_delete("state='FAILED'")


def test_what_shall_stop_is_asked_for_by_pages_of_ids() -> None:
    jobs = Jobs(250)
    for n in (0, 120, 249):
        jobs.jobs[f"job/{n}"]["state"] = "STOPPED"
    with answering(jobs) as server, Client(server.url) as client:
        assert client.stopping("me", list(jobs.jobs)) == ["job/0", "job/120", "job/249"]
        assert client.stopping("me", []) == []
    assert len(paths(server)) == 3


def test_what_only_our_server_has_is_said_to_be_missing() -> None:
    jobs = Jobs()
    with answering(jobs) as server, Client(server.url) as client:
        calls: list[tuple[Callable[[], Any], str]] = [
            (client.nodes, "node"),
            (client.queue, "queue"),
            (client.reconcile, "queue/reconcile"),
            (lambda: client.log("job/0"), "job/0/log"),
            (lambda: client.record("job/0"), "job/0/record"),
            (lambda: client.stack("job/0"), "job/0/stack"),
        ]
        for call, what in calls:
            with pytest.raises(Refused, match=f"is a SlipStream server, which has no {what}$"):
                call()
        jobs.entry = Reply(200, Answering.entry_point)
    with answering(jobs) as server, Client(server.url) as client, pytest.raises(NotFound, match="node not found"):
        client.nodes()


def test_the_id_is_always_selected() -> None:
    jobs = Jobs(1)
    with answering(jobs) as server, Client(server.url) as client:
        client.get("job/0", select=["state"])
        client.get("job/0", select=["state", "id"])
        client.get("job/0", select=["*"])
        client.search("job", select="action,targetResource")
        client.search("job", select="id")
    asked = [asked.query.get("$select") or asked.form["$select"] for asked in server.asked]
    assert asked == [["state,id"], ["state,id"], ["*"], ["action,targetResource", "id"], ["id"]]


def test_garbage_is_an_error_of_ours() -> None:
    jobs = Jobs(1)
    for text in (b"", b"[]", b"null", b'{"jobs": 3}', b'{"count": null, "jobs": []}', b"{}"):
        jobs.special = {
            f"{what}": lambda asked, text=text: Reply(200, text=text)
            for what in ("GET job/0", "PUT job/0", "PUT job", "POST job", "DELETE job/0")
        }
        with answering(jobs) as server, Client(server.url, patience=0) as client:
            for call in (
                lambda client=client: client.bulk_edit(edits(1)),
                lambda client=client: client.bulk_delete("a=1"),
                lambda client=client: client.stopping("me", ["job/0"]),
                lambda client=client: client.add("job", {"action": "a"}),
            ):
                try:
                    call()  # type: ignore[no-untyped-call]
                except CimiError as error:
                    assert str(error)  # noqa: PT017
