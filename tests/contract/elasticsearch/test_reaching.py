"""Connections to a cluster: hosts, credentials, TLS, and the errors for each."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket
from gevent.server import StreamServer

from geventjob.clock import boottime
from geventjob.server.store.base import StoreAway, StoreError
from geventjob.server.store.elasticsearch.wire import Wire
from tests.support import elasticsearch
from tests.support.http_proxy import HttpProxy
from tests.support.zookeeper import Certificates


def ask(wire: Wire) -> bytes:
    try:
        return wire.ask("GET", "/", until=boottime() + 5).data
    finally:
        wire.close()


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


@pytest.mark.parametrize(
    ("login", "inside", "header"),
    [
        ({}, "", None),
        ({"user": "alice", "password": "s é:3"}, "", basic("alice:s é:3")),
        ({}, "alice:s%C3%A9@", basic("alice:sé")),
        ({"api_key": "bXk6a2V5"}, "", "ApiKey bXk6a2V5"),
        ({"api_key": "my:key"}, "", "ApiKey bXk6a2V5"),
    ],
)
def test_the_log_in_goes_with_each_request(proxy: HttpProxy, login: Any, inside: str, header: str | None) -> None:
    ask(Wire([proxy.url.replace("://", f"://{inside}")], **login))
    [request] = proxy.requests
    sent = [line.partition(b": ")[2].decode() for line in request.split(b"\r\n") if line.lower().startswith(b"auth")]
    assert sent == ([] if header is None else [header])


@pytest.mark.parametrize(
    ("hosts", "login", "said"),
    [
        (["a:1"], {"user": "u"}, "both a user and a password"),
        (["a:1"], {"password": "p"}, "both a user and a password"),
        (["a:1"], {"user": "u", "password": "p", "api_key": "k"}, "give one of them"),
        (["http://u:hunter2@a:1"], {"api_key": "k"}, "http://a:1 has credentials in its URL"),
        (["http://u:hunter2@a:x"], {}, "http://a:x is not an Elasticsearch host: expected HOST:PORT or a URL"),
    ],
)
def test_errors_of_hosts_and_credentials_show_no_secret(hosts: list[str], login: Any, said: str) -> None:
    with pytest.raises(StoreError, match=said) as raised:
        Wire(hosts, **login)
    assert "hunter2" not in str(raised.value)


def test_a_dead_node_is_passed_over(proxy: HttpProxy) -> None:
    dead = ["127.0.0.1:1", "http://u:hunter2@127.0.0.1:2/path"]
    wire = Wire([*dead, proxy.url])
    for _ in range(5):
        assert b"cluster_name" in wire.ask("GET", "/", until=boottime() + 5).data
    wire.close()
    with pytest.raises(StoreAway, match=r"at 127.0.0.1:1,http://127.0.0.1:2/path: .*refused") as raised:
        ask(Wire(dead))
    assert "hunter2" not in str(raised.value)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def tls_port(certificates: Certificates) -> Iterator[int]:
    """Return the port of a TLS proxy in front of the shared node."""
    behind = int(elasticsearch.shared().rpartition(":")[2])

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.key(certificates.server))

    def serve(plain: Any, address: Any) -> None:
        try:
            client = context.wrap_socket(plain, server_side=True)
        except OSError:  # the client does not trust the certificate
            return
        server = socket.create_connection(("127.0.0.1", behind))
        back = gevent.spawn(pump, server, client)
        pump(client, server)
        back.kill()

    server = StreamServer(("127.0.0.1", 0), serve)
    server.start()
    yield int(server.server_port or 0)
    server.stop()


def pump(source: Any, target: Any) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    finally:
        target.close()


def test_tls_with_an_authority_of_ones_own(certificates: Certificates, tls_port: int) -> None:
    assert b"cluster_name" in ask(Wire([f"localhost:{tls_port}"], ca=str(certificates.ca)))
    assert b"cluster_name" in ask(Wire([f"https://127.0.0.1:{tls_port}"], ca=str(certificates.ca)))


def test_a_certificate_of_an_unknown_authority_is_not_trusted(certificates: Certificates, tls_port: int) -> None:
    strange: Path = certificates.folder / "strange-ca.pem"
    for ca in (str(strange), None):
        with pytest.raises(StoreAway, match=r"TLS failed .*CERTIFICATE_VERIFY_FAILED"):
            ask(Wire([f"https://localhost:{tls_port}"], ca=ca))
