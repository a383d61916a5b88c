"""HTTP connections that reach no refused network, follow no redirect and send no log-in of the environment.

A host name is resolved once, each of its addresses is checked, and the connection goes to a checked address: a second
answer of the name server changes nothing. docs/security.md, "http_request", tells what the guard is for.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Union
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError

Address = Union[IPv4Address, IPv6Address]
Network = Union[IPv4Network, IPv6Network]

LINK_LOCAL = ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128")
"""The link-local networks, where clouds hand out log-ins of the machine, and the one such address outside them."""
V4_IN_V6 = (ip_network("64:ff9b::/96"), ip_network("::/96"))
"""IPv6 networks whose addresses end in the IPv4 address that is reached (RFC 6052, RFC 4291)."""


class AddressRefused(Exception):
    """The address must not be reached. The text names the host only. Not an OSError, so that no library tries again."""


class Guard:
    """A list of networks and servers whose addresses must not be reached."""

    def __init__(self, refuse: Sequence[str], servers: Sequence[str] = ()) -> None:
        """Read `refuse`, the items of `--http-refuse`; `servers` are the URLs of the job server."""
        texts = [text for item in refuse for text in (LINK_LOCAL if item == "link-local" else [item])]
        self._networks: list[Network] = [ip_network(text) for text in texts if text not in ("server", "nothing")]
        self._servers = [endpoint(url) for url in servers] if "server" in refuse else []

    def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host, all of them allowed. Raises AddressRefused, OSError, UnicodeError."""
        found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        for text in found:
            if self._refuses(ip_address(text.partition("%")[0]), port):
                raise AddressRefused(f"{host} is refused by --http-refuse")
        return list(dict.fromkeys(found))

    def _refuses(self, address: Address, port: int) -> bool:
        if any(face in network for face in faces(address) for network in self._networks):
            return True
        return any(port == other and self._is_at(address, host) for host, other in self._servers)

    def _is_at(self, address: Address, host: str) -> bool:
        """Return whether a host has this address. All addresses of this machine count as the same."""
        try:
            infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError:
            return False
        there = {face for info in infos for face in faces(ip_address(str(info[4][0]).partition("%")[0]))}
        here = set(faces(address))
        return bool(here & there) or (any(map(is_own, here)) and any(map(is_own, there)))


def endpoint(url: str) -> tuple[str, int]:
    """Return host and port of a URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def faces(address: Address) -> Iterator[Address]:
    """Yield an address, and the other addresses that lead to the same machine."""
    yield address
    if address.is_unspecified:
        yield from (ip_address("127.0.0.1"), ip_address("::1"))
    if isinstance(address, IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, address.teredo[1] if address.teredo else None]
        inner += [IPv4Address(int(address) & 0xFFFFFFFF) for network in V4_IN_V6 if address in network]
        yield from (other for other in inner if other is not None)


def is_own(address: Address) -> bool:
    """Return whether an address belongs to this machine: only own addresses can be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


class GuardedSession(requests.Session):
    """A session of requests behind a guard, without redirects and without log-ins of the environment."""

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self.trust_env = False
        for scheme in ("http://", "https://"):
            self.mount(scheme, Adapter(guard))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None: requests would read the whole body of a redirect, even of one that is not followed."""


class Adapter(HTTPAdapter):
    """Connections of a session, each made through the guard.

    Connections to a proxy are exempt: the operator chose the proxy.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {
            "http": pool(HTTPConnectionPool, HTTPConnection, self._guard),
            "https": pool(HTTPSConnectionPool, HTTPSConnection, self._guard),
        }


def pool(kind: Any, connection: Any, guard: Guard) -> Any:
    """Return the class of a pool whose connections are made through the guard."""

    class Guarded(connection):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:
            name: str = self._dns_host  # type: ignore[has-type]
            failed = None
            try:
                addresses = guard.addresses(name, self.port)
            except OSError as error:
                raise NameResolutionError(self.host, self, error) from error  # type: ignore[arg-type]
            try:
                for self._dns_host in addresses:
                    try:
                        return super()._new_conn()  # type: ignore[no-any-return]
                    except NewConnectionError as error:
                        failed = error
            finally:
                self._dns_host = name  # certificates and the Host header need the name
            raise failed or NewConnectionError(self, "no address")

    return type(kind.__name__, (kind,), {"ConnectionCls": Guarded})
