"""The client against a real server that fails in many ways."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from geventjob.cimi import bulk, transport
from geventjob.cimi.client import Client
from geventjob.cimi.document import COOKIE
from geventjob.cimi.errors import (
    CimiError,
    Conflict,
    Forbidden,
    ForeignAnswer,
    Invalid,
    LoginRefused,
    NotFound,
    Refused,
    ServerAway,
)
from tests.support.answering import Answering, Asked, Reply, answering
from tests.support.ports import free_port

JOB = {"id": "job/1", "state": "QUEUED", "action": "a"}


def alice(server: Answering | str, **options: object) -> Client:
    url = server if isinstance(server, str) else server.url
    return Client(url, "alice", "secret", **{"patience": 0, "timeout": (2, 2), **options})  # type: ignore[arg-type]


def always(*args: object, **kwargs: object) -> Callable[[Asked], Reply]:
    return lambda asked: Reply(*args, **kwargs)  # type: ignore[arg-type]


# --- what is sent


def test_a_job_is_got_edited_stopped_and_deleted_by_its_paths() -> None:
    with answering(always(200, JOB)) as server, alice(server) as client:
        assert client.get("job/1", select=["id", "state"]) == JOB
        assert client.edit("job/1", {"name": "n"}, delete=["description"]) == JOB
        assert client.operation("job/1", "http://schemas.dmtf.org/cimi/2/action/stop") == JOB
        assert client.operation("job/1", "stop") == JOB
        client.delete("job/1")
    assert server.paths() == [
        "POST /api/session",
        "GET /api/job/1",
        "PUT /api/job/1",
        "POST /api/job/1/stop",
        "POST /api/job/1/stop",
        "DELETE /api/job/1",
    ]
    assert server.asked[1].query == {"$select": ["id,state"]}
    assert server.asked[2].query == {"$select": ["description"]}
    assert server.asked[2].json == {"name": "n"}


def test_a_search_is_a_form_and_an_empty_one_has_no_body() -> None:
    with answering(always(200, {"count": 0, "jobs": []})) as server, alice(server) as client:
        client.search("job", filter='state="QUEUED"', last=0, select=["id", "state"], orderby=None)
        assert client.search("job")["count"] == 0
    assert server.asked[1].form == {"$filter": ['state="QUEUED"'], "$last": ["0"], "$select": ["id", "state"]}
    assert server.asked[2].body == b""
    assert server.asked[2].headers.get("Content-Type") is None


@pytest.mark.parametrize("id", ["job/../user/x", "", "job//1", "job/."])
def test_an_id_that_leads_elsewhere_is_not_sent(id: str) -> None:
    with answering(always(200, JOB)) as server, alice(server) as client, pytest.raises(ValueError, match="no id"):
        client.get(id)
    assert not server.asked


def test_a_strange_id_is_quoted() -> None:
    with answering(always(200, JOB)) as server, Client(server.url) as client:
        client.get("user/a b?c#d")
    assert server.paths() == ["GET /api/user/a%20b%3Fc%23d"]


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "ftp://h", "http://", "http://h:99999", "http://h?x=1"])
def test_a_url_that_cannot_be_one_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"http://host|ort"):
        Client(url)


def test_no_password_is_shown_anywhere() -> None:
    def repeat(asked: Asked) -> Reply:
        return Reply(403, {"message": "no"})

    repeat.logins = True  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="user or password") as refused:
        Client("http://alice:hidden@host")
    with answering(repeat) as server, Client(server.url, "alice", "hidden", patience=0) as client:
        with pytest.raises(LoginRefused) as login:
            client.get("job/1")
        shown = [repr(client), repr(client._session._login), repr(login.value), str(login.value), str(refused.value)]
    assert "hidden" not in " ".join(shown)


# --- logging in


def test_it_logs_in_on_first_need_and_keeps_the_session() -> None:
    with answering(always(200, JOB)) as server, alice(server) as client:
        assert not server.asked
        client.get("job/1")
        client.get("job/1")
    assert server.paths() == ["POST /api/session", "GET /api/job/1", "GET /api/job/1"]
    assert server.asked[0].json == {
        "sessionTemplate": {"href": "session-template/internal", "username": "alice", "password": "secret"}
    }
    assert [a.headers.get("Cookie") for a in server.asked] == [None, f"{COOKIE}=token=t1", f"{COOKIE}=token=t1"]


@pytest.mark.parametrize("status", [401, 403])
def test_it_logs_in_again_when_its_session_has_ended(status: int) -> None:
    def reply(asked: Asked) -> Reply:
        good = asked.headers.get("Cookie") == f"{COOKIE}=token=t{server.sessions}" and server.sessions != 1
        return Reply(200, JOB) if good else Reply(status, {"message": "credentials required"})

    with answering(reply) as server, alice(server) as client:
        assert client.get("job/1") == JOB
    assert server.paths() == ["POST /api/session", "GET /api/job/1"] * 2


def test_a_403_that_stays_is_forbidden_after_one_more_log_in() -> None:
    with (
        answering(always(403, {"message": "credentials required"})) as server,
        alice(server) as client,
        pytest.raises(Forbidden, match="credentials required"),
    ):
        client.get("job/1")
    assert server.sessions == 2


def test_a_session_past_its_time_is_not_used_whatever_this_machines_clock_says() -> None:
    """The cookie lives for two seconds by the clock of the server, which is years behind."""

    def reply(asked: Asked) -> Reply:
        if asked.path != "/api/session":
            return Reply(200, JOB)
        old = "Tue, 02 Apr 2019 08:15:30"
        cookie = f"{COOKIE}=token=x;Secure;Path=/;Expires=Tue, 02 Apr 2019 08:15:30 +0000".replace(":30", ":31")
        return Reply(201, {}, headers={"Set-Cookie": cookie, "Date": f"{old} GMT"})

    reply.logins = True  # type: ignore[attr-defined]
    with answering(reply) as server, alice(server) as client:
        client.get("job/1")
        client.get("job/1")
        login = client._session._login
        assert login is not None
        assert 0 < login.until - time.monotonic() < 1.1
        assert server.paths().count("POST /api/session") == 1
        while time.monotonic() < login.until:
            time.sleep(0.01)
        client.get("job/1")
        assert server.paths().count("POST /api/session") == 2


def test_many_at_once_log_in_once() -> None:
    expired = threading.Event()

    def reply(asked: Asked) -> Reply:
        good = asked.headers.get("Cookie") == f"{COOKIE}=token=t{2 if expired.is_set() else 1}"
        return Reply(200, JOB) if good else Reply(403, {"message": "credentials required"})

    with answering(reply) as server, alice(server) as client, ThreadPoolExecutor(8) as pool:
        list(pool.map(client.get, ["job/1"] * 20))
        assert server.sessions == 1
        expired.set()
        list(pool.map(client.get, ["job/1"] * 20))
    assert server.sessions == 2


def test_a_wrong_password_is_told_in_the_servers_words_and_not_tried_again() -> None:
    with (
        answering(always(200, JOB)) as server,
        Client(server.url, "alice", "wrong", patience=30) as client,
        pytest.raises(LoginRefused, match="log-in refused: invalid credentials for 'alice'"),
    ):
        client.add("job", {"action": "a"})
    assert server.paths() == ["POST /api/session"]


def test_without_a_user_it_stays_anonymous_and_says_so() -> None:
    with (
        answering(always(403, {"message": "credentials required"})) as server,
        Client(server.url) as client,
        pytest.raises(LoginRefused, match="credentials required: no user was given"),
    ):
        client.get("job/1")
    assert server.paths() == ["GET /api/job/1"]


def test_a_log_in_at_what_is_no_cimi_server() -> None:
    def page(asked: Asked) -> Reply:
        return Reply(200, text=b"<html>hello</html>")

    page.logins = True  # type: ignore[attr-defined]
    with answering(page) as server, alice(server) as client, pytest.raises(ServerAway, match="is this a CIMI server"):
        client.get("job/1")


# --- refusals


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Invalid), (404, NotFound), (405, Refused), (409, Conflict), (413, Invalid)]
)
def test_a_refusal_has_its_type_and_the_servers_words(status: int, kind: type[Refused]) -> None:
    body = {"status": status, "message": "because", "reason": "final", "job": JOB}
    with answering(always(status, body)) as server, alice(server) as client, pytest.raises(kind) as caught:
        client.get("job/1")
    error = caught.value
    assert (error.status, error.message, error.reason, error.job) == (status, "because", "final", JOB)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422])
@pytest.mark.parametrize("text", [b"<html>no\n entry</html>", b'{"message": "no entry"}', b'{"status": 200}', b""])
def test_a_4xx_of_a_proxy_is_no_verdict(status: int, text: bytes) -> None:
    """Except on the size: the same request would be refused again."""
    with answering(always(status, text=text)) as server, alice(server) as client:
        with pytest.raises(CimiError) as caught:
            client.get("job/1")
        with pytest.raises(CimiError):
            client.add("job", {"action": "a"})
    assert isinstance(caught.value, Invalid if status == 413 else ForeignAnswer)
    assert f"answered {status}" in str(caught.value)
    assert "no entry" in str(caught.value) or b"no" not in text
    assert server.sessions == 1  # no new log-in after an answer of a proxy
    assert not isinstance(caught.value, LoginRefused)


def test_a_proxy_that_refuses_the_log_in_is_away() -> None:
    def page(asked: Asked) -> Reply:
        return Reply(403, text=b"<html>blocked</html>")

    page.logins = True  # type: ignore[attr-defined]
    with answering(page) as server, alice(server) as client, pytest.raises(ServerAway, match="blocked"):
        client.get("job/1")


def test_a_refused_log_in_is_no_server_that_is_away() -> None:
    assert not issubclass(LoginRefused, ServerAway)
    assert LoginRefused("no", status=403).status == 403


# --- a server that is away


def test_nobody_listens() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with alice(url) as client, pytest.raises(ServerAway, match=f"^{url}: Connection refused$"):
        client.get("job/1")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_away_by_status_with_what_the_server_asked_for(status: int) -> None:
    reply = always(status, {"message": "later"}, headers={"Retry-After": "7"})
    with (
        answering(reply) as server,
        alice(server) as client,
        pytest.raises(ServerAway, match=f"answered {status}: later") as caught,
    ):
        client.get("job/1")
    assert (caught.value.retry_after, caught.value.status) == (7.0, status)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Tue, 02 Apr 2019 08:15:40 GMT", 10.0),
        ("Tue, 02 Apr 2019 08:15:20 GMT", 0.0),
        ("soon", None),
        ("-3", None),
        ("9" * 400, None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(text: str, seconds: float | None) -> None:
    headers = {"Retry-After": text, "Date": "Tue, 02 Apr 2019 08:15:30 GMT"}
    with (
        answering(always(503, {}, headers=headers)) as server,
        alice(server) as client,
        pytest.raises(ServerAway) as caught,
    ):
        client.get("job/1")
    assert caught.value.retry_after == seconds


def test_a_slow_answer_is_given_up() -> None:
    def reply(asked: Asked) -> Reply:
        done.wait(10)
        return Reply(200, JOB)

    done = threading.Event()
    with answering(reply) as server, alice(server, timeout=(2, 0.2)) as client:
        with pytest.raises(ServerAway, match=r"no answer within 0\.2 s"):
            client.get("job/1")
        done.set()


def trickle(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(1000):
        connection.sendall(b" ")
        time.sleep(0.02)


def test_an_answer_that_trickles_is_given_up() -> None:
    started = time.monotonic()
    with (
        answering(always(raw=trickle)) as server,
        Client(server.url, timeout=(2, 0.5)) as client,
        pytest.raises(ServerAway, match=r"did not end within 2 s"),
    ):
        client.get("job/1")
    assert time.monotonic() - started < 5


def test_an_answer_without_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    monkeypatch.setattr(transport, "LIMIT", 2 * 1024**2)
    with (
        answering(always(raw=flood)) as server,
        Client(server.url) as client,
        pytest.raises(CimiError, match="longer than 2 MB") as caught,
    ):
        client.get("job/1")
    assert not isinstance(caught.value, ServerAway)


def test_a_compressed_bomb_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip

    bomb = gzip.compress(b" " * 30 * 1024**2)
    monkeypatch.setattr(transport, "LIMIT", 2 * 1024**2)
    with (
        answering(always(200, text=bomb, headers={"Content-Encoding": "gzip"})) as server,
        Client(server.url) as client,
        pytest.raises(CimiError, match="longer than 2 MB"),
    ):
        client.get("job/1")


@pytest.mark.parametrize(
    "half", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]
)
def test_a_connection_that_breaks_is_away(half: bytes) -> None:
    with (
        answering(always(raw=lambda connection: connection.sendall(half))) as server,
        Client(server.url) as client,
        pytest.raises(ServerAway),
    ):
        client.get("job/1")


@pytest.mark.parametrize("text", [b"<html>", b"", b"[1]", b'{"count": null, "jobs": []}', b'{"jobs": []}', b"\xff\xfe"])
def test_an_answer_of_another_shape_is_away_in_words(text: bytes) -> None:
    with (
        answering(always(200, text=text)) as server,
        Client(server.url) as client,
        pytest.raises(ServerAway, match=r"no JSON|not CIMI's"),
    ):
        client.search("job")


def test_every_method_survives_garbage() -> None:
    calls: list[Callable[[Client], object]] = [
        lambda c: c.get("job/1"),
        lambda c: c.add("job", {"action": "a"}),
        lambda c: c.add("user", {}),
        lambda c: c.edit("job/1", {}),
        lambda c: c.delete("job/1"),
        lambda c: c.operation("job/1", "stop"),
        lambda c: c.search("job"),
        lambda c: c.bulk_add([{"action": "a"}]),
        lambda c: c.bulk_edit([{"id": "job/1"}]),
        lambda c: c.bulk_delete("state=1"),
        lambda c: c.nodes(),
        lambda c: c.queue(),
    ]
    for text in (b"", b"[]", b"null", b'"x"', b'{"results":[{"status":"x"}],"nodes":[1],"deleted":"no"}'):
        with answering(always(200, text=text)) as server, Client(server.url, patience=0) as client:
            for call in calls:
                try:
                    assert isinstance(call(client), dict)  # {"results": …} is a document too
                except CimiError as error:
                    assert str(error)  # noqa: PT017


def test_a_redirect_is_not_followed_with_credentials() -> None:
    def elsewhere(asked: Asked) -> Reply:
        return Reply(302, {}, headers={"Location": f"{other.url}/api/job/1"})

    with (
        answering(always(200, JOB)) as other,
        answering(elsewhere) as server,
        alice(server) as client,
        pytest.raises(ServerAway, match="no redirect is followed"),
    ):
        client.get("job/1")
    assert not other.asked


def test_healthy_never_raises() -> None:
    with answering(always(200, text=b"ok")) as server, alice(server) as client:
        assert client.healthy()
        assert server.paths() == ["GET /healthz"]
        server.reply = always(503, text=b"the store is away")
        assert not client.healthy()
    with alice(f"http://127.0.0.1:{free_port()}") as client:
        assert not client.healthy()


def test_a_proxy_of_the_environment_is_used_but_not_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(always(200, JOB)) as server:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
        monkeypatch.delenv("no_proxy", raising=False)
        with Client(server.url) as client:
            assert client.get("job/1") == JOB
        monkeypatch.setenv("http_proxy", server.url)
        with Client("http://far-away.invalid") as client:
            assert client.get("job/2") == JOB
    assert server.asked[1].headers["Host"] == "far-away.invalid"


def test_no_netrc_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with answering(always(200, JOB)) as server, Client(server.url) as client:
        client.get("job/1")
    assert "Authorization" not in server.asked[0].headers


# --- several addresses


def test_a_dead_address_is_passed_over_and_a_good_one_kept() -> None:
    with answering(always(200, JOB)) as server, alice(f"http://127.0.0.1:{free_port()}, {server.url}/") as client:
        assert client.get("job/1") == JOB
        assert client._session.transport._current == 1
        assert client.get("job/1") == JOB


def test_all_addresses_dead_are_all_named() -> None:
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    with alice(",".join(urls)) as client, pytest.raises(ServerAway) as caught:
        client.get("job/1")
    assert all(url in str(caught.value) for url in urls)


def test_after_a_5xx_the_next_address_is_asked() -> None:
    with (
        answering(always(503, {})) as ill,
        answering(always(200, JOB)) as well,
        Client(f"{ill.url},{well.url}") as client,
    ):
        with pytest.raises(ServerAway):
            client.get("job/1")
        assert client.get("job/1") == JOB


def test_an_idle_connection_that_the_server_closed_costs_nothing() -> None:
    """Every second request meets a connection that ends without an answer."""

    def reply(asked: Asked) -> Reply:
        turn[0] += 1
        return Reply(200, JOB) if turn[0] % 2 == 0 else Reply(raw=lambda connection: None)

    turn = [0]
    with answering(reply) as server, Client(server.url) as client:
        assert [client.get("job/1") for _ in range(3)] == [JOB] * 3
        assert len(server.asked) == 6
        with pytest.raises(ServerAway):  # a request that is not repeatable is not repeated
            client.delete("job/1")
        assert len(server.asked) == 7


def test_connections_are_kept_and_no_more_than_allowed() -> None:
    together, most = [0], [0]

    def reply(asked: Asked) -> Reply:
        together[0] += 1
        most[0] = max(most[0], together[0])
        time.sleep(0.02)
        together[0] -= 1
        return Reply(200, JOB)

    with answering(reply) as server, Client(server.url, connections=3) as client, ThreadPoolExecutor(12) as pool:
        list(pool.map(client.get, ["job/1"] * 24))
    assert most[0] == 3
    assert server.connections == 3


# --- adding


def test_an_add_is_tried_again_with_the_same_key() -> None:
    def reply(asked: Asked) -> Reply:
        turns.append(asked)
        if len(turns) < 3:
            return Reply(503, {"message": "starting"}) if len(turns) == 1 else Reply(raw=lambda connection: None)
        return Reply(201, {"status": 201, "resource-id": "job/1"})

    turns: list[Asked] = []
    with answering(reply) as server, Client(server.url, patience=10) as client:
        assert client.add("job", {"action": "a"}) == "job/1"
    assert len(turns) == 3
    assert len({asked.json["idempotencyKey"] for asked in turns}) == 1
    assert turns[0].json["action"] == "a"


def test_a_key_of_ones_own_is_kept_and_two_adds_have_two_keys() -> None:
    with answering(always(201, {"resource-id": "job/1"})) as server, Client(server.url) as client:
        client.add("job", {"action": "a", "idempotencyKey": "mine"})
        client.add("job", {"action": "a"})
        client.add("job", {"action": "a"})
        client.add("user", {"username": "u"})
    keys = [asked.json.get("idempotencyKey") for asked in server.asked]
    assert keys[0] == "mine"
    assert len(set(keys[:3])) == 3
    assert keys[3] is None


def test_patience_has_an_end() -> None:
    with alice(f"http://127.0.0.1:{free_port()}", patience=0.5) as client:
        started = time.monotonic()
        with pytest.raises(ServerAway):
            client.add("job", {"action": "a"})
        assert 0.5 <= time.monotonic() - started < 5


def test_a_refused_add_is_not_tried_again() -> None:
    with (
        answering(always(400, {"message": "action is missing"})) as server,
        Client(server.url, patience=30) as client,
        pytest.raises(Invalid),
    ):
        client.add("job", {})
    assert len(server.asked) == 1


# --- many at once


def added(asked: Asked) -> Reply:
    return Reply(200, {"results": [{"status": 201, "resource-id": f"job/{job['n']}"} for job in asked.json["jobs"]]})


def test_bulk_add_cuts_pages_by_count() -> None:
    with answering(added) as server, Client(server.url) as client:
        ids = client.bulk_add({"action": "a", "n": n} for n in range(2500))
    assert ids == [f"job/{n}" for n in range(2500)]
    assert [len(asked.json["jobs"]) for asked in server.asked] == [1000, 1000, 500]


def test_bulk_add_cuts_pages_by_size_and_refuses_one_item_alone() -> None:
    jobs = [{"n": n, "payload": {"x": "y" * 250_000}} for n in range(40)]
    jobs[7]["payload"] = {"x": "y" * 4_000_000}
    with answering(added) as server, Client(server.url) as client:
        ids = client.bulk_add(jobs)
    assert [id for i, id in enumerate(ids) if i != 7] == [f"job/{n}" for n in range(40) if n != 7]
    assert isinstance(ids[7], Invalid)
    assert ids[7].status == 413
    assert all(len(asked.body) < 4_000_000 for asked in server.asked)
    assert len(server.asked) == 3


def test_bulk_add_tries_again_only_what_the_server_could_not_do() -> None:
    def reply(asked: Asked) -> Reply:
        first = len(server.asked) == 1
        results = []
        for job in asked.json["jobs"]:
            if job["n"] == 1:
                results.append({"status": 400, "message": "bad"})
            elif job["n"] == 2 and first:
                results.append({"status": 503, "message": "later"})
            else:
                results.append({"status": 201, "resource-id": f"job/{job['n']}"})
        return Reply(200, {"results": results})

    with answering(reply) as server, Client(server.url, patience=5) as client:
        ids = client.bulk_add([{"n": n} for n in range(4)])
    assert isinstance(ids[1], Invalid)
    assert [ids[0], *ids[2:]] == ["job/0", "job/2", "job/3"]
    assert [[job["n"] for job in asked.json["jobs"]] for asked in server.asked] == [[0, 1, 2, 3], [2]]
    assert server.asked[0].json["jobs"][2] == server.asked[1].json["jobs"][0]


def test_bulk_edit_answers_in_order_with_each_ones_error() -> None:
    results = [
        {"status": 200, "job": JOB},
        {"status": 409, "reason": "fence", "message": "not the owner", "job": JOB},
        {"status": 404, "message": "job/3 not found"},
        {"status": 503, "message": "later"},
        {"status": 200},
    ]
    edits = [{"id": f"job/{n}", "set": {"progress": n}, "entry": "e", "fence": 1, "executor": "x"} for n in range(5)]
    with answering(always(200, {"results": results})) as server, Client(server.url) as client:
        answers = client.bulk_edit(edits, actions=["a"])
        assert client.bulk_edit(edits, answer="status")[0] == {"status": 200}
    assert server.asked[0].json == {"edits": edits, "actions": ["a"], "return": "job"}
    assert server.asked[1].json == {"edits": edits, "return": "status"}
    assert answers[0] == JOB
    assert isinstance(answers[1], Conflict)
    assert (answers[1].reason, answers[1].job) == ("fence", JOB)
    assert isinstance(answers[2], NotFound)
    assert isinstance(answers[3], ServerAway)
    assert isinstance(answers[4], ServerAway)  # the answer lacks the job


def test_bulk_edit_asks_for_less_when_the_answer_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    def reply(asked: Asked) -> Reply:
        jobs = [{"status": 200, "job": {"id": e["id"], "x": "y" * 1000}} for e in asked.json["edits"]]
        return Reply(200, {"results": jobs})

    monkeypatch.setattr(transport, "LIMIT", 3000)
    with answering(reply) as server, Client(server.url) as client:
        answers = client.bulk_edit([{"id": f"job/{n}"} for n in range(7)])
    assert [a["id"] for a in answers if isinstance(a, dict)] == [f"job/{n}" for n in range(7)]
    assert max(len(a.json["edits"]) for a in server.asked) == 7


def edit_all(asked: Asked) -> Reply:
    return Reply(200, {"results": [{"status": 200, "job": {"id": e["id"], **e["set"]}} for e in asked.json["edits"]]})


def numbered(count: int, size: int = 0) -> list[dict[str, Any]]:
    return [{"id": f"job/{n}", "set": {"name": "x" * size}} for n in range(count)]


@pytest.mark.parametrize("text", [b"<html>413 Request Entity Too Large</html>", b'{"status": 413, "message": "large"}'])
def test_a_batch_that_is_too_large_is_halved_down_to_one_item(text: bytes) -> None:
    def reply(asked: Asked) -> Reply:
        return edit_all(asked) if len(asked.body) < 1000 else Reply(413, text=text)

    edits = numbered(20, 100)
    edits[7]["set"]["name"] = "y" * 2000
    with answering(reply) as server, Client(server.url) as client:
        answers = client.bulk_edit(edits)
    assert [answer["id"] for answer in answers if isinstance(answer, dict)] == [f"job/{n}" for n in range(20) if n != 7]
    assert isinstance(answers[7], Invalid)
    assert answers[7].status == 413


def test_adds_that_are_too_many_at_once_are_halved() -> None:
    def reply(asked: Asked) -> Reply:
        if len(asked.body) > 1000:
            return Reply(413, text=b"<html>")
        return Reply(
            200, {"results": [{"status": 201, "resource-id": f"job/{job['n']}"} for job in asked.json["jobs"]]}
        )

    with answering(reply) as server, Client(server.url) as client:
        assert client.bulk_add([{"n": n} for n in range(30)]) == [f"job/{n}" for n in range(30)]


@pytest.mark.parametrize("status", [400, 403])
def test_what_a_proxy_does_not_let_pass_holds_up_no_other(status: int) -> None:
    def reply(asked: Asked) -> Reply:
        if b"forbidden word" in asked.body:
            return Reply(status, text=b"<html>blocked</html>")
        return edit_all(asked) if asked.path.endswith("bulk-edit") else Reply(200, {"count": 0, "jobs": []})

    edits = numbered(9)
    edits[0]["set"]["name"] = edits[8]["set"]["name"] = "a forbidden word"
    with answering(reply) as server, Client(server.url) as client:
        answers = client.bulk_edit(edits)
        alone = client.bulk_edit(edits[:1])
    assert [isinstance(answer, dict) for answer in answers] == [False, *[True] * 7, False]
    assert all(isinstance(answer, ForeignAnswer) for answer in (answers[0], answers[8], *alone))


def test_a_proxy_that_refuses_everything_is_away() -> None:
    with answering(always(400, text=b"<html>")) as server, Client(server.url) as client:
        for count in (1, 5):
            with pytest.raises(ServerAway, match="answered 400"):
                client.bulk_edit(numbered(count))


def test_a_400_to_a_whole_batch_is_no_verdict_on_its_parts() -> None:
    def reply(asked: Asked) -> Reply:
        return Reply(400, {"message": "bad"}) if b"job/2" in asked.body else edit_all(asked)

    with answering(reply) as server, Client(server.url) as client:
        answers = client.bulk_edit(numbered(4))
    assert [isinstance(answer, Invalid) for answer in answers] == [False, False, True, False]


def test_max_body_bounds_what_many_jobs_share_from_the_start() -> None:
    with answering(edit_all) as server, Client(server.url, max_body=4096) as client:
        answers = client.bulk_edit(numbered(100, 100))
        client.bulk_edit(numbered(1, 9000))  # a single item is sent: it may pass
    assert [answer["id"] for answer in answers if isinstance(answer, dict)] == [f"job/{n}" for n in range(100)]
    sizes = [len(asked.body) for asked in server.asked]
    assert max(sizes[:-1]) <= 4096
    assert len(sizes) < 10
    assert sizes[-1] > 9000


NAN = float("nan")


@pytest.mark.parametrize(
    ("call", "place"),
    [
        (
            lambda c: c.add("job", {"action": "a", "payload": {"sizes": [1, {"x": NAN}]}}),
            r"payload\.sizes\[1\]\.x: nan",
        ),
        (lambda c: c.add("user", {"x": float("inf")}), "x: inf"),
        (lambda c: c.bulk_add([{"payload": {"y": (1.0, -float("inf"))}}]), r"payload\.y\[1\]: -inf"),
        (lambda c: c.edit("job/1", {"properties": {"z": NAN}}), r"properties\.z: nan"),
        (lambda c: c.bulk_edit([{"id": "job/1", "set": {"properties": NAN}}]), r"set\.properties: nan"),
        (lambda c: c.operation("job/1", "stop", {"n": NAN}), "n: nan"),
    ],
)
def test_a_number_that_json_does_not_have_is_refused_with_its_place(
    call: Callable[[Client], object], place: str
) -> None:
    with answering(always(200, JOB)) as server, Client(server.url) as client, pytest.raises(ValueError, match=place):
        call(client)
    assert not server.asked


# --- the lease at the moment of sending


@pytest.mark.parametrize("size", [10, 100_000])
def test_an_edit_whose_claim_is_lost_while_a_connection_is_made_is_not_sent(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """The process may be stopped at that moment. The other edits of the request are sent."""
    connect = socket.create_connection
    lost: set[str] = set()

    def slow(*arguments: Any, **options: Any) -> Any:
        made = connect(*arguments, **options)
        lost.add("job/1")
        return made

    with answering(edit_all) as server, Client(server.url) as client:
        assert client.dialect.name == "geventjob"
        client.close()  # the next request makes a connection
        monkeypatch.setattr(socket, "create_connection", slow)
        answers = client.bulk_edit(numbered(3, size), held=lambda edit: edit["id"] not in lost)
    assert [isinstance(answer, dict) for answer in answers] == [True, False, True]
    assert isinstance(answers[1], Conflict)
    assert answers[1].reason == "fence"
    assert [[edit["id"] for edit in asked.json["edits"]] for asked in server.asked] == [["job/0", "job/2"]]


def test_edits_whose_claims_are_all_lost_send_nothing() -> None:
    with answering(edit_all) as server, Client(server.url) as client:
        assert [type(answer) for answer in client.bulk_edit(numbered(2), held=lambda edit: False)] == [Conflict] * 2
    assert not server.asked


def test_results_that_do_not_match_are_away() -> None:
    with (
        answering(always(200, {"results": []})) as server,
        Client(server.url) as client,
        pytest.raises(ServerAway, match="0 results for 1 items"),
    ):
        client.bulk_edit([{"id": "job/1"}])


def test_bulk_delete_nodes_and_queue() -> None:
    answers = {
        "/api/job/bulk-delete": {"deleted": 3},
        "/api/node": {"nodes": [{"role": "executor"}]},
        "/api/queue": {"entries": 0},
    }
    with answering(lambda asked: Reply(200, answers[asked.path])) as server, Client(server.url) as client:
        assert client.bulk_delete("state='FAILED'") == 3
        assert client.nodes() == [{"role": "executor"}]
        assert client.queue() == {"entries": 0}
    assert server.asked[0].json == {"filter": "state='FAILED'"}


def test_a_server_without_bulk_operations_is_named_as_such() -> None:
    with (
        answering(always(404, {"message": "undefined action"})) as server,
        Client(server.url) as client,
        pytest.raises(CimiError, match="not a server of geventjob"),
    ):
        client.bulk_edit([{"id": "job/1"}])


def test_nothing_to_send_sends_nothing() -> None:
    with Client(f"http://127.0.0.1:{free_port()}") as client:
        assert client.bulk_add([]) == []
        assert client.bulk_edit([]) == []


def test_a_page_is_never_larger_than_a_request_may_be() -> None:
    items = [b"x" * size for size in (10, bulk.SIZE, 10, bulk.SIZE // 2, bulk.SIZE // 2, 10)]
    cut = list(bulk.pages(items))
    assert [item for page in cut for item in page] == items
    assert all(sum(map(len, page)) <= bulk.SIZE for page in cut)


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "server.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        [*command.split(), "-keyout", str(made), "-out", str(folder / "cert.pem")], check=True, capture_output=True
    )
    with made.open("a") as file:
        file.write((folder / "cert.pem").read_text())
    return made


def test_tls_trusts_what_it_is_told(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=serve_tls, args=(listener, context), daemon=True)
        thread.start()
        with Client(url, timeout=(2, 2)) as client, pytest.raises(ServerAway, match="CERTIFICATE_VERIFY_FAILED"):
            client.get("job/1")
        with Client(url, timeout=(2, 2), ca="/nowhere.pem") as client, pytest.raises(ServerAway, match=r"nowhere\.pem"):
            client.get("job/1")
        for trust in ({"ca": str(certificate)}, {"insecure": True}):
            with Client(url, timeout=(2, 2), **trust) as client:
                assert client.get("job/1") == JOB


def serve_tls(listener: socket.socket, context: ssl.SSLContext) -> None:
    answer = json.dumps(JOB).encode()
    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        try:
            with context.wrap_socket(plain, server_side=True) as connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
        except OSError:
            plain.close()


def test_callers_that_are_killed_leave_a_working_pool() -> None:
    """A runner ends an action in the middle of a call."""
    import gevent

    def reply(asked: Asked) -> Reply:
        if asked.path == "/api/job/slow":
            gevent.sleep(0.5)
        return Reply(200, JOB)

    with answering(reply) as server, Client(server.url, connections=2) as client:
        callers = [gevent.spawn(client.get, "job/slow") for _ in range(6)]
        while len(server.asked) < 2:
            gevent.sleep(0.005)
        gevent.killall(callers)
        with gevent.Timeout(5):
            assert [client.get("job/1") for _ in range(3)] == [JOB] * 3
