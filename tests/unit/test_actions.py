"""The shipped actions, run as an executor runs them, against a real HTTP server."""

from __future__ import annotations

import gzip
import logging
import socket
import threading
import time
import traceback
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
import pytest

from geventjob import Client, Job
from geventjob.plugins import find_actions
from tests.support.answering import Asked, Reply, answering
from tests.support.ports import free_port

ACTIONS = find_actions()
SECRET = "s3cr3t-value"


class Run:
    """One run of an action on a job, with its writes and its return value."""

    def __init__(self, action: str, payload: Any = None, client: Any = None, **settings: Any) -> None:
        self.document: dict[str, Any] = {"id": "job/1", "action": action, "state": "RUNNING"}
        if payload is not None:
            self.document["payload"] = payload
        self.progress: list[int] = []
        job = Job(self.document, self.write, client)
        spec = ACTIONS.get(action)
        assert spec
        settings = {"cleanup_days": 7, "es_hosts_list": [], **settings}
        self.do_work = spec.instance(Namespace(settings=Namespace(**settings)), job)

    def write(self, attributes: dict[str, Any]) -> dict[str, Any]:
        self.progress += [attributes["progress"]] if "progress" in attributes else []
        self.document.update(attributes)
        return self.document

    @property
    def message(self) -> str:
        return str(self.document["statusMessage"])


def request(url: str, **payload: Any) -> Run:
    return Run("http_request", {"url": url, **payload})


def always(*args: Any, **kwargs: Any) -> Callable[[Asked], Reply]:
    return lambda asked: Reply(*args, **kwargs)


# --- what is shipped


def test_what_is_shipped() -> None:
    assert ACTIONS.names == ["cleanup_jobs", "dummy_test_action", "http_request", "jobs_cleanup"]
    assert ACTIONS.failures == {}


# --- dummy_test_action


def test_dummy_is_quick_by_default() -> None:
    start = time.monotonic()
    run = Run("dummy_test_action")
    assert run.do_work() == 0
    assert 0.01 < time.monotonic() - start < 2
    assert run.progress == [], "no writes worth a request"


def test_dummy_does_what_it_is_told() -> None:
    start = time.monotonic()
    run = Run("dummy_test_action", {"seconds": 1.1, "return_code": 3})
    assert run.do_work() == 3
    assert time.monotonic() - start >= 1.1
    assert run.progress == [25, 50, 75]


def test_dummy_computes_without_a_pause() -> None:
    turns = []

    def turn() -> None:
        while True:
            gevent.sleep(0.001)
            turns.append(time.monotonic())

    beside = gevent.spawn(turn)
    start = time.monotonic()
    assert Run("dummy_test_action", {"seconds": 0, "compute": 0.2}).do_work() == 0
    beside.kill()
    assert time.monotonic() - start >= 0.2
    assert len(turns) <= 10, "others have a turn between its steps only"


def test_dummy_raises() -> None:
    with pytest.raises(RuntimeError, match="as asked"):
        Run("dummy_test_action", {"error": "as asked"}).do_work()


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"secnods": 1}, "unknown 'secnods', expected seconds, compute, return_code, error"),
        ({"seconds": -1}, "seconds: expected a number from 0, not -1"),
        ({"seconds": "1"}, "seconds: expected a number from 0, not '1'"),
        ({"return_code": 1.5}, "return_code: expected a whole number from 0, not 1.5"),
        ({"return_code": True}, "not True"),
    ],
)
def test_dummy_refuses(payload: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match="payload: ") as refused:
        Run("dummy_test_action", payload).do_work()
    assert words in str(refused.value)


# --- jobs_cleanup


class Cleaned:
    """A server with a number of old jobs, of which one request deletes a thousand."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.filters: list[str] = []

    def __call__(self, asked: Asked) -> Reply:
        if asked.path != "/api/job/bulk-delete":
            self.filters += asked.form["$filter"]
            return Reply(200, {"count": self.jobs, "jobs": []})
        self.filters.append(asked.json["filter"])
        deleted = min(self.jobs, 1000)
        self.jobs -= deleted
        return Reply(200, {"deleted": deleted})


@pytest.mark.parametrize(("jobs", "progress"), [(0, []), (1, [99]), (2500, [40, 80, 99])])
def test_cleanup_deletes_until_none_is_left(jobs: int, progress: list[int]) -> None:
    server = Cleaned(jobs)
    with answering(server) as http, Client(http.url, "alice", "secret") as client:
        run = Run("jobs_cleanup", client=client)
        assert run.do_work() is None
    assert server.jobs == 0
    assert run.message == f"{jobs} jobs deleted that ended more than 7 days ago"
    assert run.progress == progress
    assert len(set(server.filters)) == 1, "one moment for all requests, so that it comes to an end"


@pytest.mark.parametrize(("payload", "days"), [(None, 7), ({}, 7), ({"days": 0.5}, 0.5), ({"days": 0}, 0)])
def test_cleanup_days(payload: Any, days: float) -> None:
    server = Cleaned(0)
    with answering(server) as http, Client(http.url, "alice", "secret") as client:
        Run("cleanup_jobs", payload, client).do_work()
    before = server.filters[0].partition("updated<'")[2][:19]
    expected = time.gmtime(time.time() - days * 86_400)
    seconds = abs(time.mktime(time.strptime(before, "%Y-%m-%dT%H:%M:%S")) - time.mktime(expected))
    assert seconds <= 5
    assert server.filters[0].startswith("(state='SUCCESS' or state='FAILED' or state='STOPPED') and ")


@pytest.mark.parametrize("days", [-1, "7", True, None, 1e9])
def test_cleanup_refuses(days: Any) -> None:
    with pytest.raises(ValueError, match="payload: days: expected a number from 0 to 36500"):
        Run("jobs_cleanup", {"days": days}).do_work()


# --- http_request: what is sent


def test_a_get() -> None:
    with answering(always(200, text=b"hello\n  world")) as http:
        run = request(f"{http.url}/path?q=1")
        assert run.do_work() == 0
    (asked,) = http.asked
    assert (asked.method, asked.path, asked.query) == ("GET", "/path", {"q": ["1"]})
    assert asked.headers["User-Agent"] == "geventjob"
    assert run.message == "200 OK, 13 bytes: hello world"
    assert run.progress == [50]


@pytest.mark.parametrize(
    ("payload", "body", "kind"),
    [
        ({"method": "POST", "json": {"a": [1, "ü"]}}, b'{"a": [1, "\\u00fc"]}', "application/json"),
        ({"method": "PUT", "body": "text ü"}, "text ü".encode(), None),
        ({"method": "POST", "json": 0, "headers": {"content-type": "text/x"}}, b"0", "text/x"),
        ({"method": "DELETE"}, b"", None),
    ],
)
def test_a_body(payload: dict[str, Any], body: bytes, kind: str | None) -> None:
    with answering(always(204, text=b"")) as http:
        assert request(http.url, **payload).do_work() == 0
    (asked,) = http.asked
    assert (asked.method, asked.body, asked.headers.get("Content-Type")) == (payload["method"], body, kind)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({}, "url is missing"),
        ({"url": "ftp://h/x"}, "url: expected http://HOST/"),
        ({"url": "file:///etc/passwd"}, "url: expected"),
        ({"url": "http:///x"}, "url: expected"),
        ({"url": f"http://u:{SECRET}@h/"}, "without a log-in"),
        ({"url": "http://h/a b"}, "url: expected"),
        ({"url": "http://h:99999/"}, "url: expected"),
        ({"url": 5}, "url: expected"),
        ({"url": "http://h/", "method": "get"}, "method: expected one of GET"),
        ({"url": "http://h/", "headers": {"a": 1}}, "headers: expected"),
        ({"url": "http://h/", "headers": {"a b": SECRET}}, "headers: expected"),
        ({"url": "http://h/", "headers": {"a": f"x\r\nb: {SECRET}"}}, "headers: expected"),
        ({"url": "http://h/", "headers": {"Content-Length": "5"}}, "headers: expected"),
        ({"url": "http://h/", "body": {}}, "body: expected a text"),
        ({"url": "http://h/", "body": "", "json": {}}, "body and json: expected at most one"),
        ({"url": "http://h/", "timeout": 0}, "timeout: expected seconds"),
        ({"url": "http://h/", "expect": []}, "expect: expected a status"),
        ({"url": "http://h/", "expect": [200, 20]}, "expect: expected a status"),
        ({"url": "http://h/", "max_redirects": 21}, "max_redirects: expected"),
        ({"url": "http://h/", "max_size": 10**9}, "max_size: expected bytes"),
        ({"url": "http://h/", "metod": "GET"}, "unknown 'metod', expected url, method"),
    ],
)
def test_a_payload_that_is_refused(payload: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match="payload: ") as refused:
        Run("http_request", payload).do_work()
    assert words in str(refused.value)
    assert SECRET not in str(refused.value)


# --- http_request: what comes back


@pytest.mark.parametrize(
    ("status", "expect", "code"),
    [(200, None, 0), (299, None, 0), (404, None, 404), (500, 200, 500), (404, 404, 0), (200, [404, 410], 200)],
)
def test_the_status_that_is_expected(status: int, expect: Any, code: int) -> None:
    with answering(always(status, {"a": 1})) as http:
        run = request(http.url, **({} if expect is None else {"expect": expect}))
        assert run.do_work() == code
    assert run.message.startswith(str(status))
    assert ("expected" in run.message) == bool(code)


def test_an_excerpt_is_short_and_printable() -> None:
    with answering(always(200, text=b"a\tb\x1b[31m\n" + b"x" * 5000)) as http:
        run = request(http.url)
        run.do_work()
    assert run.message.startswith("200 OK, 5009 bytes: a b?[31m xxx")
    assert len(run.message) < 250


def test_what_is_no_text_is_not_shown() -> None:
    with answering(always(200, text=bytes(range(256)))) as http:
        run = request(http.url)
        run.do_work()
    assert run.message == "200 OK, 256 bytes"


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_that_is_too_large(packed: bool) -> None:
    body = b"0" * 5_000_000
    reply = (
        Reply(200, text=gzip.compress(body), headers={"Content-Encoding": "gzip"}) if packed else Reply(200, text=body)
    )
    with answering(lambda asked: reply) as http:
        with pytest.raises(Exception, match=r"RequestFailed|is larger than 1000000 bytes"):
            request(http.url).do_work()
        run = request(http.url, max_size=5_000_000)
        assert run.do_work() == 0
        assert run.message.startswith("200 OK, 5000000 bytes: 000")


def failing(run: Run) -> str:
    """Return the text of a failure, after a check that its traceback holds no secret."""
    with pytest.raises(Exception, match=r"\w") as failed:
        run.do_work()
    assert type(failed.value).__name__ == "RequestFailed"
    assert SECRET not in "".join(traceback.format_exception(failed.value))
    return str(failed.value)


def test_no_answer() -> None:
    url = f"http://127.0.0.1:{free_port()}/x?token={SECRET}"
    text = failing(request(url))
    assert text.startswith("no answer from 127.0.0.1:")
    assert SECRET not in text


def test_an_answer_that_breaks_off() -> None:
    def half(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        connection.shutdown(socket.SHUT_RDWR)

    with answering(always(raw=half)) as http:
        assert "broke off" in failing(request(http.url))


def test_an_answer_that_trickles() -> None:
    """Each byte arrives in time and the end never does: the timeout covers the whole answer."""

    def trickle(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while True:
                connection.sendall(b"x")
                time.sleep(0.05)

    with answering(always(raw=trickle)) as http:
        start = time.monotonic()
        assert "within 0.5 s" in failing(request(http.url, timeout=0.5))
        assert time.monotonic() - start < 5


def test_the_jobs_own_timeout_passes_through() -> None:
    jobs = gevent.Timeout(0.2)
    with answering(always(raw=lambda connection: time.sleep(1))) as http, pytest.raises(gevent.Timeout) as raised, jobs:
        request(http.url, timeout=30).do_work()
    assert raised.value is jobs


# --- http_request: redirects


class Chain:
    """`/n` redirects to `/n-1`, `/0` ends; `away` is the URL of another server."""

    def __init__(self, status: int = 302, away: str = "") -> None:
        self.status = status
        self.away = away

    def __call__(self, asked: Asked) -> Reply:
        left = int(asked.path[1:])
        if left == 0:
            return Reply(200, text=b"the end")
        to = f"{self.away}/{left - 1}" if self.away else f"/{left - 1}"
        return Reply(self.status, text=b"", headers={"Location": to})


@pytest.mark.parametrize(("hops", "most", "well"), [(5, None, True), (6, None, False), (1, 1, True), (2, 1, False)])
def test_redirects_are_bounded(hops: int, most: int | None, well: bool) -> None:
    with answering(Chain()) as http:
        run = request(f"{http.url}/{hops}", **({} if most is None else {"max_redirects": most}))
        if well:
            assert run.do_work() == 0
            assert "the end" in run.message
        else:
            assert failing(run) == f"more than {most or 5} redirects"
    assert len(http.asked) == (hops if not well else hops + 1)


@pytest.mark.parametrize(("payload", "code"), [({"max_redirects": 0}, 302), ({"expect": 302}, 0)])
def test_a_redirect_may_be_the_answer(payload: dict[str, Any], code: int) -> None:
    with answering(Chain()) as http:
        assert request(f"{http.url}/1", **payload).do_work() == code
    assert len(http.asked) == 1


@pytest.mark.parametrize(
    ("status", "method", "after"),
    [(301, "POST", "GET"), (302, "PUT", "PUT"), (303, "PUT", "GET"), (307, "POST", "POST"), (308, "PUT", "PUT")],
)
def test_the_method_after_a_redirect(status: int, method: str, after: str) -> None:
    with answering(Chain(status)) as http:
        request(f"{http.url}/1", method=method, json={"a": 1}).do_work()
    asked = http.asked[1]
    assert (asked.method, bool(asked.body), "Content-Type" in asked.headers) == (after, after != "GET", after != "GET")


def test_no_secret_goes_to_another_host() -> None:
    headers = {"Authorization": SECRET, "cookie": SECRET, "X-Api-Key": SECRET, "Accept": "text/plain"}
    with answering(Chain()) as other, answering(Chain(away=other.url)) as http:
        assert request(f"{http.url}/1", headers=headers).do_work() == 0
    assert {http.asked[0].headers[name] for name in ("Authorization", "Cookie", "X-Api-Key")} == {SECRET}
    assert SECRET not in str(other.asked[0].headers)
    assert other.asked[0].headers["Accept"] == "text/plain"


@pytest.mark.parametrize(("status", "method"), [(307, "POST"), (308, "PUT"), (302, "PUT")])
def test_no_body_goes_to_another_origin(status: int, method: str) -> None:
    with answering(Chain()) as other, answering(Chain(status, away=other.url)) as http:
        text = failing(request(f"{http.url}/1", method=method, body=SECRET))
        assert text == f"127.0.0.1:{http.port} redirects a request with a body to another origin ({status})"
    assert other.asked == []


def test_a_method_without_a_body_may_go_to_another_origin() -> None:
    with answering(Chain()) as other, answering(Chain(307, away=other.url)) as http:
        assert request(f"{http.url}/1", method="DELETE").do_work() == 0
    assert [asked.method for asked in other.asked] == ["DELETE"]


def test_nothing_of_a_redirects_body_is_read() -> None:
    """The body is sent only after the redirect was followed."""
    followed = threading.Event()

    def late(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /0\r\nContent-Length: 4\r\n\r\n")
        followed.wait(10)
        with suppress(OSError):
            connection.sendall(b"late")

    def reply(asked: Asked) -> Reply:
        if asked.path != "/0":
            return Reply(raw=late)
        followed.set()
        return Reply(200, text=b"the end")

    with answering(reply) as http:
        run = request(f"{http.url}/1", timeout=5)
        assert run.do_work() == 0
        assert "the end" in run.message


# --- http_request: what it does not reach


def names(monkeypatch: pytest.MonkeyPatch, table: dict[str, list[str]]) -> list[str]:
    """Give names these addresses, one answer after the other, and return the names that were asked for."""
    real, asked = socket.getaddrinfo, []

    def answer(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        if host not in table:
            return real(host, port, *rest, **options)
        asked.append(host)
        return real(table[host].pop(0) if len(table[host]) > 1 else table[host][0], port, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


@pytest.mark.parametrize(
    "host",
    ["169.254.1.1", "[fe80::1]", "[::ffff:169.254.1.1]", "[64:ff9b::a9fe:101]", "[2002:a9fe:101::]", "2851995905",
     "0xa9fe0101", "[fd00:ec2::254]", "a.example"],
)  # fmt: skip
def test_link_local_addresses_are_refused_under_any_name(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, {"a.example": ["169.254.1.1"]})
    assert failing(request(f"http://{host}/latest?x={SECRET}", timeout=5)).endswith("is refused by --http-refuse")


def test_a_name_is_resolved_once_and_the_checked_address_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(always(200, text=b"the right one")) as http:
        asked = names(monkeypatch, {"a.example": ["127.0.0.1", "169.254.1.1"]})
        run = request(f"http://a.example:{http.port}/", timeout=5)
        assert run.do_work() == 0
        assert "the right one" in run.message
        assert http.asked[0].headers["Host"] == f"a.example:{http.port}"
    assert asked == ["a.example"]


def test_a_name_with_one_refused_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def both(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        return [*real("127.0.0.1", port, *rest, **options), *real("169.254.1.1", port, *rest, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    assert "refused" in failing(request("http://a.example/", timeout=5))


def test_a_redirect_is_checked_too() -> None:
    with answering(Chain(away="http://169.254.1.1")) as http:
        assert failing(request(f"{http.url}/1")) == "169.254.1.1 is refused by --http-refuse"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"])
def test_the_job_server_itself_is_refused(host: str) -> None:
    with answering(always(200, text=b"jobs")) as server, answering(always(200, text=b"other")) as http:
        payload = {"url": f"http://{host}:{server.port}/api/job", "timeout": 5}
        run = Run("http_request", payload, ss_url=f"http://one:1,{server.url}")
        assert failing(run) == f"{host.strip('[]')} is refused by --http-refuse"
        assert Run("http_request", {"url": http.url}, ss_url=server.url).do_work() == 0
    assert server.asked == []


def test_what_is_refused_is_for_the_operator_to_say() -> None:
    with answering(always(200, text=b"x")) as http:
        assert "refused" in failing(Run("http_request", {"url": http.url}, http_refuse=["127.0.0.0/8"]))
        assert Run("http_request", {"url": http.url}, http_refuse=["nothing"], ss_url=http.url).do_work() == 0


def test_behind_a_proxy_the_address_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(always(200, text=b"by proxy")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert "refused" in failing(request("http://169.254.1.1/", timeout=5))
        run = request("http://only.the.proxy.knows.invalid/", timeout=5)
        assert run.do_work() == 0
        assert "by proxy" in run.message


@pytest.mark.parametrize("url", ["http://a..b/", f"http://{'a' * 70}.example/", "http://.example/"])
def test_a_host_that_cannot_be_one_is_no_surprise(url: str) -> None:
    assert failing(request(url, timeout=5))


def test_the_same_host_keeps_them() -> None:
    with answering(Chain()) as http:
        request(f"{http.url}/2", headers={"Authorization": SECRET}).do_work()
    assert [asked.headers["Authorization"] for asked in http.asked] == [SECRET] * 3


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "ftp://h/", f"http://u:{SECRET}@h/", "http://h:99999/", "http://[/", "//[x"]
)
def test_a_redirect_that_is_not_followed(to: str) -> None:
    with answering(always(302, text=b"", headers={"Location": to})) as http:
        text = failing(request(http.url))
    assert "redirects to an invalid URL" in text
    assert SECRET not in text


def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), answering(Chain()) as other, answering(Chain(away=other.url)) as http:
        headers = {"Authorization": SECRET, "X-Api-Key": SECRET}
        run = request(f"{http.url}/1", method="POST", headers=headers, body=SECRET)
        run.do_work()
    assert SECRET not in caplog.text
    assert SECRET not in run.message


def test_a_netrc_adds_no_log_in(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with answering(Chain()) as http:
        request(f"{http.url}/1").do_work()
    assert all("Authorization" not in asked.headers for asked in http.asked)
