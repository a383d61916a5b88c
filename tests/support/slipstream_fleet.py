"""Executors and distributors beside a SlipStream server (tests/support/slipstream_server.py) and a real ZooKeeper."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient

from geventjob import Client
from geventjob.cimi.errors import CimiError
from geventjob.job.states import FINAL
from tests.support.fleet import Fleet, Process, Way, until
from tests.support.noted import Notes
from tests.support.slipstream_server import PASSWORD, SlipStreamServer

ACTIONS = Path(__file__).parents[1] / "actions" / "without_payload.py"


class SlipStreamFleet(Fleet):
    """Its actions leave notes in `notes`."""

    def __init__(self, folder: Path, zk_hosts: str) -> None:
        super().__init__(folder, zk_hosts)
        shutil.copy(ACTIONS, self.actions_dir)
        self.notes = Notes(self.actions_dir / "notes")
        self.slipstream = SlipStreamServer(folder, self.port, zk_hosts, self.zk_root)
        self.zookeeper = KazooClient(zk_hosts + self.zk_root)
        with contextlib.closing(KazooClient(zk_hosts)) as plain:
            plain.start()
            plain.ensure_path(self.zk_root)
            plain.stop()
        self.zookeeper.start()

    def serve(self, *arguments: str) -> Client:
        """Start the server (again); a client of its administrator."""
        self.slipstream.start(*arguments)
        client = self.client()
        until(lambda: self._answers(client) or not self.slipstream.running)
        assert self.slipstream.running
        return client

    def user(self, name: str) -> Client:
        """Return a client of this user; executors that start later log in as the same user."""
        self.login = ["--ss-user", name, "--ss-pass-file", str(self.password_file)]
        return Client(self.url, name, PASSWORD)

    def executor(self, name: str, *arguments: str, way: Way | None = None, **options: Any) -> Process:
        """Start an executor; return once the executor takes jobs. Its session is short."""
        process = self.start_executor(name, "--session-timeout", "3", *arguments, way=way, **options)
        until(lambda: f"{name} takes jobs" in process.log or not process.running)
        assert process.running, process.log
        return process

    def entries(self) -> list[str]:
        return sorted(self.zookeeper.get_children("/job/entries"))

    def taken(self) -> list[str]:
        return sorted(self.zookeeper.get_children("/job/taken"))

    def close(self) -> None:
        super().close()
        self.slipstream.kill()
        self.zookeeper.stop()
        self.zookeeper.close()

    @staticmethod
    def _answers(client: Client) -> bool:
        try:
            return bool(client.entry_points())
        except CimiError:
            return False


@contextlib.contextmanager
def slipstream_fleet(folder: Path, zk_hosts: str) -> Iterator[SlipStreamFleet]:
    made = SlipStreamFleet(folder, zk_hosts)
    try:
        yield made
    finally:
        made.close()


def job_ended(client: Client, id: str, seconds: float = 60.0) -> dict[str, Any]:
    """Return the job once the engine regards the state as final."""
    return until(lambda: job if (job := client.get(id))["state"] in FINAL else {}, seconds)
