"""Members of a fleet over real ZooKeeper servers, with plain kazoo clients beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from kazoo.client import KazooClient
from kazoo.handlers.gevent import SequentialGeventHandler

from geventjob.coordination.base import Claim, Session
from geventjob.coordination.zookeeper import ZooKeeperCoordination
from tests.support.zookeeper import Ensemble, RawSession, shared
from tests.support.zookeeper_proxy import ZooKeeperProxy


class Member(ZooKeeperCoordination):
    """A coordination that records the calls of its listeners."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.lost: list[list[Claim]] = []
        self.sessions: list[Session] = []
        self.on_lost = lambda claims: self.lost.append(list(claims))
        self.on_session = self.sessions.append

    @property
    def identity(self) -> int:
        """The id of the session."""
        return self._ensemble.now().client.identity


class Site:
    """A root of its own in an ensemble, and its clients."""

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble.check()
        self.root = f"/{uuid4().hex}"
        self._members: list[ZooKeeperCoordination] = []
        self._clients: list[KazooClient] = []
        self._proxies: list[ZooKeeperProxy] = []

    def unstarted(self, name: str = "", timeout: float = 10.0, hosts: str = "", **more: Any) -> Member:
        name = name or f"member-{len(self._members) + 1}"
        more.setdefault("root", self.root)
        member = Member(hosts or self.ensemble.hosts, name, timeout, **more)
        self._members.append(member)
        return member

    def member(self, name: str = "", timeout: float = 10.0, hosts: str = "", **more: Any) -> Member:
        """Start a member."""
        member = self.unstarted(name, timeout, hosts, **more)
        member.start()
        return member

    def kazoo(self, timeout: float = 10.0, **more: Any) -> KazooClient:
        """Start a plain client whose `/` is the root of this site."""
        more.setdefault("hosts", self.ensemble.hosts + self.root)
        client = KazooClient(timeout=timeout, handler=SequentialGeventHandler(), **more)
        self._clients.append(client)
        client.start_async().wait(10)
        assert client.connected
        return client

    def proxy(self, server: int = 0) -> ZooKeeperProxy:
        proxy = ZooKeeperProxy(self.ensemble.servers[server].port)
        self._proxies.append(proxy)
        return proxy

    def expire(self, member: Member) -> None:
        """End the session of a member: open it again elsewhere and close it."""
        client = member._ensemble.now().client
        RawSession(self.ensemble.port, client.identity, client._session_passwd).close()

    def close(self) -> None:
        for member in self._members:
            member.close()
        for proxy in self._proxies:
            proxy.close()
        for client in self._clients:
            client.stop()
            client.close()


@pytest.fixture
def site() -> Iterator[Site]:
    """Yield a site in the server that all tests share."""
    made = Site(shared())
    yield made
    made.close()


@pytest.fixture
def member(site: Site) -> Member:
    return site.member()


@pytest.fixture
def kazoo(site: Site, member: Member) -> KazooClient:
    """Return a plain client that starts after a member."""
    return site.kazoo()


def jobs(claims: list[Claim]) -> list[str]:
    return [claim.job for claim in claims]
