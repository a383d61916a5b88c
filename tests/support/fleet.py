"""Real processes for tests: a job server, executors and distributors, on free ports, over SQLite or ZooKeeper."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar
from uuid import uuid4

from geventjob import Client
from geventjob.cimi.errors import ServerAway
from geventjob.job.states import FINAL
from tests.support.ports import free_port

Found = TypeVar("Found")
PASSWORD = "for-tests-only"


def until(condition: Callable[[], Found | Literal[False] | None], seconds: float = 60.0, every: float = 0.05) -> Found:
    """Return the first truthy answer of `condition`; fail with the last answer when there was none in time.

    A server that is out of reach meanwhile has given no answer yet.
    """
    deadline = time.monotonic() + seconds
    seen: object = None
    while True:
        with contextlib.suppress(ServerAway):
            if seen := condition():
                return seen
        assert time.monotonic() < deadline, f"not within {seconds} s; last seen: {seen!r}"
        time.sleep(every)


class Process:
    """One process of a command. `log` has its stderr, `environment` adds to the variables of this process."""

    def __init__(
        self, command: str, arguments: list[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log_file = log
        with log.open("ab") as stderr:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", f"geventjob.cli.{command}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        self.pid = self._popen.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    @property
    def failed(self) -> bool:
        """It has come to an end by itself."""
        return not self.running and self._popen.returncode > 0

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def freeze(self) -> None:
        """Send SIGSTOP, and wait until all threads are stopped."""
        self.signal(signal.SIGSTOP)
        until(lambda: all(_state(task) == "T" for task in Path(f"/proc/{self.pid}/task").iterdir()), every=0.005)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def stop(self, seconds: float = 30.0) -> int:
        """Send SIGTERM; return the exit code."""
        self._popen.send_signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float = 30.0) -> int:
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.log[-4000:]}") from None


def _state(task: Path) -> str:
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


@dataclass(frozen=True)
class Way:
    """How a process reaches the job server and ZooKeeper."""

    url: str
    zk_hosts: str


class Fleet:
    """Processes over one data folder, and over a ZooKeeper root of their own, if any. All end with `close`."""

    def __init__(self, folder: Path, zk_hosts: str = "") -> None:
        self.folder = folder
        self.zk_hosts = zk_hosts
        self.zk_root = f"/{uuid4().hex}"
        self.data_dir = folder / "data"
        self.actions_dir = folder / "actions"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.processes: list[Process] = []
        for made in (self.data_dir, self.actions_dir):
            made.mkdir(exist_ok=True)
        self.password_file = folder / "password"
        self.password_file.write_text(PASSWORD)
        self.password_file.chmod(0o600)
        self.login = ["--ss-user", "super", "--ss-pass-file", str(self.password_file)]
        """Of executors and distributors."""

    def client(self, **options: Any) -> Client:
        return Client(self.url, "super", PASSWORD, **options)

    def server(self, *arguments: str) -> Process:
        """Start a job server; return once the server answers."""
        process = self.start_server(*arguments)
        until(lambda: self.client().healthy() or not process.running)
        assert process.running, process.log
        return process

    def start_server(self, *arguments: str) -> Process:
        """Start a job server without waiting."""
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        return self._start("server", [*address, "--admin-pass-file", str(self.password_file), *arguments])

    @property
    def way(self) -> Way:
        """The straight one."""
        return Way(self.url, self.zk_hosts)

    def executor(self, name: str, *arguments: str, actions_dir: Path | None = None) -> Process:
        """Start an executor; return once the executor takes jobs."""
        process = self.start_executor(name, *arguments, actions_dir=actions_dir)
        self.await_nodes(name)
        return process

    def await_nodes(self, *names: str) -> None:
        """Wait until processes of these names have announced themselves."""
        client = self.client()

        def there() -> bool:
            ended = [process.log for process in self.processes if process.failed]
            assert not ended, ended[0]
            return {node["name"] for node in client.nodes()}.issuperset(names)

        until(there)

    def start_executor(
        self, name: str, *arguments: str, actions_dir: Path | None = None, way: Way | None = None
    ) -> Process:
        """Start an executor without waiting."""
        folder = f"--actions-dir={actions_dir or self.actions_dir}"
        return self._start("executor", [*self._connection(name, way), folder, *arguments], way)

    def distributor(self, name: str, *arguments: str, way: Way | None = None) -> Process:
        return self._start("distributor", [*self._connection(name, way), *arguments], way)

    def _connection(self, name: str, way: Way | None) -> list[str]:
        return ["--ss-url", (way or self.way).url, *self.login, "--name", name]

    def _start(self, command: str, arguments: list[str], way: Way | None = None) -> Process:
        log = self.folder / f"{command}-{len(self.processes)}.log"
        hosts = (way or self.way).zk_hosts
        zookeeper = ["--zk-hosts", hosts, "--zk-root", self.zk_root] if hosts else []
        process = Process(command, ["--data-dir", str(self.data_dir), *zookeeper, *arguments], log)
        self.processes.append(process)
        return process

    @contextlib.contextmanager
    def in_no_transaction(self) -> Iterator[None]:
        """Lock the queue of SQLite meanwhile: a process that is stopped in a transaction would block all others."""
        if self.zk_hosts:
            yield
            return
        with (self.data_dir / "coordination.db.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def freeze(self, process: Process) -> None:
        with self.in_no_transaction():
            process.freeze()

    def close(self) -> None:
        for process in self.processes:
            process.kill()


@contextlib.contextmanager
def fleet(folder: Path, zk_hosts: str = "") -> Iterator[Fleet]:
    made = Fleet(folder, zk_hosts)
    try:
        yield made
    finally:
        made.close()


def ended(client: Client, ids: list[str], seconds: float = 60.0) -> dict[str, dict[str, Any]]:
    """Return the jobs of these ids by id, once all are final."""

    def final() -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for first in range(0, len(ids), 500):
            page = ids[first : first + 500]
            wanted = " or ".join(f"id='{id}'" for id in page)
            found.update((job["id"], job) for job in client.search("job", filter=wanted)["jobs"])
        return found if all(id in found and found[id]["state"] in FINAL for id in ids) else {}

    return until(final, seconds, every=0.2)
