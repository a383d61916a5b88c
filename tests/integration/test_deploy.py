"""docs/deploy.md typed through: three machines are three folders here, and every block is run in the order of the page.

TABLE has all that is not typed as it stands there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError

from geventjob.config.options import OPTIONS
from tests.fleet import free_port, until
from tests.zookeeper import JARS, JAVA, MAIN, free_ports

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"
BLOCK = re.compile(r"```sh\n# on ([^\n]+)\n(.*?)```", re.DOTALL)
MACHINES = ("one", "two", "three")
CLASSES = ":".join(f"{JARS}/{name}.jar" for name in ("zookeeper", "slf4j-simple"))
ZOOKEEPER = f"java {' '.join(JAVA)} -cp {CLASSES} {MAIN}"
BIN = Path(sys.executable).parent


class Machine:
    """A folder, and the processes that were started from its terminal."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.output = folder / "terminal"
        self.groups: list[int] = []
        self.client, self.peer, self.election = free_ports(3)
        for made in ("etc/zookeeper/conf", "var/lib/zookeeper"):  # what Debian's package makes
            (folder / made).mkdir(parents=True)
        (folder / "var/lib/zookeeper/myid").symlink_to(folder / "etc/zookeeper/conf/myid")

    def type(self, lines: str) -> None:
        """Run a block as it is; what it leaves in the background runs on."""
        with self.output.open("ab") as output:
            shell = subprocess.Popen(
                ["bash", "-exc", lines],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
                start_new_session=True,
            )
            self.groups.append(shell.pid)
            assert shell.wait(60) == 0, f"on {self.name}:\n{lines}\n{self.output.read_text()}"

    def close(self) -> None:
        for group in self.groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


def table(machine: Machine, machines: Sequence[Machine], server: int) -> dict[str, str]:
    """What stands on the page → what is typed on this machine; from the top to the bottom."""
    _, two, three = machines
    etc = f"{machine.folder}/etc/"
    start = f"{ZOOKEEPER} {etc}zookeeper/conf/zoo.cfg >> zookeeper.log 2>&1 & echo $! > zookeeper.pid"
    return {
        # Nothing is installed, and nobody is added.
        "apt-get install": ": apt-get install",
        "python3 -m venv": ": python3 -m venv",
        "/opt/geventjob/bin/pip": ": pip",
        "ln -s /opt": ": ln -s /opt",
        "adduser": ": adduser",
        "-o root -g geventjob": "",
        "-o geventjob -g geventjob": "",
        "chgrp geventjob": ": chgrp",
        "runuser -u geventjob --": "",
        # Debian's service.
        "systemctl restart zookeeper": start,
        "systemctl start zookeeper": start,
        "systemctl stop zookeeper": "kill $(cat zookeeper.pid)",
        # One address, and ports of its own for each machine.
        "scp -p": "cp -p",
        " two:/etc/": f" {two.folder}/etc/",
        " three:/etc/": f" {three.folder}/etc/",
        "clientPort=2181": f"clientPort={machine.client}\nadmin.enableServer=false",
        **{f"{each.name}:2888:3888": f"127.0.0.1:{each.peer}:{each.election}" for each in machines},
        **{f"{each.name}:2181": f"127.0.0.1:{each.client}" for each in machines},
        "host = 0.0.0.0": "host = 127.0.0.1",
        "port = 8200": f"port = {server}",
        "http://one:8200": f"http://127.0.0.1:{server}",
        # A folder for each machine.
        " /etc/": f" {etc}",
        " /var/": f" {machine.folder}/var/",
        "=/var/": f"={machine.folder}/var/",
    }


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[list[Machine]]:
    made = [Machine(name, tmp_path / name) for name in MACHINES]
    yield made
    for machine in made:
        machine.close()


def test_the_page(machines: list[Machine]) -> None:
    server = free_port()
    page = PAGE.read_text()
    typed = ""
    for where, lines in BLOCK.findall(page):
        on = re.findall(r"\w+", where.replace(" and ", " "))
        assert set(on) <= set(MACHINES), where
        typed += lines
        for machine in machines:
            if machine.name in on:
                machine.type(replaced(lines, table(machine, machines, server)))
    assert page.count("```sh\n") == len(BLOCK.findall(page)), "a block does not say where it is typed"
    assert not [left for left in table(machines[0], machines, server) if left not in typed], "rows without a use"

    one = machines[0]
    assert one.output.read_text().count("\n100 jobs: 100 SUCCESS\n") == 2
    command = [BIN / "geventjob", "-c", one.folder / "etc/geventjob/client.ini", "nodes", "--json"]
    nodes = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert Counter(node["role"] for node in nodes) == {"server": 1, "executor": 3, "distributor": 2}
    assert [node["leads"] for node in nodes if node.get("leads")] == [["jobs_cleanup"]]
    until(lambda: sorted(filter(None, map(mode, machines))) == ["follower", "follower", "leader"])
    stranger = KazooClient(f"127.0.0.1:{one.client}")
    stranger.start()
    with pytest.raises(NoAuthError):
        stranger.get_children("/job/entries")
    stranger.stop()
    stranger.close()


def mode(machine: Machine) -> str | None:
    """What this node of ZooKeeper is; None if it does not serve."""
    try:
        with socket.create_connection(("127.0.0.1", machine.client), timeout=5) as connection:
            connection.sendall(b"srvr")
            answer = b"".join(iter(partial(connection.recv, 4096), b""))
    except OSError:
        return None
    found = re.search(rb"Mode: (\w+)", answer)
    return found[1].decode() if found else None


def replaced(lines: str, rows: dict[str, str]) -> str:
    for left, right in rows.items():
        lines = lines.replace(left, right)
    return lines


def test_options_on_the_page() -> None:
    """Those that no block is typed with, too."""
    page = PAGE.read_text()
    named = set(re.findall(r"--([a-z]+-[a-z-]+)", page)) | set(re.findall(r"^([a-z-]+) = ", page, re.MULTILINE))
    of_other_commands = {"pass-file", "retry-delay", "retry-all-errors"}
    assert named - of_other_commands <= {option.name for option in OPTIONS}
    assert {"zk-tls-ca", "zk-tls-cert", "zk-tls-key", "zk-auth-file", "session-timeout"} <= named
