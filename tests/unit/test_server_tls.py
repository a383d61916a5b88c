"""The port of the server with TLS: handshakes, certificates that are replaced, clients that do not shake hands."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from geventjob.server.http import tls
from geventjob.server.http.environ import AUTHENTICATED
from geventjob.server.http.limits import HttpLimits
from geventjob.server.http.server import HttpServer
from geventjob.server.http.tls import CertificateError
from tests.support.fleet import until
from tests.support.zookeeper import Certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def scheme(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.url_scheme"].encode()]


def hanging_up(environ: Any, start_response: Any) -> list[bytes]:
    """Answer on a connection that the server has begun to end, as it does when it stops or is crowded."""
    environ[AUTHENTICATED].__self__.hang_up()
    return scheme(environ, start_response)


def endless(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    while True:
        yield b"x" * 65536


@pytest.fixture
def serve(certificates: Certificates) -> Iterator[Callable[..., HttpServer]]:
    servers: list[HttpServer] = []

    def start(application: Any = scheme, **limits: float) -> HttpServer:
        context = tls.load(str(certificates.server), str(certificates.key(certificates.server)))
        servers.append(HttpServer(("127.0.0.1", 0), application, HttpLimits(**limits), context))  # type: ignore[arg-type]
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.finish(1)


def connected(server: HttpServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_port or 0), 10)


def https(server: HttpServer, ca: Path) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(
        "localhost", server.server_port, context=ssl.create_default_context(cafile=ca), timeout=10
    )


def got(connection: http.client.HTTPConnection) -> str:
    connection.request("GET", "/")
    return connection.getresponse().read().decode()


def ended(sock: socket.socket) -> bool:
    """Return whether the server ends a connection without a byte, and close it."""
    sock.settimeout(10)
    try:
        return sock.recv(65536) == b""
    except ConnectionResetError:
        return True
    finally:
        sock.close()


def test_requests_come_by_https_on_a_connection_that_stays(
    serve: Callable[..., HttpServer], certificates: Certificates
) -> None:
    connection = https(serve(), certificates.ca)
    assert [got(connection), got(connection)] == ["https", "https"]
    assert connection.sock.version() == "TLSv1.3"
    connection.close()


def test_versions_before_1_2_are_refused(serve: Callable[..., HttpServer]) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with connected(serve()) as sock, pytest.raises(ssl.SSLError, match=r"(?i)protocol|alert|version"):
        old.wrap_socket(sock)


def test_handshakes_that_stand_still_keep_nobody_waiting_and_end(
    serve: Callable[..., HttpServer], certificates: Certificates
) -> None:
    server = serve(head=1.0)
    idle = [connected(server) for _ in range(50)]
    for sock in idle:
        sock.sendall(b"\x16\x03\x01")  # the first bytes of a handshake
    connection = https(server, certificates.ca)
    assert got(connection) == "https"
    assert all(map(ended, idle))
    connection.close()
    until(lambda: len(server.connections) == 0, every=0.01)
    assert server.connections.anonymous == 0


def test_a_crowd_of_handshakes_makes_room(serve: Callable[..., HttpServer], certificates: Certificates) -> None:
    server = serve(connections=20, anonymous=10)
    idle = [connected(server) for _ in range(15)]
    for sock in idle:
        sock.sendall(b"\x16\x03\x01")
    assert ended(idle[0])
    connection = https(server, certificates.ca)
    assert got(connection) == "https"
    connection.close()
    for sock in idle:
        sock.close()


def test_a_client_without_tls_gets_words(serve: Callable[..., HttpServer]) -> None:
    server = serve()
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert (answer.status, b"speaks HTTPS" in answer.read()) == (400, True)


def test_a_certificate_is_replaced_under_load(serve: Callable[..., HttpServer], certificates: Certificates) -> None:
    server = serve()
    other = Certificates(certificates.folder / "others")
    both = certificates.folder / "both.pem"
    both.write_text(certificates.ca.read_text() + other.ca.read_text())
    kept, seen, going = https(server, certificates.ca), set(), True
    assert got(kept) == "https"

    def load() -> int:
        count = 0
        while going:
            connection = https(server, both)
            assert got(connection) == "https"
            seen.add(connection.sock.getpeercert(binary_form=True))
            connection.close()
            count += 1
        return count

    clients = [gevent.spawn(load) for _ in range(3)]
    until(lambda: len(seen) == 1, every=0.01)
    server.tls = tls.load(str(other.server), str(other.key(other.server)))
    until(lambda: len(seen) == 2, every=0.01)
    going = False
    gevent.joinall(clients, raise_error=True)
    assert got(kept) == "https"  # a connection keeps its certificate
    with pytest.raises(ssl.SSLCertVerificationError):
        got(https(server, certificates.ca))
    kept.close()


def test_a_server_that_drains_ends_idle_connections_without_a_word(
    serve: Callable[..., HttpServer], certificates: Certificates
) -> None:
    server = serve()
    connection = https(server, certificates.ca)
    got(connection)
    server.finish(1)
    assert ended(connection.sock)
    connection.close()


def test_a_connection_that_is_about_to_end_sends_nothing_without_tls(
    serve: Callable[..., HttpServer], certificates: Certificates
) -> None:
    connection = https(serve(hanging_up), certificates.ca)
    assert got(connection) == "https"
    connection.close()


def test_a_client_that_breaks_off_a_response_is_no_error_of_the_server(
    serve: Callable[..., HttpServer], certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    server = serve(endless)
    connection = https(server, certificates.ca)
    connection.request("GET", "/")
    with connection.getresponse() as response:
        assert response.read(1) == b"x"
        connection.close()
    until(lambda: len(server.connections) == 0, every=0.01)
    assert not caplog.records


def test_each_wrong_file_is_told_in_words(certificates: Certificates, tmp_path: Path) -> None:
    server, key = certificates.server, certificates.key(certificates.server)
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    for given, words in (
        ((server, certificates.key(certificates.client)), "key values mismatch"),
        ((server, certificates.encrypted_key(server)), "encrypted"),
        ((garbage, key), "expected PEM files"),
        ((server, None), "expected PEM files"),
        ((tmp_path / "missing", key), "cannot read"),
    ):
        with pytest.raises(CertificateError, match=words) as error:
            tls.load(str(given[0]), None if given[1] is None else str(given[1]))
        assert "--tls-" in str(error.value)
