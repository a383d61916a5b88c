"""A real Elasticsearch 7.17 for tests: a node, or several, on free ports, in a temporary folder.

No package registry has a distribution of Elasticsearch, but Maven's has the jars of the server: `mvn` resolves the jars
once into the cache of the user, and this module lays the jars out like a distribution. Needs a JDK of version 11 to 23.
Elasticsearch refuses to run as root; for root, the node runs as user nobody.

With GEVENTJOB_TEST_ES=http://HOST:PORT, tests that need no node of their own use that node, of any version.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.cache import cached
from tests.support.ports import free_port

VERSION = "7.17.29"
GROUP = "org.elasticsearch"
ARTIFACTS = (
    f"{GROUP}:elasticsearch",
    f"{GROUP}:elasticsearch-plugin-classloader",
    f"{GROUP}.plugin:transport-netty4-client",
    f"{GROUP}.plugin:reindex-client",
    f"{GROUP}.plugin:mapper-extras-client",
)
COPY = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies"
NOBODY = 65534

NETTY = r"netty-|transport-netty4-client"
HTTP = r"http(core|client|asyncclient)|elasticsearch-rest-client|elasticsearch-ssl-config|commons-(logging|codec)"
MODULES = {
    "transport-netty4": (NETTY, "transport.Netty4Plugin"),
    "reindex": (rf"reindex-client|{HTTP}", "reindex.ReindexPlugin"),
    "mapper-extras": ("mapper-extras-client", "index.mapper.MapperExtrasPlugin"),
}
"""The jars and the class of each module, by name; all other jars belong to the server."""
PERMISSIONS = {
    "transport-netty4": """
        permission java.io.FilePermission "/proc/sys/net/core/somaxconn", "read";
        permission java.net.SocketPermission "*", "accept,connect";
        permission java.lang.RuntimePermission "setContextClassLoader";
        permission java.util.PropertyPermission "sun.nio.ch.bugLevel", "write";
    """,
    "reindex": """
        permission java.net.SocketPermission "*", "connect";
        permission java.lang.RuntimePermission "setFactory";
        permission java.security.SecurityPermission "createAccessControlContext";
    """,
}
DESCRIPTOR = """name={name}
description={name}
version={version}
elasticsearch.version={version}
java.version=1.8
classname=org.elasticsearch.{main}
extended.plugins=
has.native.controller=false
"""
LOGGING = """status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%c{1}] %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""
JAVA = (
    "-Xms256m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto -Xss1m -Djava.security.manager=allow"
    " -Djava.locale.providers=SPI,COMPAT -Djava.awt.headless=true -Dfile.encoding=UTF-8 -Djna.nosys=true"
    " -Dio.netty.noUnsafe=true -Dio.netty.noKeySetOptimization=true -Dio.netty.recycler.maxCapacityPerThread=0"
    " -Dio.netty.allocator.numDirectArenas=0 -Dlog4j.shutdownHookEnabled=false -Dlog4j2.disable.jmx=true"
    " -Dlog4j2.formatMsgNoLookups=true -Des.distribution.flavor=default -Des.distribution.type=tar"
    " -Des.bundled_jdk=false --add-opens=java.base/java.io=ALL-UNNAMED"
)


def home() -> Path:
    """Return the folder of the distribution, made on the first call; safe beside other test runs."""
    return cached(f"elasticsearch-{VERSION}", _install)


def _install(place: Path) -> None:
    _lay_out(_resolved(place.parent), place)
    os.chmod(place, 0o755)


def _resolved(folder: Path) -> list[Path]:
    """Resolve the jars of all artifacts and of their dependencies."""
    dependencies = ""
    for artifact in ARTIFACTS:
        group, name = artifact.split(":")
        dependencies += (
            f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>"
            f"<version>{VERSION}</version></dependency>"
        )
    (folder / "pom.xml").write_text(
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>tests</groupId><artifactId>elasticsearch</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )
    assert shutil.which("mvn"), "Maven is needed to get Elasticsearch: apt-get install maven"
    command = ["mvn", "-q", "-B", COPY, f"-DoutputDirectory={folder}/jars", "-DincludeScope=runtime"]
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"mvn: {done.stdout[-4000:]}{done.stderr[-2000:]}"
    return sorted((folder / "jars").iterdir())


def _lay_out(jars: Sequence[Path], place: Path) -> None:
    for name, (members, main) in MODULES.items():
        module = place / "modules" / name
        module.mkdir(parents=True)
        (module / "plugin-descriptor.properties").write_text(DESCRIPTOR.format(name=name, version=VERSION, main=main))
        if name in PERMISSIONS:
            (module / "plugin-security.policy").write_text(f"grant {{ {PERMISSIONS[name]} }};\n")
        for jar in jars:
            if re.match(members, jar.name):
                shutil.copy(jar, module)
    (place / "lib").mkdir()
    for folder in ("bin", "config", "plugins"):
        (place / folder).mkdir()
    for jar in jars:
        if not any(re.match(members, jar.name) for members, _ in MODULES.values()):
            shutil.copy(jar, place / "lib")


@functools.cache
def java() -> str:
    """Return the `java` of a JDK that Elasticsearch 7.17 supports."""
    named = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    found = shutil.which("java")
    on_path = [Path(found).resolve().parent.parent] if found else []
    for folder in [*named, *on_path, *sorted(Path("/usr/lib/jvm").glob("*"))]:
        with contextlib.suppress(OSError):
            version = re.search(r'JAVA_VERSION="(\d+)', (folder / "release").read_text())
            if version and 11 <= int(version[1]) <= 23 and os.access(folder / "bin/java", os.X_OK):
                return str(folder / "bin/java")
    raise AssertionError("a JDK of 11 to 23 is needed for Elasticsearch: apt-get install openjdk-17-jdk-headless")


def command(config: Path, tmp: Path) -> list[str]:
    """Return the command that starts a node with the settings in a folder."""
    place = home()
    return [
        *_unprivileged(place),
        *["env", f"--chdir={tmp}", f"LIBFFI_TMPDIR={tmp}", f"ES_TMPDIR={tmp}"],
        *[java(), *JAVA.split(), f"-Djava.io.tmpdir={tmp}", f"-Djna.tmpdir={tmp}"],
        *[f"-Des.path.home={place}", f"-Des.path.conf={config}"],
        *["-cp", f"{place}/lib/*", "org.elasticsearch.bootstrap.Elasticsearch"],
    ]


def hand_over(folder: Path) -> None:
    """Make the user that runs nodes the owner of a folder."""
    if os.geteuid() == 0:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, NOBODY, NOBODY)


class Node:
    """A node: a JVM that can be killed, frozen, and started again with the same port and data."""

    def __init__(self, folder: Path, name: str, port: int, settings: dict[str, object]) -> None:
        self.name = name
        self.port = port
        self.host = f"127.0.0.1:{port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        for sub in ("config", "data", "logs", "tmp"):
            (folder / sub).mkdir(parents=True)
        settings = {
            "node.name": name,
            "path.data": folder / "data",
            "path.logs": folder / "logs",
            "network.host": "127.0.0.1",
            "http.port": port,
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            **settings,
        }
        (folder / "config/elasticsearch.yml").write_text(
            "".join(f"{key}: {value}\n" for key, value in settings.items())
        )
        (folder / "config/log4j2.properties").write_text(LOGGING)
        hand_over(folder)

    def start(self) -> None:
        """Start the process, without waiting for the service."""
        own = command(self._folder / "config", self._folder / "tmp")
        with (self._folder / "log").open("ab") as log:  # setpriv ends the JVM with a killed test run
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *own], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def await_ready(self, nodes: int = 1, seconds: float = 90) -> None:
        """Wait until the node serves, in a cluster of at least `nodes`."""
        deadline = time.monotonic() + seconds
        while True:
            assert self.running, f"Elasticsearch did not start:\n{self.log[-4000:]}"
            with contextlib.suppress(OSError):
                health = ask(self.host, "GET", f"/_cluster/health?wait_for_nodes=>={nodes}&wait_for_status=yellow")
                if not health["timed_out"]:
                    return
            assert time.monotonic() < deadline, f"Elasticsearch is not ready in {seconds} s:\n{self.log[-4000:]}"
            time.sleep(0.1)

    def kill(self) -> None:
        """Send SIGKILL, and wait for the end of the process."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Stop the process: connections stay open, and no answer comes."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class Cluster:
    """A cluster of one node, or of several nodes that elect a master."""

    def __init__(self, count: int = 1) -> None:
        memory = "/dev/shm"  # a folder in memory survives a kill -9 as well as a disk does, and is faster
        self.folder = Path(
            tempfile.mkdtemp(prefix="elasticsearch-", dir=memory if os.access(memory, os.W_OK) else None)
        )
        os.chmod(self.folder, 0o755)
        ports = [free_port() for _ in range(2 * count)]
        names = [f"node-{number}" for number in range(1, count + 1)]
        shared: dict[str, object] = {"discovery.type": "single-node"}
        if count > 1:
            hosts = ",".join(f"127.0.0.1:{port}" for port in ports[count:])
            shared = {"discovery.seed_hosts": f"[{hosts}]", "cluster.initial_master_nodes": f"[{','.join(names)}]"}
        self.nodes = [
            Node(self.folder / name, name, port, {**shared, "transport.port": transport})
            for name, port, transport in zip(names, ports[:count], ports[count:], strict=True)
        ]

    @property
    def hosts(self) -> list[str]:
        return [node.host for node in self.nodes]

    def start(self) -> Cluster:
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.await_ready(len(self.nodes))
        return self

    def close(self) -> None:
        for node in self.nodes:
            if node.running:
                node.kill()
        shutil.rmtree(self.folder)


@contextlib.contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    """Start the cluster, and close the cluster at the end of the block."""
    try:
        yield cluster.start()
    finally:
        cluster.close()


@functools.cache
def shared() -> str:
    """Return the host of the node that all test processes of this user share; the node ends with the last process."""
    told = os.environ.get("GEVENTJOB_TEST_ES")
    if told:
        return told
    folder = Path(tempfile.gettempdir()) / f"geventjob-elasticsearch-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fcntl.flock(_using(folder), fcntl.LOCK_SH)  # the lock ends with this process, even with a kill
        host = folder / "host"
        if not _answers(host):
            host.unlink(missing_ok=True)
            with (folder / "log").open("ab") as log:
                keeper = subprocess.Popen(
                    [sys.executable, "-m", "tests.support.elasticsearch", str(folder)],
                    cwd=Path(__file__).parents[2],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            while not host.exists():
                assert keeper.poll() is None, f"no Elasticsearch: {(folder / 'log').read_text()[-4000:]}"
                time.sleep(0.05)
            keeper.returncode = 0  # it outlives this process while others use the node: no warning of a running child
        return host.read_text()


def _keep(folder: Path) -> None:
    """Run the shared node as long as a test process uses the node."""
    with running(Cluster()) as cluster:
        (folder / "new").write_text(cluster.hosts[0])
        (folder / "new").rename(folder / "host")
        fcntl.flock(_using(folder), fcntl.LOCK_EX)
        (folder / "host").unlink()


def _using(folder: Path) -> int:
    return os.open(folder / "users", os.O_RDWR | os.O_CREAT, 0o600)


def _answers(host: Path) -> bool:
    with contextlib.suppress(OSError):
        ask(host.read_text(), "GET", "/")
        return True
    return False


def ask(host: str, method: str, path: str, body: Any = None) -> Any:
    """Send a request to a node; return the answer; a list is sent as lines. Raises OSError for any status but 2xx."""
    lines = body if isinstance(body, list) else [] if body is None else [body]
    data = "".join(f"{json.dumps(line)}\n" for line in lines).encode() or None
    url = f"{host if '://' in host else f'http://{host}'}{path}"
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        return json.load(answer)


@functools.cache
def _unprivileged(place: Path) -> tuple[str, ...]:
    """Return a prefix for commands that drops root, and keeps the right to read `place`."""
    if os.geteuid() != 0:
        return ()
    dropped = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    for passing in ((), ("--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override")):
        trial = [*dropped, *passing, "test", "-r", str(place / "lib")]
        if subprocess.run(trial, stderr=subprocess.DEVNULL).returncode == 0:
            return (*dropped, *passing)
    raise AssertionError(f"user {NOBODY} cannot read {place}: set XDG_CACHE_HOME to a readable folder")


if __name__ == "__main__":
    _keep(Path(sys.argv[1]))
