"""A machine with a package, and ZooKeeper and Elasticsearch beside it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from geventjob import Client
from tests.support import elasticsearch
from tests.support.elastic_stores import new_prefix, remove_indexes
from tests.support.fleet import until
from tests.support.machine import Machine
from tests.support.ports import free_port

ACTIONS = '''
import subprocess, time
from pathlib import Path
from geventjob import action

@action("waits")
def waits(job):
    """Wait for a program."""
    subprocess.run(["sleep", str(job.payload.get("seconds", 1))], check=True)

@action("gated")
def gated(job):
    """Wait at a gate, some jobs for a program that reads from its pipe."""
    gate = Path(job.payload["gate"])
    if job.payload.get("program"):
        subprocess.run(["cat", str(gate)], check=True)
    while gate.is_fifo():
        time.sleep(0.2)

@action("environ")
def environ(job):
    """Write the environment of a program into a file."""
    with open(job.payload["file"], "w") as file:
        subprocess.run(["env"], stdout=file, check=True)

@action("bounded", isolation="process", memory="128M")
def bounded(job):
    """Return the control group, or fill the memory."""
    kept = []
    while job.payload["fill"]:
        kept.append(bytearray(1 << 23))
    return {"group": Path("/proc/self/cgroup").read_text().rpartition("0::")[2].strip()}

@action("holds", timeout=600)
def holds(job):
    """Keep the interpreter in C code, where nothing can interrupt it."""
    sum(range(10**11))
'''
EXECUTOR, SERVER = "slipstream-job-executor", "slipstream-job-server"
DISTRIBUTOR = "slipstream-job-distributor@jobs_cleanup.service"
UNITS = (SERVER, EXECUTOR, DISTRIBUTOR)
FOLDER = "/etc/slipstream/actions"
DATA = "/var/lib/slipstream/job"
COMMANDS = ("geventjob", "geventjob-executor", "geventjob-distributor", "geventjob-server")
PYTHON = str(Path("/usr/bin/python3").resolve())
"""The interpreter that the packages are built for."""


def copied(machine: Machine, package: Path) -> str:
    """Copy a package into a machine, and return its place there."""
    machine.path(package.name).write_bytes(package.read_bytes())
    return f"/{package.name}"


class Installed:
    """A machine with a package, beside a ZooKeeper and an Elasticsearch. Its network is the host's."""

    def __init__(self, machine: Machine, zookeeper: str, prefix: str) -> None:
        """Add the actions. `prefix`: of the indexes in Elasticsearch."""
        self.machine = machine
        machine.path(FOLDER).mkdir()
        machine.path(f"{FOLDER}/own.py").write_text(ACTIONS)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        queue = f"--zk-hosts={zookeeper} --zk-root=/packages-{self.port}"
        search = f"--es-hosts-list={elasticsearch.shared()}"
        login = f"--ss-url={self.url} --ss-user=super {queue}"
        self._arguments = {
            "server": f"--port={self.port} {queue} {search} --es-index-prefix={prefix}",
            "executor": f"{login} {search} --actions-dir={FOLDER}",
            "distributor": login,
        }

    def start(self) -> None:
        """Bring up all three by the lines of the manual."""
        self.defaults("server")
        self.machine.run("systemctl", "start", SERVER)
        self.defaults("executor", f"--ss-pass={self.password}", "--threads=8")
        self.defaults("distributor", f"--ss-pass={self.password}")
        self.machine.run("systemctl", "start", "slipstream-job-executor")
        self.machine.run("systemctl", "start", "slipstream-job-distributor@jobs_cleanup.service")

    @property
    def password(self) -> str:
        """The password of `super`, which the server made at its first start."""
        return self.machine.path(f"{DATA}/admin-pass").read_text().strip()

    def client(self) -> Client:
        return Client(self.url, "super", self.password)

    def geventjob(self, *arguments: str) -> str:
        """Return the output of a command for operators."""
        login = ["--ss-url", self.url, "--ss-user", "super", "--ss-pass-file", f"{DATA}/admin-pass"]
        return self.machine.run("geventjob", *login, *arguments)

    def defaults(self, service: str, *more: str) -> None:
        """Write DAEMON_ARGS as an operator does: addresses, user, and what a test adds."""
        arguments = " ".join([self._arguments[service], *more])
        self.machine.path(f"/etc/default/slipstream-job-{service}").write_text(f"DAEMON_ARGS='{arguments}'\n")

    def log(self, name: str) -> str:
        return self.machine.path(f"/var/log/slipstream/log/{name}.log").read_text()

    def active(self) -> list[str]:
        """Return the units that are active."""
        return [unit for unit in UNITS if self.machine.property(unit, "ActiveState") == "active"]

    def works(self) -> None:
        """Check that all units are active, and that a job of a client and the distributor's job succeed."""
        assert self.active() == [*UNITS]
        assert self.geventjob("submit", "waits", "--wait").splitlines()[-1] == "SUCCESS"
        cleanup = "action='cleanup_jobs' and state='SUCCESS'"
        until(lambda: self.client().search("job", filter=cleanup, last=0)["count"])

    def processes(self) -> set[str]:
        """Return the main processes of the units."""
        return {self.machine.property(unit, "MainPID") for unit in UNITS}

    @contextlib.contextmanager
    def drop_in(self, unit: str, lines: str) -> Iterator[None]:
        """Add lines to the section `[Service]` of a unit, for its restarts in the block."""
        folder = self.machine.path(f"/etc/systemd/system/{unit.removesuffix('.service')}.service.d")
        folder.mkdir(parents=True)
        (folder / "own.conf").write_text(f"[Service]\n{lines}\n")
        self.machine.run("systemctl", "daemon-reload")
        yield
        (folder / "own.conf").unlink()
        folder.rmdir()
        self.machine.run("systemctl", "daemon-reload")


@contextlib.contextmanager
def installed(machine: Machine, zookeeper: str) -> Iterator[Installed]:
    prefix = new_prefix()
    yield Installed(machine, zookeeper, prefix)
    remove_indexes(prefix)


class Gate:
    """A pipe at which jobs wait until the gate opens; their programs then read its end."""

    def __init__(self, place: Path) -> None:
        self._place = place
        os.mkfifo(place, 0o644)

    def open(self) -> None:
        """Let all jobs end, also those that run again later."""
        writer = os.open(self._place, os.O_WRONLY)
        opened = self._place.with_suffix(".open")
        opened.touch()
        opened.rename(self._place)
        os.close(writer)
