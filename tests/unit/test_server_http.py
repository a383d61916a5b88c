"""The HTTP server against slow, large and many clients, and against clients that speak no HTTP."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import falcon
import gevent
import pytest
from gevent.event import Event

from geventjob.server.http import request_body
from geventjob.server.http.environ import AUTHENTICATED
from geventjob.server.http.limits import HttpLimits
from geventjob.server.http.response import set_problem
from geventjob.server.http.server import HttpServer
from geventjob.server.problem import Problem

CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
Application = Callable[[dict[str, Any], Callable[..., Any]], list[bytes]]

LIMITS = HttpLimits(
    idle=0.4,
    anonymous_idle=0.4,
    head=0.3,
    head_size=4096,
    request=0.4,
    connections=4,
    discard_size=1 << 20,
    discard_time=0.3,
)


STARTED = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def refusing(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """Respond without reading the body."""
    start_response("413 Too Large", [("Content-Length", "2"), ("Connection", "close")])
    return [b"no"]


@contextmanager
def serving(application: Application = echo, limits: HttpLimits = LIMITS) -> Iterator[HttpServer]:
    server = HttpServer(("127.0.0.1", 0), application, limits)
    server.start()
    try:
        yield server
    finally:
        server.finish(1)


@contextmanager
def connected(server: HttpServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.server_port or 0), timeout=5) as sock:
        yield sock


def all_of(sock: socket.socket) -> bytes:
    """Return all bytes until the server closes the connection."""
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def asked(server: HttpServer, request: bytes) -> bytes:
    with connected(server) as sock:
        sock.sendall(request)
        return all_of(sock)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def problem(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/json" in head
    found: dict[str, Any] = json.loads(body)
    assert found["status"] == status(answer)
    return found


def test_a_connection_serves_many_requests() -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
    last = request.replace(b"Host: x", b"Host: x\r\nConnection: close")
    with serving() as server:
        assert asked(server, request + request + last).count(b"\r\n\r\nhi") == 3


def test_a_chunked_body_is_read() -> None:
    with serving() as server:
        assert asked(server, CHUNKED + b"2;x=1\r\nhi\r\n0\r\nX: y\r\n\r\n").endswith(b"\r\n\r\nhi")


@pytest.mark.parametrize(
    "chunks",
    [
        b"2\nhi\r\n0\r\n\r\n",
        b"2;x\ny\r\nhi\r\n0\r\n\r\n",
        b"2\r\nhi\n0\r\n\r\n",
        b"\r\n",
        b"x\r\n",
        b"2\r\nhi!\r\n0\r\n\r\n",
        b"0\r\nX: y\nZ: y\r\n\r\n",
        b"0\r\nno trailer\r\n\r\n",
    ],
)
def test_invalid_chunks_are_400_and_one_log_line(chunks: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with serving() as server, gevent.Timeout(3):
        answer = asked(server, CHUNKED + chunks + b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1
    [record] = caplog.records
    assert "\n" not in record.getMessage()
    assert not record.exc_info


def test_100_continue_is_sent_once_or_never() -> None:
    waits = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    with serving() as server, connected(server) as sock, gevent.Timeout(3):
        sock.sendall(waits)
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"hi")
        assert sock.recv(65536).endswith(b"hi")
    with serving(refusing) as server, gevent.Timeout(3):
        assert b"100 Continue" not in asked(server, waits)


@pytest.mark.parametrize("target", [b"http://other:99/a?b=c", b"HTTP://other/a?b=c", b"/a?b=c"])
def test_an_absolute_target_is_served(target: bytes) -> None:
    def told(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [])
        return [f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}".encode()]

    with serving(told) as server:
        request = b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert asked(server, request).endswith(b"\r\n\r\n/a?b=c")


def test_every_response_has_the_security_headers() -> None:
    with serving() as server:
        for request in (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
            answer = asked(server, request)
            assert b"\r\nCache-Control: no-store\r\n" in answer
            assert b"\r\nX-Content-Type-Options: nosniff\r\n" in answer


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # TLS
        (b"hello\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),  # HTTP/0.9
        (b"GET / HTTP/3.0\r\n\r\n", 400),
        (b"GET / HTTP/x.y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
        (b"GET other HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\n0123456789", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 5000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 1000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_an_invalid_request_is_refused_and_its_connection_closed(request_: bytes, code: int) -> None:
    with serving() as server:
        assert problem(asked(server, request_))["status"] == code


def test_the_time_for_an_unfinished_head_is_bounded() -> None:
    with serving() as server, connected(server) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        with gevent.Timeout(3):
            for letter in b"X-Slow: 0123456789012345678901234567890123456789":
                gevent.sleep(0.05)
                try:
                    sock.sendall(bytes([letter]))
                except OSError:
                    break
            else:
                pytest.fail("the server waited without a bound")


def test_the_time_for_an_unfinished_first_line_is_bounded() -> None:
    with serving() as server, connected(server) as sock:
        sock.sendall(b"GET ")
        with gevent.Timeout(3):
            assert all_of(sock) == b""


def test_an_idle_connection_is_closed() -> None:
    with serving() as server, connected(server) as sock, gevent.Timeout(3):
        assert all_of(sock) == b""


def test_a_request_that_takes_too_long_is_503() -> None:
    def slow(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        gevent.sleep(60)
        return []

    with serving(slow) as server, gevent.Timeout(3):
        answer = asked(server, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert problem(answer)["status"] == 503
    assert b"Retry-After: " in answer


def test_a_refused_body_is_read_so_that_the_client_sees_the_response() -> None:
    with serving(refusing) as server, gevent.Timeout(3):
        body = b"x" * (1 << 19)
        request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert asked(server, request + body).endswith(b"no")


def test_an_endless_refused_body_is_not_read_to_its_end() -> None:
    sent = 0
    with serving(refusing) as server, connected(server) as sock, gevent.Timeout(5):
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while sent < 1 << 28:
                sent += sock.send(b"x" * 65536)
    assert sent < 1 << 28


def test_a_client_that_does_not_read_is_disconnected() -> None:
    ended = Event()

    def large(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            for _ in range(1000):
                yield b"x" * 1_000_000
        finally:
            ended.set()

    with serving(large) as server, connected(server) as sock:  # type: ignore[arg-type]
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert ended.wait(3)


def test_too_many_connections_close_the_one_that_waits_longest() -> None:
    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with serving() as server, ExitStack() as stack, gevent.Timeout(3):
        idle = [stack.enter_context(connected(server)) for _ in range(LIMITS.connections)]
        for count in range(1, 3):
            assert status(asked(server, request)) == 200
            assert all_of(idle[count - 1]) == b""
        idle[-1].sendall(request)
        assert status(all_of(idle[-1])) == 200


def test_anonymous_connections_have_a_share_and_authenticated_ones_stay() -> None:
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

    def knowing(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        environ[AUTHENTICATED]()
        start_response("200 OK", [("Content-Length", "0")])
        return []

    limits = HttpLimits(connections=100, anonymous=2)
    with serving(knowing, limits) as server, ExitStack() as stack, gevent.Timeout(5):
        known = []
        for _ in range(4):
            known.append(stack.enter_context(connected(server)))
            known[-1].sendall(request)
            assert status(known[-1].recv(65536)) == 200
        begun = stack.enter_context(connected(server))
        begun.sendall(b"GET / HT")
        idle = [stack.enter_context(connected(server)) for _ in range(4)]
        assert all_of(begun) == b""
        assert [all_of(sock) for sock in idle[:2]] == [b"", b""]
        for sock in [*known, *idle[2:]]:
            sock.sendall(request)
            assert status(sock.recv(65536)) == 200
        assert server.connections.anonymous == 0


def test_silent_connections_hold_no_handler() -> None:
    with serving(limits=HttpLimits()) as server, ExitStack() as stack, gevent.Timeout(5):
        idle = [stack.enter_context(connected(server)) for _ in range(3)]
        while server.connections.anonymous < len(idle):
            gevent.sleep(0.01)
        assert len(server.connections.handlers) == 0
        idle[0].sendall(b"GET / HT")
        while len(server.connections.handlers) < 1:
            gevent.sleep(0.01)
        assert server.connections.anonymous == len(idle)


def test_a_crowded_server_keeps_no_connection() -> None:
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with (
        serving(limits=HttpLimits(connections=4, keep_alive_share=0.5)) as server,
        connected(server) as one,
        connected(server) as two,
    ):
        for sock in (one, two):
            sock.sendall(request)
            assert status(sock.recv(65536)) == 200
        with connected(server) as third, gevent.Timeout(3):
            third.sendall(request)
            assert b"Connection: close" in all_of(third)
        one.sendall(request)
        assert b"Connection: close" not in one.recv(65536)


def test_the_time_for_a_body_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Reading:
        def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
            request_body.read_body(req)

    app: falcon.App[Any, Any] = falcon.App()
    app.add_route("/", Reading())
    app.add_error_handler(Problem, lambda req, resp, error, params: set_problem(resp, error))
    monkeypatch.setattr(request_body, "BODY_TIMEOUT", 0.2)
    with serving(app, HttpLimits()) as server, gevent.Timeout(3):  # type: ignore[arg-type]
        assert problem(asked(server, STARTED))["status"] == 408


def test_finish_serves_requests_in_progress_and_closes_idle_connections() -> None:
    begun, go = Event(), Event()

    def held(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        begun.set()
        go.wait()
        return echo(environ, start_response)

    limits = HttpLimits()
    with serving(held, limits) as server, connected(server) as busy, connected(server) as idle:
        busy.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert begun.wait(3)
        finishing = gevent.spawn(server.finish, 10)
        assert all_of(idle) == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(server.address[1])), timeout=3)
        assert not finishing.ready()
        go.set()
        answer = all_of(busy)
        assert status(answer) == 200
        assert b"Connection: close" in answer
        finishing.get(timeout=3)


def test_small_responses_are_sent_at_once() -> None:
    """Without TCP_NODELAY each response takes 44 ms (docs/measurements.md)."""
    with serving() as server, connected(server) as sock, gevent.Timeout(3):
        for _ in range(100):
            sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            answer = b""
            while not answer.endswith(b"hi"):
                answer += sock.recv(65536)


def test_an_authenticated_connection_may_idle_longer_than_an_anonymous_one() -> None:
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"

    def knowing(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        environ[AUTHENTICATED]()
        start_response("200 OK", [("Content-Length", "0")])
        return []

    limits = HttpLimits(anonymous_idle=0.2, idle=30.0)
    with serving(knowing, limits) as server, connected(server) as known, gevent.Timeout(5):
        known.sendall(request)
        assert status(known.recv(65536)) == 200
        with connected(server) as stranger:
            assert all_of(stranger) == b""
        known.sendall(request)
        assert status(known.recv(65536)) == 200
