"""The Debian package on a machine with a real systemd: install, the lines of the manual, upgrade, removal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from geventjob import Client
from tests.packages.conftest import Packages
from tests.support.fleet import ended, free_port, until
from tests.support.machine import Machine, machine
from tests.support.zookeeper import Ensemble, running

ACTIONS = '''
import subprocess, sys, time
from geventjob import action

@action("waits")
def waits(job):
    """Wait for a program."""
    subprocess.run(["sleep", str(job.payload.get("seconds", 1))], check=True)

@action("holds", timeout=600)
def holds(job):
    """Keep the interpreter in C code, where nothing can interrupt it."""
    sum(range(10**11))
'''
EXECUTOR, SERVER = "slipstream-job-executor", "slipstream-job-server"
DISTRIBUTOR = "slipstream-job-distributor@jobs_cleanup.service"


class Installed:
    """A machine with the package, and a ZooKeeper beside it."""

    def __init__(self, machine: Machine, upgrade: Path, zookeeper: str) -> None:
        self.machine = machine
        self.upgrade = upgrade
        self.port = free_port()
        self.login = ["--ss-url", f"http://127.0.0.1:{self.port}", "--ss-user", "super"]
        self.password_file = "/var/lib/slipstream/job/admin-pass"
        self.zookeeper = f"--zk-hosts={zookeeper} --zk-root=/packages-{self.port}"

    def geventjob(self, *arguments: str) -> str:
        return self.machine.run("geventjob", *self.login, "--ss-pass-file", self.password_file, *arguments)

    def client(self) -> Client:
        """Return a client on the host, which shares its network with the machine."""
        password = self.machine.path(self.password_file).read_text().strip()
        return Client(f"http://127.0.0.1:{self.port}", "super", password)

    def defaults(self, service: str, arguments: str) -> None:
        """Write DAEMON_ARGS as an operator does."""
        self.machine.path(f"/etc/default/slipstream-job-{service}").write_text(f"DAEMON_ARGS='{arguments}'\n")


@pytest.fixture(scope="module")
def site(archive: Path, packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    first, second = packages.deb
    root = tmp_path_factory.mktemp("machine") / "one"
    with machine(archive, root) as made, running(Ensemble()) as ensemble:
        for package in (first, second):
            made.path(f"/{package.name}").write_bytes(package.read_bytes())
        made.run("dpkg", "-i", f"/{first.name}")
        site = Installed(made, Path(f"/{second.name}"), ensemble.hosts)
        actions = made.path("/etc/slipstream/actions")
        actions.mkdir()
        (actions / "own.py").write_text(ACTIONS)
        yield site


def test_the_lines_of_the_manual_bring_up_the_engine(site: Installed) -> None:
    machine = site.machine
    site.defaults("server", f"--port={site.port} {site.zookeeper}")
    machine.run("systemctl", "start", SERVER)
    password = machine.path(site.password_file).read_text().strip()
    login = f"--ss-url=http://127.0.0.1:{site.port} --ss-user=super --ss-pass={password} {site.zookeeper}"
    site.defaults("executor", f"{login} --threads=8 --actions-dir=/etc/slipstream/actions")
    site.defaults("distributor", login)
    machine.run("systemctl", "start", "slipstream-job-executor")
    machine.run("systemctl", "start", DISTRIBUTOR)
    assert [machine.property(unit, "ActiveState") for unit in (SERVER, EXECUTOR, DISTRIBUTOR)] == ["active"] * 3
    assert site.geventjob("submit", "waits", "--wait").splitlines()[-1] == "SUCCESS"
    logs = {path.name for path in machine.path("/var/log/slipstream/log").iterdir()}
    assert logs == {"server.log", "executor.log", "distributor-jobs_cleanup.log"}
    shown = machine.run("geventjob", "check", "--defaults", "/etc/default/slipstream-job-executor")
    assert "--threads=8" in shown
    for place in (machine.run("systemctl", "status", EXECUTOR), shown, machine.run("journalctl", "--no-pager")):
        assert password not in place


def test_the_units_are_hardened_and_have_no_misspelt_line(site: Installed) -> None:
    units = [f"{EXECUTOR}.service", f"{SERVER}.service", "geventjob.service", DISTRIBUTOR]
    told = site.machine.run("systemd-analyze", "verify", *units, check=False)
    assert [line for line in told.splitlines() if "man " not in line] == []  # this Debian has no manual pages
    exposure = site.machine.run("systemd-analyze", "security", "--no-pager", units[0]).splitlines()[-1]
    assert float(exposure.partition("service: ")[2].split()[0]) <= 1.5


def test_a_dump_reaches_the_log_and_harms_no_program_of_an_action(site: Installed) -> None:
    client = site.client()
    job = client.add("job", {"action": "waits", "payload": {"seconds": 3}})
    until(lambda: client.get(job)["state"] == "RUNNING")
    site.machine.run("systemctl", "kill", "-s", "SIGUSR1", EXECUTOR)
    log = site.machine.path("/var/log/slipstream/log/executor.log")
    until(lambda: "SIGUSR1" in log.read_text())
    assert ended(client, [job])[job]["state"] == "SUCCESS"


def test_a_restart_and_an_upgrade_lose_no_job(site: Installed) -> None:
    client = site.client()
    ids = list(map(str, client.bulk_add([{"action": "waits"}] * 150)))
    until(lambda: client.search("job", filter="state='RUNNING'")["count"])
    site.machine.run("systemctl", "restart", SERVER, EXECUTOR, DISTRIBUTOR)
    site.machine.run("dpkg", "-i", str(site.upgrade))
    assert site.machine.run("dpkg-query", "-W", "-f", "${Version}", "slipstream-job") == "1.1"
    assert {job["state"] for job in ended(client, ids, 180).values()} == {"SUCCESS"}
    assert [site.machine.property(unit, "ActiveState") for unit in (SERVER, EXECUTOR, DISTRIBUTOR)] == ["active"] * 3


def test_the_watchdog_restarts_a_process_whose_hub_is_held(site: Installed) -> None:
    folder = site.machine.path(f"/etc/systemd/system/{EXECUTOR}.service.d")
    folder.mkdir(parents=True)
    (folder / "quick.conf").write_text("[Service]\nWatchdogSec=2\n")
    site.machine.run("systemctl", "daemon-reload")
    site.machine.run("systemctl", "restart", EXECUTOR)
    old = site.machine.property(EXECUTOR, "MainPID")
    site.geventjob("submit", "holds")
    until(lambda: site.machine.property(EXECUTOR, "MainPID") not in (old, "0"), 60)
    assert "Watchdog timeout" in site.machine.run("journalctl", "--no-pager", "-u", EXECUTOR)
    (folder / "quick.conf").unlink()
    site.machine.run("systemctl", "daemon-reload")


def test_removal_keeps_data_and_purge_takes_it(site: Installed) -> None:
    site.machine.run("dpkg", "-r", "slipstream-job")
    assert site.machine.path(site.password_file).exists()
    assert not site.machine.path("/opt/slipstream").exists()
    assert site.machine.property(EXECUTOR, "ActiveState") == "inactive"
    site.machine.run("dpkg", "--purge", "slipstream-job")
    for place in ("/var/lib/slipstream", "/var/log/slipstream", "/etc/default/slipstream-job-executor"):
        assert not site.machine.path(place).exists()
    assert "slipstream" not in site.machine.path("/etc/passwd").read_text()
