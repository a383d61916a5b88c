"""Live events over HTTP, over both stores: what a client sees, resumes, misses, and must not see."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from geventjob.coordination.member import about
from geventjob.server.http import connection_handler
from geventjob.server.watch import feed as feeds
from tests.support.callers import STORES, LocalServer, acl, local_server
from tests.support.event_stream import OpenStream
from tests.support.job_server import Caller, good, problem

OpenFor = Callable[..., OpenStream]


@pytest.fixture(scope="module", params=STORES)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with local_server(request.param, tmp_path_factory.mktemp("house")) as made:
        yield made


@pytest.fixture
def open_for() -> Iterator[OpenFor]:
    with contextlib.ExitStack() as opened:

        def open_(caller: Caller, last: str | None = None) -> OpenStream:
            stream = OpenStream(caller, last)
            opened.callback(stream.close)
            return stream

        yield open_


def test_a_stream_begins_with_a_reset_and_shows_each_change_of_a_job(here: LocalServer, open_for: OpenFor) -> None:
    stream = open_for(here.admin)
    assert stream.answer.headers["Content-Type"].startswith("text/event-stream")
    first = next(stream)
    assert (first.name, first.data) == ("reset", {"why": "begin"})
    id = here.admin.add(action="x", payload={"password": "hidden"}, tags=["t"])
    added = stream.job(id)
    assert added["state"] == "QUEUED"
    assert added["tags"] == ["t"]
    assert "payload" not in added
    good(here.admin.post(f"{id}/stop"))
    assert stream.job(id, state="STOPPED")["progress"] == 100
    good(here.admin.delete(id))
    assert id in stream.until("jobs").data["deleted"]


def test_bulk_operations_are_seen_too(here: LocalServer, open_for: OpenFor) -> None:
    stream = open_for(here.admin)
    next(stream)
    added = here.admin.bulk("add", jobs=[{"action": "bulk", "name": "b"}] * 3)["results"]
    ids = {one["resource-id"] for one in added}
    assert {job["id"] for job in stream.until("jobs").data["jobs"]} == ids
    good(here.admin.post("job/bulk-delete", {"filter": "name='b'"}))
    gone: list[str] = []
    while set(gone) != ids:
        gone += stream.until("jobs").data["deleted"]


def test_a_burst_comes_as_a_bounded_batch_that_says_so(
    here: LocalServer, open_for: OpenFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "MOST", 5)
    stream = open_for(here.admin)
    next(stream)
    here.admin.bulk("add", jobs=[{"action": "burst"}] * 8)
    batch = stream.until("jobs").data
    assert len(batch["jobs"]) == 5
    assert batch["more"] is True


def test_a_message_is_cut(here: LocalServer, open_for: OpenFor) -> None:
    stream = open_for(here.admin)
    next(stream)
    id = here.admin.add(statusMessage="long " * 1000)
    assert len(stream.job(id)["statusMessage"]) == feeds.MESSAGE_LENGTH


def test_a_user_sees_the_changes_of_their_own_jobs_alone(here: LocalServer, open_for: OpenFor) -> None:
    stream = open_for(here.known("alice"))
    next(stream)
    hidden = here.admin.add()
    shown = here.admin.add(acl=acl("alice", "VIEW"))
    good(here.admin.delete(hidden))
    good(here.admin.delete(shown))
    while shown not in (event := stream.until("jobs")).data["deleted"]:
        pass
    assert event.data["more"] is False
    assert hidden not in str(stream.seen)
    assert {one.name for one in stream.seen} == {"reset", "jobs"}


def test_the_fleet_and_the_queue_are_shown_to_a_viewer(here: LocalServer, open_for: OpenFor) -> None:
    stream = open_for(here.known("viewer", "VIEWER USER"))
    before = stream.until("queue").data["entries"]
    here.admin.bulk("add", jobs=[{"action": "queued"}] * 4)
    while stream.until("queue").data["entries"] != before + 4:
        pass
    here.coordination.announce("servers", about(url="http://here", actions=["long"]))
    while not (nodes := stream.until("nodes").data["nodes"]):
        pass
    assert nodes[0]["role"] == "server"
    assert "actions" not in nodes[0]


def test_a_stream_resumes_after_the_last_event(here: LocalServer, open_for: OpenFor) -> None:
    stream = open_for(here.admin)
    next(stream)
    stream.job(here.admin.add())
    last = stream.seen[-1].id
    stream.close()
    missed = here.admin.add(name="meanwhile")
    again = open_for(here.admin, last)
    assert again.job(missed)["name"] == "meanwhile"
    assert "reset" not in [event.name for event in again.seen]


@pytest.mark.parametrize("last", ["00000000-1", "nonsense", "00000000-99999999999999999999", "é"])
def test_an_unknown_place_begins_anew(here: LocalServer, open_for: OpenFor, last: str) -> None:
    assert next(open_for(here.admin, last.encode("latin-1").decode("latin-1"))).data == {"why": "begin"}


def test_a_client_that_is_too_slow_looks_anew_and_holds_up_nobody(
    here: LocalServer, open_for: OpenFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "KEPT", 10)
    slow, quick = open_for(here.admin), open_for(here.admin)
    next(slow)
    next(quick)
    last = slow.seen[-1].id
    slow.close()
    here.admin.bulk("add", jobs=[{"action": "flood"}] * 20)
    id = here.admin.add()
    assert quick.job(id) or quick.seen
    assert next(open_for(here.admin, last)).data == {"why": "missed"}


def test_a_client_that_reads_nothing_is_told_to_look_anew(here: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events fill the buffers of both ends; the server goes on, and the client hears `missed` when it reads."""
    monkeypatch.setattr(feeds, "KEPT", 300)
    monkeypatch.setattr(connection_handler, "STREAM_BUFFER", 4_096)
    cookie = "; ".join(f"{name}={value}" for name, value in here.admin.http.cookies.items())
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        slow.settimeout(20)
        slow.connect(("127.0.0.1", int(here.url.rpartition(":")[2])))
        slow.sendall(f"GET /api/events HTTP/1.1\r\nHost: here\r\nCookie: {cookie}\r\n\r\n".encode())
        text = slow.recv(1_000)
        jobs: list[dict[str, Any]] = [{"action": "flood", "tags": [f"{n:03}" + "t" * 40 for n in range(20)]}] * 250
        for _ in range(5):
            added = here.admin.bulk("add", jobs=jobs)["results"]
            assert {one["status"] for one in added} == {201}
            gevent.sleep(0.3)  # each batch of the stream fills more of the buffers
        while b'{"why":"missed"}' not in text:
            more = slow.recv(1 << 20)
            assert more, text[-300:]
            text = text[-20:] + more


def test_a_stream_ends_with_its_session(here: LocalServer, open_for: OpenFor) -> None:
    caller = here.user("leaving")
    stream = open_for(caller)
    next(stream)
    (session,) = [one["id"] for one in good(caller.get("session"))["sessions"]]
    good(here.log_in("leaving").get("session"))
    good(caller.delete(session))
    assert stream.until("end").data == {"why": "the session has ended"}
    with pytest.raises(StopIteration):
        next(stream)


def test_a_stream_ends_when_the_rights_change(here: LocalServer, open_for: OpenFor) -> None:
    stream = open_for(here.user("promoted"))
    next(stream)
    good(here.admin.put("user/promoted", {"roles": "VIEWER USER"}))
    assert stream.until("end").data == {"why": "the rights have changed"}


def test_a_stream_ends_with_its_key(here: LocalServer, open_for: OpenFor) -> None:
    key = here.key(here.admin)
    stream = open_for(here.bearer(key))
    next(stream)
    good(here.admin.delete(key[0]))
    assert stream.until("end").data == {"why": "the key is not valid any more"}


def test_anonymous_clients_have_no_stream(here: LocalServer) -> None:
    problem(Caller(here.url).get("events"), 403, "credentials required")


def test_streams_are_bounded(here: LocalServer, open_for: OpenFor, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = here.known("many")
    opened = [open_for(caller) for _ in range(10)]
    for stream in opened:
        next(stream)
    answer = caller.get("events")
    problem(answer, 503, "too many streams")
    assert answer.headers["Retry-After"]
    next(open_for(here.admin))
    opened[0].close()
    tries = 0
    while (stream := open_for(caller)).answer.status_code == 503:
        here.admin.add(acl=acl("many", "VIEW"))  # the server notices at its next event that the client has gone
        gevent.sleep(0.05)
        tries += 1
        assert tries < 200
