"""Requests whose end two programs may see in two places, sent to the server, and through nginx before the server.

Request smuggling needs such a request: what one program takes for a body is the next request for the other. The server
refuses each and closes the connection. nginx stands before the server with connections that it keeps and shares among
its clients, where a response too many would reach another client.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.support.fleet import until
from tests.support.job_server import JobServer, all_of
from tests.support.nginx import running
from tests.support.ports import free_port

NGINX = """
    upstream jobs {{ server 127.0.0.1:{server_port}; keepalive 1; }}
    server {{
        listen 127.0.0.1:{port};
        client_header_timeout 2s;
        client_body_timeout 2s;
        location / {{
            proxy_pass http://jobs;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
        }}
    }}
"""
SECOND = b"GET /second HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
"""Stands where one program may see a body, and the other the next request."""


def head(*lines: bytes, version: bytes = b"1.1", end: bytes = b"\r\n") -> bytes:
    """Return the head of a log-in, which is a request with a body that anybody may send."""
    first = [b"POST /api/session HTTP/" + version, b"Host: x", b"Content-Type: application/json"]
    return b"".join(line + end for line in [*first, *lines, b""])


LENGTH, LONGER = b"Content-Length: 2", b"Content-Length: 3"
CHUNKED = b"Transfer-Encoding: chunked"
BODY, CHUNKS = b"{}", b"2\r\n{}\r\n0\r\n\r\n"
AMBIGUOUS = {
    "a length and chunks": head(LENGTH, CHUNKED) + CHUNKS,
    "chunks and a length": head(CHUNKED, LENGTH) + CHUNKS,
    "two lengths": head(LENGTH, LONGER) + BODY,
    "two equal lengths": head(LENGTH, LENGTH) + BODY,
    "a list of lengths": head(b"Content-Length: 2, 2") + BODY,
    "a signed length": head(b"Content-Length: +2") + BODY,
    "a length in hexadecimal digits": head(b"Content-Length: 0x2") + BODY,
    "a length without digits": head(b"Content-Length:") + BODY,
    "two codings": head(CHUNKED, CHUNKED) + CHUNKS,
    "a list of codings": head(b"Transfer-Encoding: chunked, identity") + CHUNKS,
    "an unknown coding": head(b"Transfer-Encoding: chunkedd") + CHUNKS,
    "a coding in quotes": head(b'Transfer-Encoding: "chunked"') + CHUNKS,
    "chunks in HTTP/1.0": head(CHUNKED, b"Connection: keep-alive", version=b"1.0") + CHUNKS,
    "a blank before the colon": head(b"Content-Length : 2") + BODY,
    "a folded header": head(b"X: y", b" Content-Length: 2") + BODY,
    "a folded value": head(b"Content-Length:", b" 2") + BODY,
    "a header that begins with a blank": head(b" Content-Length: 2") + BODY,
    "a line without a colon": head(b"no header", LENGTH) + BODY,
    "lines that end with LF": head(LENGTH, end=b"\n") + BODY,
    "a header that ends with LF": head(b"X: y\nContent-Length: 2") + BODY,
    "a header with CR": head(b"X: y\rContent-Length: 2") + BODY,
    "a header with NUL": head(b"X: y\0", LENGTH) + BODY,
    "an empty line that is LF": head(LENGTH)[:-2] + b"\n" + BODY,
    "a first line that ends with LF": head(LENGTH).replace(b"1.1\r\n", b"1.1\n", 1) + BODY,
    "a first line with two blanks": head(LENGTH).replace(b" HTTP", b"  HTTP", 1) + BODY,
    "a first line with a tab": head(LENGTH).replace(b" HTTP", b"\tHTTP", 1) + BODY,
    "a first line that ends with a blank": head(LENGTH).replace(b"1.1\r\n", b"1.1 \r\n", 1) + BODY,
    "an empty chunk size": head(CHUNKED) + b"\r\n" + CHUNKS,
    "a signed chunk size": head(CHUNKED) + b"+" + CHUNKS,
    "a chunk size with a prefix": head(CHUNKED) + b"0x" + CHUNKS,
    "a chunk size with an underscore": head(CHUNKED) + b"0_" + CHUNKS,
    "a chunk size of seventeen digits": head(CHUNKED) + b"1000000000000000" + CHUNKS,
    "a chunk size after a blank": head(CHUNKED) + b" " + CHUNKS,
    "a chunk size before a blank": head(CHUNKED) + CHUNKS.replace(b"2", b"2 "),
    "a chunk size that ends with LF": head(CHUNKED) + CHUNKS.replace(b"2\r\n", b"2\n"),
    "a chunk extension with LF": head(CHUNKED) + CHUNKS.replace(b"2\r\n", b"2;x\ny\r\n"),
    "a chunk that ends with LF": head(CHUNKED) + CHUNKS.replace(b"}\r\n", b"}\n"),
    "a chunk longer than its size": head(CHUNKED) + CHUNKS.replace(b"{}", b"{ }"),
    "a trailer that is no header": head(CHUNKED) + CHUNKS[:-2] + b"trailer\r\n\r\n",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobServer]:
    made = JobServer(tmp_path_factory.mktemp("ambiguous"))
    yield made
    made.kill()


@pytest.fixture(scope="module")
def nginx(server: JobServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    block = NGINX.format(server_port=server.port, port=port)
    with running(tmp_path_factory.mktemp("proxy") / "nginx", block, lambda: healthy(port)):
        yield port


def healthy(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=10).status_code == 200
    except requests.ConnectionError:
        return False


def answers(port: int, request: bytes) -> bytes:
    """Send bytes, and return all bytes until the other side closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
        sock.sendall(request)
        return all_of(sock)


def count(server: JobServer) -> float:
    """Return how many requests the server has answered, those for its metrics excepted."""
    metrics = server.anonymous().get("/metrics").text
    samples = [sample for family in text_string_to_metric_families(metrics) for sample in family.samples]
    wanted = [sample for sample in samples if sample.name == "geventjob_http_requests_total"]
    return sum(sample.value for sample in wanted if sample.labels["route"] != "/metrics")


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_the_server_refuses_an_ambiguous_request_and_closes_the_connection(server: JobServer, name: str) -> None:
    found = answers(server.port, AMBIGUOUS[name] + SECOND)
    first, _, body = found.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 400 "), found
    assert b"\r\nconnection: close" in first.lower()
    assert json.loads(body)["status"] == 400  # and nothing behind it
    assert "Traceback" not in server.log


def test_nginx_gets_no_more_responses_than_requests(server: JobServer, nginx: int) -> None:
    for name, request in AMBIGUOUS.items():
        before = count(server)
        found = answers(nginx, request + SECOND)
        assert found.count(b"HTTP/1.1 ") <= 2, f"{name}: {found!r}"
        assert count(server) - before <= 2, name
        own = requests.get(f"http://127.0.0.1:{nginx}/another", timeout=60)
        assert own.json()["resource-id"] == "/another", name


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (b"HEAD /first HTTP/1.1\r\nHost: x\r\n\r\n", [b"404", b"404"]),
        (
            b"PUT /api/job/first HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000,
            [b"403", b"404"],
        ),
        (head(CHUNKED) + CHUNKS, [b"400", b"404"]),
        (head(LENGTH, b"Expect: 100-continue") + BODY, [b"100", b"400", b"404"]),
        (b"GET /api/nosuch HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", [b"403", b"404"]),
    ],
    ids=["HEAD", "a body that is refused from its head", "chunks", "a body that waits", "a body of GET"],
)
def test_a_response_through_nginx_goes_with_its_request(
    server: JobServer, nginx: int, request_: bytes, statuses: list[bytes]
) -> None:
    found = answers(nginx, request_ + SECOND)
    assert [part[:3] for part in found.split(b"HTTP/1.1 ")[1:]] == statuses
    assert b'"/second"' in found.rpartition(b"HTTP/1.1 ")[2]
    until(lambda: b'"/another"' in requests.get(f"http://127.0.0.1:{nginx}/another", timeout=60).content)
