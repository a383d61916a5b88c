"""Two job servers over one ZooKeeper and one Elasticsearch."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from geventjob import Client
from tests.support import elasticsearch, zookeeper
from tests.support.fleet import Fleet, Process, until
from tests.support.ports import free_port


class Pair(Fleet):
    """A fleet with a second server beside the first."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, zookeeper.shared().hosts)
        self.ports = [self.port, free_port()]
        self.urls = [f"http://127.0.0.1:{port}" for port in self.ports]
        self._keeping = ["--es-hosts-list", elasticsearch.shared(), "--es-index-prefix", f"t{uuid4().hex}"]

    def start_servers(self, *more: str) -> list[Process]:
        """Start both servers at once, for the first time."""
        told = ["--admin-pass-file", str(self.password_file), *self._keeping, "--session-timeout", "3", *more]
        servers = [self._start("server", ["--host", "127.0.0.1", "--port", str(port), *told]) for port in self.ports]
        for server, url in zip(servers, self.urls, strict=True):
            until(lambda url=url, server=server: Client(url).healthy() or not server.running)
            assert server.running, server.log
        return servers

    def reaching(self, first: int) -> str:
        """Return both addresses, beginning with this number."""
        return ",".join([self.urls[first], self.urls[1 - first]])


def promoter(client: Client, pair: Pair) -> int | None:
    """Return the number of the server that leads the election of promoters, as far as this client's server knows."""
    leading = [node["url"] for node in client.nodes() if "promoter" in node.get("leads", ())]
    return pair.urls.index(leading[0]) if leading else None
