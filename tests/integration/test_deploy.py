"""docs/deploy.md typed through: three machines are three folders here, and every block is run in the order of the page.

TABLE has all that is not typed as it stands there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError

from geventjob.config.options import OPTIONS
from tests.support import elasticsearch
from tests.support.fleet import until
from tests.support.ports import free_port
from tests.support.zookeeper import JARS, JAVA, MAIN, Certificates

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"
BLOCK = re.compile(r"```sh\n# on ([^\n]+)\n(.*?)```", re.DOTALL)
MACHINES = ("one", "two", "three")
CLASSES = ":".join(f"{JARS}/{name}.jar" for name in ("zookeeper", "slf4j-simple"))
ZOOKEEPER = f"java {' '.join(JAVA)} -cp {CLASSES} {MAIN}"
BIN = Path(sys.executable).parent
SYSTEMCTL = r"""#!/bin/bash
# What the page needs of systemctl, for the units of one machine.
set -ef
verb=$1 unit=${!#}
case "$*" in daemon-reload) exit ;; "enable --now "*) verb=start ;; enable*) verb=none ;; esac
file=$MACHINE/etc/systemd/system/$unit.service pid=$MACHINE/$unit.pid
[ -e "$file" ] || file=$MACHINE/etc/systemd/system/${unit%@*}@.service
told() { sed -n "s/%i/${unit#*@}/g; s/^$1=//p" "$file"; }
case $verb in stop | restart)
    if [ -e "$pid" ]; then
        kill "$(cat "$pid")"
        while grep -q '^State:.[^Z]' "/proc/$(cat "$pid")/status" 2> /dev/null; do sleep 0.02; done
        rm "$pid"
    fi
esac
case $verb in start | restart)
    $(told ExecStart) >> "$MACHINE/$unit.log" 2>&1 &
    echo $! > "$pid"
    $(told ExecStartPost)
esac
"""


class Machine:
    """A folder, and the processes that were started from its terminal."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.output = folder / "terminal"
        self.groups: list[int] = []
        self.server, self.client, self.peer, self.election, self.http, self.transport = [free_port() for _ in range(6)]
        for part in ("bin", "root", "etc/apt/sources.list.d", "etc/systemd/system"):
            (folder / part).mkdir(parents=True)
        systemctl = folder / "bin/systemctl"
        systemctl.write_text(SYSTEMCTL)
        systemctl.chmod(0o755)

    def _unit(self, name: str, command: str, then: str = "true") -> None:
        text = f"[Service]\nExecStart={command}\nExecStartPost={then}\n"
        (self.folder / f"etc/systemd/system/{name}.service").write_text(text)

    def install_zookeeper(self) -> None:
        """Install ZooKeeper like Debian's package."""
        for part in ("etc/zookeeper/conf", "var/lib/zookeeper"):
            (self.folder / part).mkdir(parents=True)
        (self.folder / "var/lib/zookeeper/myid").symlink_to(self.folder / "etc/zookeeper/conf/myid")
        self._unit("zookeeper", f"{ZOOKEEPER} {self.folder}/etc/zookeeper/conf/zoo.cfg")

    def install_elasticsearch(self, first: Machine) -> None:
        """Install and enrol Elasticsearch like Elastic's package, without log-in and TLS, which the free parts lack."""
        config, data, tmp = (self.folder / f"{part}/elasticsearch" for part in ("etc", "var/lib", "tmp"))
        for part in (config, data, tmp):
            part.mkdir(parents=True)
        shutil.copy(Certificates(config / "certs").ca, config / "certs/http_ca.crt")
        (config / "log4j2.properties").write_text(elasticsearch.LOGGING)
        (config / "elasticsearch.yml").write_text(
            f"node.name: {self.name}\npath.data: {data}\npath.logs: {tmp}\n"
            f"http.host: 127.0.0.1\nhttp.port: {self.http}\ntransport.port: {self.transport}\n"
            "cluster.routing.allocation.disk.threshold_enabled: false\n"
            f"discovery.seed_hosts: ['127.0.0.1:{first.transport}']\n"
            + ("cluster.initial_master_nodes: [one]\n" if self is first else "")
        )
        for part in (config, data, tmp):
            elasticsearch.hand_over(part)
        ready = f"curl --silent --fail --retry 90 --retry-delay 1 --retry-all-errors http://127.0.0.1:{self.http}"
        self._unit("elasticsearch", " ".join(elasticsearch.command(config, tmp)), f"{ready}/_cluster/health")

    def type(self, lines: str) -> None:
        """Run a block unchanged; background processes run on."""
        with self.output.open("ab") as output:
            shell = subprocess.Popen(
                ["bash", "-exc", lines],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env={
                    **os.environ,
                    "PATH": f"{self.folder}/bin:{BIN}:{os.environ['PATH']}",
                    "MACHINE": str(self.folder),
                },
                start_new_session=True,
            )
            self.groups.append(shell.pid)
            assert shell.wait(120) == 0, f"on {self.name}:\n{lines}\n{self.output.read_text()}"

    def close(self) -> None:
        for group in self.groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


def table(machine: Machine, machines: Sequence[Machine]) -> dict[str, str]:
    """Return the replacements of the page's text for this machine, in order."""
    one, two, three = machines
    return {
        # No package is installed, and no user is added.
        "apt-get ": ": apt-get ",
        "curl --fail --silent https://artifacts.elastic.co": ": curl",
        "gpg --dearmor > /usr/share/keyrings/elastic.gpg": "cat",
        "python3 -m venv": ": python3 -m venv",
        "/opt/geventjob/bin/pip": ": pip",
        "ln -s /opt": ": ln -s /opt",
        "adduser": ": adduser",
        "-o root -g geventjob": "",
        "-o geventjob -g geventjob": "",
        "chgrp geventjob": ": chgrp",
        "=/usr/local/bin/": f"={BIN}/",
        "--retry 30": "--retry 120",  # one machine does the work of three, beside other tests
        # No log-in and TLS in Elasticsearch.
        "ssh ": ": ssh ",
        "/usr/share/elasticsearch/bin/": ": ",
        "curl --fail --silent --cacert": 'echo \'"encoded":"aWQ6a2V5"\' curl',
        **{f"https://{each.name}:9200": f"http://127.0.0.1:{each.http}" for each in machines},
        # One address, and ports of its own for each machine.
        "scp -p": "cp -p",
        " two:/etc/": f" {two.folder}/etc/",
        " three:/etc/": f" {three.folder}/etc/",
        "clientPort=2181": f"clientPort={machine.client}\nadmin.enableServer=false",
        **{f"{each.name}:2888:3888": f"127.0.0.1:{each.peer}:{each.election}" for each in machines},
        **{f"{each.name}:2181": f"127.0.0.1:{each.client}" for each in machines},
        "host = 0.0.0.0": "host = 127.0.0.1",
        "transport.host: 0.0.0.0": "transport.host: 127.0.0.1",
        "port = 8200": f"port = {machine.server}",
        **{f"http://{each.name}:8200": f"http://127.0.0.1:{each.server}" for each in (one, two)},
        # A folder for each machine.
        " /etc/": f" {machine.folder}/etc/",
        " /root/": f" {machine.folder}/root/",
        " /var/": f" {machine.folder}/var/",
        "=/var/": f"={machine.folder}/var/",
    }


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    folder = Path(tempfile.mkdtemp(prefix="geventjob-deploy-"))
    folder.chmod(0o755)  # Elasticsearch has a user of its own
    made = [Machine(name, folder / name) for name in MACHINES]
    for machine in made:
        machine.install_zookeeper()
        machine.install_elasticsearch(made[0])
    yield made
    for machine in made:
        machine.close()
    shutil.rmtree(folder, ignore_errors=True)


def test_the_page(machines: list[Machine]) -> None:
    page = PAGE.read_text()
    typed = ""
    for where, lines in BLOCK.findall(page):
        on = re.findall(r"\w+", where.replace(" and ", " "))
        assert set(on) <= set(MACHINES), where
        typed += lines
        for machine in machines:
            if machine.name in on:
                machine.type(replaced(lines, table(machine, machines)))
    assert page.count("```sh\n") == len(BLOCK.findall(page)), "a block does not say where it is typed"
    assert not [left for left in table(machines[0], machines) if left not in typed], "rows without a use"

    one = machines[0]
    assert one.output.read_text().count("\n100 jobs: 100 SUCCESS\n") == 3
    command: list[str | Path] = [BIN / "geventjob", "-c", one.folder / "etc/geventjob/client.ini", "nodes", "--json"]
    nodes = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert Counter(node["role"] for node in nodes) == {"server": 2, "executor": 3, "distributor": 2}
    leads = sorted(name for node in nodes for name in node.get("leads", ()))
    assert leads == ["jobs_cleanup", "promoter", "reconciler", "rescue"]
    until(lambda: sorted(filter(None, map(mode, machines))) == ["follower", "follower", "leader"])
    stranger = KazooClient(f"127.0.0.1:{one.client}")
    stranger.start()
    with pytest.raises(NoAuthError):
        stranger.get_children("/job/entries")
    stranger.stop()
    stranger.close()


def mode(machine: Machine) -> str | None:
    """Return the mode of this ZooKeeper node; None while the node does not serve."""
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
    """Also options that no block uses."""
    page = PAGE.read_text()
    named = set(re.findall(r"--([a-z]+-[a-z-]+)", page)) | set(re.findall(r"^([a-z-]+) = ", page, re.MULTILINE))
    of_other_commands = {
        "kill-who",
        "kill-whom",
        "pass-file",
        "retry-delay",
        "retry-all-errors",
        "enrollment-token",
        "user",
    }
    assert named - of_other_commands <= {option.name for option in OPTIONS}
    assert {"zk-tls-ca", "zk-tls-cert", "zk-tls-key", "zk-auth-file", "session-timeout"} <= named
