"""A quota on the number of nodes below a folder of ZooKeeper (a server with `enforceQuota`)."""

from __future__ import annotations

from kazoo.client import KazooClient


class Quota:
    """The quota of one folder, without a limit at first."""

    def __init__(self, client: KazooClient, root: str) -> None:
        self._client = client
        self._root = root
        self._path = f"/zookeeper/quota{root}"
        client.ensure_path(self._path)
        client.create(f"{self._path}/zookeeper_stats", b"count=%d,bytes=0" % self.used)
        client.create(f"{self._path}/zookeeper_limits", b"")

    @property
    def used(self) -> int:
        """The number of nodes, the folder included."""
        return self._below(self._root)

    def _below(self, path: str) -> int:
        return 1 + sum(self._below(f"{path}/{name}") for name in self._client.get_children(path))

    def leave(self, count: int) -> None:
        """Let `count` more nodes be made."""
        limit = b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=%d" % (self.used + count)
        self._client.set(f"{self._path}/zookeeper_limits", limit)

    def lift(self) -> None:
        """Let 1,000 more nodes be made."""
        self.leave(1000)
