"""Clients that are slow, many, hasty or half gone, against one real server.

`tests/unit/test_server_http.py` has each bound by itself, `bench/hostile.py` measures what such clients cost others.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from geventjob.cimi.document import COOKIE
from geventjob.server.http.limits import HttpLimits, raise_open_file_limit
from tests.support.fleet import until
from tests.support.job_server import Caller, JobServer, all_of, good

CROWD = 1_000
LATEST = 20.0
"""Seconds in which a user has an answer beside hostile clients, on a slow and busy machine."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobServer]:
    """Yield a server of this module alone, whose connections and memory are counted."""
    raise_open_file_limit(3 * CROWD)
    made = JobServer(tmp_path_factory.mktemp("hostile"))
    yield made
    made.kill()


@pytest.fixture(scope="module")
def admin(server: JobServer) -> Caller:
    return server.login()


def connected(server: JobServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=60)


def descriptors(server: JobServer) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def resident(server: JobServer) -> int:
    """Return the MB that the server has in memory."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024


def is_open(sock: socket.socket) -> bool:
    """Return whether the server keeps the connection."""
    sock.setblocking(False)
    try:
        while sock.recv(65536):
            pass
        return False
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def serves(admin: Caller) -> None:
    """Fail unless a user adds and finds a job in time, on the connection there is and on a new one."""
    began = time.monotonic()
    id = admin.add()
    assert good(admin.get(id))["id"] == id
    assert admin("GET", "/healthz", headers={"Connection": "close"}).text == "ok"
    assert time.monotonic() - began < LATEST


def request(path: str, *lines: str, body: str = "", method: str = "GET") -> bytes:
    length = [f"Content-Length: {len(body)}", "Content-Type: application/json"] if body else []
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *length, *lines, "", body]).encode()


def test_idle_connections_of_users_stay(server: JobServer, admin: Caller) -> None:
    before, memory = descriptors(server), resident(server)
    ask = request("/healthz", f"Cookie: {COOKIE}={admin.http.cookies[COOKIE]}")
    with ExitStack() as stack:
        crowd = []
        for _ in range(CROWD):
            crowd.append(stack.enter_context(connected(server)))
            crowd[-1].sendall(ask)
            assert crowd[-1].recv(4096).startswith(b"HTTP/1.1 200 ")
        serves(admin)
        for sock in crowd:
            sock.sendall(ask)
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert descriptors(server) > CROWD
    until(lambda: descriptors(server) <= before + 5)
    assert resident(server) < memory + 100


def test_idle_connections_of_strangers_have_a_share(server: JobServer, admin: Caller) -> None:
    share = HttpLimits().anonymous
    serves(admin)
    before = descriptors(server)
    with ExitStack() as stack:
        crowd = [stack.enter_context(connected(server)) for _ in range(CROWD)]
        serves(admin)
        until(lambda: sum(map(is_open, crowd)) <= share)
        assert descriptors(server) <= before + share + 5
        assert is_open(crowd[-1])
    until(lambda: descriptors(server) <= before + 5)


def test_slow_senders_end_and_hold_up_nobody(server: JobServer, admin: Caller) -> None:
    slow_head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"x" * 10_000
    slow_body = request("/api/session", method="POST", body=" " * 10_000)
    with ExitStack() as stack:
        heads = [stack.enter_context(connected(server)) for _ in range(50)]
        bodies = [stack.enter_context(connected(server)) for _ in range(50)]
        sending = threading.Event()

        def send(socks: list[socket.socket], data: bytes, begun: int) -> None:
            for sock in socks:
                sock.sendall(data[:begun])
            for byte in data[begun:]:
                if sending.wait(0.2):
                    return
                for sock in socks:
                    with contextlib.suppress(OSError):
                        sock.send(bytes([byte]))

        threads = [
            threading.Thread(target=send, args=(heads, slow_head, 10)),
            threading.Thread(target=send, args=(bodies, slow_body, slow_body.index(b"\r\n\r\n") + 5)),
        ]
        for thread in threads:
            thread.start()
        try:
            until(lambda: serves(admin) or not any(map(is_open, heads)), 120, every=0.5)
            serves(admin)
        finally:
            sending.set()
            for thread in threads:
                thread.join()


def test_pipelined_requests_are_answered_in_their_order(server: JobServer) -> None:
    names = [f"name-{number}" for number in range(200)]
    log_ins = [
        request("/api/session", body=f'{{"sessionTemplate": {{"href": "session-template/{name}"}}}}', method="POST")
        for name in names
    ]
    with connected(server) as sock:
        sock.sendall(b"".join(log_ins) + request("/last", "Connection: close") + request("/never"))
        found = all_of(sock)
    answers = found.split(b"HTTP/1.1 ")[1:]
    assert len(answers) == len(names) + 1
    for name, answer in zip(names, answers, strict=False):
        assert answer.startswith(b"404 ")
        assert f'"session-template/{name}"'.encode() in answer
    assert b'"/last"' in answers[-1]


def test_who_pipelines_and_does_not_read_is_disconnected(server: JobServer, admin: Caller) -> None:
    memory, asks = resident(server), request("/ui/page.js") * 500_000
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(120)
        sock.connect(("127.0.0.1", server.port))
        with pytest.raises(ConnectionError):
            sock.sendall(asks)
        serves(admin)
    assert resident(server) < memory + 50
    assert "Traceback" not in server.log


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (request("/one") + request("/two"), [b"404", b"404"]),
        (b"", []),
        (b"GET /one HT", [b"400"]),
        (request("/one")[:-2], [b"400"]),
        (request("/api/session", body="{}", method="POST")[:-1], [b"400"]),
        (request("/api/session", "Transfer-Encoding: chunked", method="POST") + b"2\r\n{}\r\n", [b"415"]),
    ],
    ids=["two requests", "nothing", "a part of a line", "a part of a head", "a part of a body", "a part of the chunks"],
)
def test_who_sends_no_more_gets_the_answers_and_the_end(server: JobServer, sent: bytes, statuses: list[bytes]) -> None:
    with connected(server) as sock:
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        began = time.monotonic()
        found = all_of(sock)
        assert time.monotonic() - began < HttpLimits().head, "no time limit ended it"
    assert [answer[:3] for answer in found.split(b"HTTP/1.1 ")[1:]] == statuses
    assert "Traceback" not in server.log
