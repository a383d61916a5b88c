"""The processes of a campaign: ZooKeeper, the store, servers, executors and distributors, each behind its own wires."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from geventjob import Client
from geventjob.cimi.errors import ServerAway
from tests.campaign.clock import WallClock, library
from tests.campaign.network import Network
from tests.campaign.record import Recorder
from tests.campaign.schedule import NODES, Shape
from tests.support import elasticsearch
from tests.support.fleet import PASSWORD, Process, until
from tests.support.ports import free_port
from tests.support.zookeeper import Ensemble

ROOM = Path(__file__).parent
ROOT = "/campaign"
THREADS = 20
START = 180.0
"""Seconds within which all processes must have started, on a busy machine too."""
DISK = "48m"
"""Size of the disk of the server over SQLite, where root may mount one."""


class Part:
    """A process that is started again whenever it ends, as a service manager does."""

    def __init__(self, name: str, arguments: list[str], folder: Path) -> None:
        self.name = name
        self.command = name.rpartition("-")[0]
        self.process: Process | None = None
        self.down = True
        """Whether a fault keeps the process down."""
        self.clock = WallClock(folder / f"{name}.clock")
        self.lock = threading.Lock()
        self._arguments = arguments
        self._log = folder / f"{name}.log"
        self._environment = self.clock.environment(library(folder))

    def start(self) -> None:
        """Start the process, without waiting for its service."""
        self.process = Process(self.command, self._arguments, self._log, self._environment)
        self.down = False

    def kill(self) -> None:
        """Kill the process with SIGKILL, and it alone; keep it down until `start`."""
        with self.lock:
            self.down = True
            if self.process is not None and self.process.running:
                self.process.signal(signal.SIGKILL)
                self.process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class System:
    """All processes; every one is known by its name. Ends with `close`."""

    def __init__(self, folder: Path, shape: Shape, recorder: Recorder) -> None:
        self.folder = folder
        self.shape = shape
        self.recorder = recorder
        self.network = Network()
        self.ensemble = Ensemble(NODES)
        self.down: list[object] = []
        """Nodes of ZooKeeper and Elasticsearch that a fault keeps down."""
        self.cluster = elasticsearch.Cluster() if shape.elasticsearch else None
        self.password_file = folder / "password"
        self.password_file.write_text(PASSWORD)
        self.password_file.chmod(0o600)
        self.data = folder / "data"
        self.data.mkdir()
        self.clocks = library(folder) is not None
        """Whether processes have wall clocks of their own."""
        self.mounted = not shape.elasticsearch and _mount(self.data)
        self.ports = {name: free_port() for name in shape.names("server")}
        self.parts = {name: Part(name, self._arguments(name), folder) for name in shape.processes}

    # --- from the start to the end

    def start(self) -> None:
        """Start everything; return when each process has announced itself."""
        for server in self.ensemble.servers:
            server.start()
        if self.cluster is not None:
            self.cluster.start()
        for server in self.ensemble.servers:
            server.await_ready()
        for part in self.parts.values():
            part.start()
        for name in self.ports:
            until(lambda name=name: Client(self.url(name)).healthy() or self._ended(), START)
        until(lambda: self._ended() or self._announced() >= len(self.parts), START)
        assert not self._ended(), self._ended()

    def _announced(self) -> int:
        """Return how many processes the servers know; 0 while they do not answer."""
        with contextlib.suppress(ServerAway):
            return len(self.client().nodes())
        return 0

    def _ended(self) -> list[str]:
        """Return the logs of processes that have ended."""
        return [part.log for part in self.parts.values() if part.process is not None and not part.process.running]

    def tend(self) -> None:
        """Start processes again that ended by themselves, and note their ends."""
        for part in self.parts.values():
            with part.lock:
                ended = not part.down and part.process is not None and not part.process.running
            if ended:
                self.recorder.note("exited", process=part.name, code=part.process.wait(0), log=part.log[-1500:])
                part.start()
        nodes = [*self.ensemble.servers, *(self.cluster.nodes if self.cluster else ())]
        assert all(node.running or node in self.down for node in nodes), "ZooKeeper or Elasticsearch ended by itself"

    def stop(self, seconds: float, *roles: str) -> list[str]:
        """Stop the processes of each role in turn, with SIGTERM; return in words how each ended that did not end
        well."""
        wrong = []
        for role in roles:
            parts = [part for part in self.parts.values() if part.command == role and part.process is not None]
            for part in parts:
                part.down = True
                with contextlib.suppress(ProcessLookupError):
                    part.process.signal(signal.SIGTERM)
            end = time.monotonic() + seconds
            for part in parts:
                try:
                    code = part.process.wait(max(0.1, end - time.monotonic()))
                except AssertionError:
                    wrong.append(f"{part.name} did not end within {seconds:g} s of SIGTERM")
                else:
                    wrong += [f"{part.name} ended with {code}: {part.log[-800:]}"] if code else []
        return wrong

    def outlived(self) -> list[str]:
        """Return in words which processes live whose executor has ended: each has our clock in its memory."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.folder / "clock.so") in (folder / "maps").read_text():
                    found.append(f"process {folder.name} outlived its parent: {(folder / 'cmdline').read_text()}")
        return found

    def close(self) -> None:
        """Kill what is left."""
        for part in self.parts.values():
            part.kill()
            if part.process is not None:
                part.process.kill()  # its group
        self.network.close()
        for number, server in enumerate(self.ensemble.servers):
            (self.folder / f"zookeeper-{number}.log").write_text(server.log)
        self.ensemble.close()
        if self.cluster is not None:
            self.cluster.close()
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.data)], check=True)

    # --- as clients see it

    def url(self, server: str) -> str:
        """Return the straight address of a server."""
        return f"http://127.0.0.1:{self.ports[server]}"

    def client(self, **options: Any) -> Client:
        """Return a client of all servers."""
        return Client(",".join(map(self.url, self.ports)), "super", PASSWORD, **options)

    def left_over(self, *folders: str) -> list[str]:
        """Return the paths of the nodes in these folders of ZooKeeper, and in the folders below."""
        zookeeper = KazooClient(self.ensemble.hosts)
        zookeeper.start()
        try:
            return [path for folder in folders for path in _leaves(zookeeper, ROOT + folder)]
        finally:
            zookeeper.stop()
            zookeeper.close()

    # --- options of the processes

    def _arguments(self, name: str) -> list[str]:
        role = name.rpartition("-")[0]
        common = ["--name", name, "--session-timeout", f"{self.shape.session:g}", "--log-jobs", "failed"]
        queue = ["--zk-hosts", self._hosts(name), "--zk-root", ROOT]
        return [*common, *queue, *getattr(self, f"_of_{role}")(name)]

    def _of_server(self, name: str) -> list[str]:
        address = ["--host", "127.0.0.1", "--port", str(self.ports[name]), "--reconcile-interval", "5"]
        store = ["--data-dir", str(self.data)]
        if self.cluster is not None:
            ports = [self.network.wire(f"{name}>elasticsearch", node.port) for node in self.cluster.nodes]
            store = ["--data-dir", str(self.folder / name), "--es-hosts-list", f"127.0.0.1:{ports[0]}"]
        return [*address, *store, "--admin-pass-file", str(self.password_file)]

    def _of_executor(self, name: str) -> list[str]:
        slots = ["--threads", str(THREADS), "--shutdown-timeout", "10"]
        return [*self._login(name), *slots, "--actions-dir", str(ROOM / "actions")]

    def _of_distributor(self, name: str) -> list[str]:
        return [*self._login(name), "--distributors-dir", str(ROOM / "distributors"), "ticking", "schedules"]

    def _login(self, name: str) -> list[str]:
        ports = [self.network.wire(f"{name}>{server}", port) for server, port in self.ports.items()]
        url = ",".join(f"http://127.0.0.1:{port}" for port in ports)
        data = ["--data-dir", str(self.folder / name)]
        return ["--ss-url", url, "--ss-user", "super", "--ss-pass-file", str(self.password_file), *data]

    def _hosts(self, name: str) -> str:
        ports = [self.network.wire(f"{name}>zookeeper", server.port) for server in self.ensemble.servers]
        return ",".join(f"127.0.0.1:{port}" for port in ports)


def _mount(folder: Path) -> bool:
    """Mount a small disk in memory on a folder; return whether this user may."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", str(folder)]
    return os.geteuid() == 0 and subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0


def _leaves(zookeeper: KazooClient, path: str) -> list[str]:
    try:
        below = zookeeper.get_children(path)
    except NoNodeError:  # it was deleted a moment ago
        return []
    return [leaf for name in below for leaf in _leaves(zookeeper, f"{path}/{name}") or [f"{path}/{name}"]]
