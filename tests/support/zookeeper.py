"""A real ZooKeeper for tests: one server or three, on free ports, in a temporary folder; Debian's `zookeeper` package.

A server is ready when a session works. Sessions are opened here by hand (four numbers and a password on the
wire), so that a test can also end the session of another client: who opens a session again, with its password, may
close it.
"""

from __future__ import annotations

import atexit
import contextlib
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.ports import free_port

JARS = Path("/usr/share/java")
JAVA = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
CONFIGURATION = """
tickTime={tick}
initLimit=40
syncLimit={sync}
minSessionTimeout=500
maxSessionTimeout=60000
maxClientCnxns=0
admin.enableServer=false
forceSync={fsync}
standaloneEnabled=true
4lw.commands.whitelist=*
"""
ENFORCING = "enforce.auth.enabled=true\nenforce.auth.schemes=digest\n"


class Certificates:
    """An authority, a server's certificate for 127.0.0.1 and localhost, a client's and a stranger's certificate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = self._authority("ca")
        self.server = self._signed("server", "ca")
        self.client = self._signed("client", "ca")
        self._authority("strange-ca")
        self.stranger = self._signed("stranger", "strange-ca")

    def key(self, certificate: Path) -> Path:
        return certificate.with_suffix(".key")

    def encrypted_key(self, certificate: Path) -> Path:
        """Write the key once more, encrypted by a password."""
        encrypted = certificate.with_suffix(".encrypted")
        self._openssl(*f"ec -aes128 -passout pass:x -in {self.key(certificate)} -out {encrypted}".split())
        return encrypted

    def _authority(self, name: str) -> Path:
        self._openssl("req", "-x509", "-nodes", *self._new_key(name), "-subj", f"/CN={name}", "-out", f"{name}.pem")
        return self.folder / f"{name}.pem"

    def _signed(self, name: str, authority: str) -> Path:
        self._openssl("req", "-nodes", *self._new_key(name), "-subj", f"/CN={name}", "-out", f"{name}.csr")
        (self.folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        sign = f"x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial"
        self._openssl(*sign.split(), "-extfile", "names", "-out", f"{name}.pem")
        return self.folder / f"{name}.pem"

    def _new_key(self, name: str) -> list[str]:
        return f"-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -keyout {name}.key".split()

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


class Server:
    """One server of an ensemble: a JVM that can be killed, frozen and started again on its old port and data."""

    def __init__(self, folder: Path, port: int, configuration: str, certificates: Certificates | None) -> None:
        self.port = port
        self._folder = folder
        self._certificates = certificates
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        (folder / "zoo.cfg").write_text(f"dataDir={folder}/data\n{configuration}")

    def start(self) -> None:
        """Start the process; `await_ready` waits for its service."""
        classes = ":".join(
            f"{JARS}/{name}.jar" for name in ("zookeeper", "netty-codec", "netty-resolver", "slf4j-simple")
        )
        # A test run that is killed must leave no JVM behind.
        command = ["setpriv", "--pdeathsig", "KILL", "java", *JAVA, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-cp", classes, MAIN, str(self._folder / "zoo.cfg")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )

    @property
    def data(self) -> Path:
        return self._folder / "data"

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def await_ready(self, seconds: float = 60) -> None:
        """Wait until a session works."""
        deadline = time.monotonic() + seconds
        while True:
            assert self.running, f"ZooKeeper did not start:\n{self.log[-4000:]}"
            with contextlib.suppress(OSError, struct.error):
                RawSession(self.port, certificates=self._certificates).close()
                return
            assert time.monotonic() < deadline, f"no session within {seconds} s:\n{self.log[-4000:]}"
            time.sleep(0.05)

    def ask(self, words: str) -> str:
        """Return the answer to a four-letter command, such as `wchs`, `mntr`, `cons`."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(words.encode())
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        return answer.decode()

    def leads(self) -> bool:
        try:
            return "Mode: leader" in self.ask("srvr")
        except OSError:
            return False

    def kill(self) -> None:
        """Kill the server with SIGKILL, and wait for its end."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the server with SIGTERM, and wait for its end."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Freeze the server: it keeps its connections and sends nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None


class Ensemble:
    """One server, or several that elect a leader."""

    def __init__(
        self,
        count: int = 1,
        *,
        tick: int = 250,
        sync: int = 8,
        fsync: bool = False,
        certificates: Certificates | None = None,
        digest: bool = False,
        **more: Any,
    ) -> None:
        """Configure the servers.

        `tick`: the grain of session timeouts, ms; `sync`: ticks after which a server is given up.

        With `certificates` clients must show theirs; with `digest` they must log in before anything else. `more`:
        further settings of the servers, such as `enforceQuota="true"`.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="zookeeper-"))
        self.certificates = certificates
        ports = [free_port() for _ in range(3 * count)]
        shared = CONFIGURATION.format(tick=tick, sync=sync, fsync="yes" if fsync else "no")
        shared += ENFORCING if digest else ""
        shared += "".join(f"{name}={value}\n" for name, value in more.items())
        shared += self._tls() if certificates else ""
        if count > 1:
            for number in range(1, count + 1):
                shared += f"server.{number}=127.0.0.1:{ports[3 * number - 3]}:{ports[3 * number - 2]}\n"
        self.servers = [self._server(number, ports[3 * number - 1], shared) for number in range(1, count + 1)]

    def _server(self, number: int, port: int, shared: str) -> Server:
        kind = "secureClientPort" if self.certificates else "clientPort"
        own = f"{kind}={port}\n{kind}Address=127.0.0.1\n"
        server = Server(self.folder / str(number), port, shared + own, self.certificates)
        (self.folder / str(number) / "data").mkdir()
        (self.folder / str(number) / "data" / "myid").write_text(str(number))
        return server

    def _tls(self) -> str:
        assert self.certificates is not None
        chain = self.folder / "server.pem"
        own = self.certificates.server
        chain.write_text(self.certificates.key(own).read_text() + own.read_text())
        return (
            "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n"
            f"ssl.keyStore.location={chain}\nssl.keyStore.type=PEM\n"
            f"ssl.trustStore.location={self.certificates.ca}\nssl.trustStore.type=PEM\n"
            "ssl.clientAuth=need\n"
        )

    @property
    def hosts(self) -> str:
        return ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    @property
    def port(self) -> int:
        return self.servers[0].port

    @property
    def leader(self) -> Server:
        return next(server for server in self.servers if server.leads())

    def check(self) -> Ensemble:
        """Fail, with the log, if a server has ended by itself."""
        for server in self.servers:
            assert server.running, f"ZooKeeper has ended:\n{server.log[-4000:]}"
        return self

    def start(self) -> Ensemble:
        for server in self.servers:
            server.start()
        for server in self.servers:
            server.await_ready()
        return self

    def copy_data(self) -> Path:
        """Stop the servers, copy their data, as a backup does, and start them again."""
        copy = Path(tempfile.mkdtemp(prefix="copy-", dir=self.folder))
        with self._stopped():
            for number, server in enumerate(self.servers):
                shutil.copytree(server.data, copy / str(number))
        return copy

    def restore_data(self, copy: Path) -> None:
        """Stop the servers, restore the data that `copy_data` copied, and start them again."""
        with self._stopped():
            for number, server in enumerate(self.servers):
                shutil.rmtree(server.data)
                shutil.copytree(copy / str(number), server.data)

    def set_numbers(self, used: dict[str, int]) -> None:
        """Set the used sequence numbers of these folders (of one server, which is stopped and started again).

        Needs the setting `**{"digest.enabled": "false"}`, since the server did not write these nodes.
        """
        with self._stopped():
            pass  # a start writes a snapshot
        with self._stopped():
            snapshots = (self.servers[0].data / "version-2").glob("snapshot.*")
            newest = max(snapshots, key=lambda path: int(path.suffix[1:], 16))
            newest.write_bytes(_with_numbers(bytearray(newest.read_bytes()), used))

    @contextlib.contextmanager
    def _stopped(self) -> Iterator[None]:
        for server in self.servers:
            server.kill()
        yield
        self.start()

    def close(self) -> None:
        for server in self.servers:
            if server.running:
                server.kill()
        shutil.rmtree(self.folder)


@contextlib.contextmanager
def running(ensemble: Ensemble) -> Iterator[Ensemble]:
    """Yield the ensemble, from its start to its end."""
    try:
        yield ensemble.start()
    finally:
        ensemble.close()


@cache
def shared() -> Ensemble:
    """Return the server that all tests of this process share. Each test needs a root of its own."""
    ensemble = Ensemble().start()
    atexit.register(ensemble.close)
    return ensemble


def _with_numbers(snapshot: bytearray, used: dict[str, int]) -> bytearray:
    """Return a snapshot with other counters of children: the sixth number of a node's stat, behind its data and its
    ACL."""
    for path, count in used.items():
        name = struct.pack("!i", len(path)) + path.encode()
        node = snapshot.index(name) + len(name)
        (size,) = struct.unpack_from("!i", snapshot, node)
        struct.pack_into("!i", snapshot, node + 4 + max(size, 0) + 8 + 36, count)
    end = snapshot.rindex(b"\0\0\0\x01/")  # behind the checksum
    struct.pack_into("!q", snapshot, end - 8, zlib.adler32(bytes(snapshot[: end - 8])))
    return snapshot


class RawSession:
    """A session with one server: a new session, or that of another client by its id and password."""

    def __init__(
        self,
        port: int,
        identity: int = 0,
        password: bytes = bytes(16),
        *,
        timeout: int = 4000,
        certificates: Certificates | None = None,
    ) -> None:
        """Open the session. Raises OSError if the server does not answer, or not with a session."""
        self._socket = _connect(port, certificates)
        request = struct.pack("!iqiqi", 0, 0, timeout, identity, len(password)) + password + b"\0"
        try:
            self._send(request)
            (size,) = struct.unpack("!i", self._receive(4))
            answer = self._receive(size)
            self.timeout, self.identity = struct.unpack_from("!iq", answer, 4)
            self.password = answer[20:36]
            if self.timeout <= 0:
                raise ConnectionAbortedError("the session has expired")
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """Close the session, and wait until the server has done so."""
        self._send(struct.pack("!ii", 1, -11))
        with contextlib.suppress(OSError):
            while self._socket.recv(4096):
                pass
        self._socket.close()

    def abandon(self) -> None:
        """Close only the connection: the session lives until it times out."""
        self._socket.close()

    def _send(self, body: bytes) -> None:
        self._socket.sendall(struct.pack("!i", len(body)) + body)

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self._socket.recv(size - len(data))
            if not chunk:
                raise ConnectionError("the server closed the connection")
            data += chunk
        return data


def _connect(port: int, certificates: Certificates | None) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    if certificates is None:
        return connection
    context = ssl.create_default_context(cafile=str(certificates.ca))
    context.load_cert_chain(certificates.client, certificates.key(certificates.client))
    try:
        return context.wrap_socket(connection, server_hostname="127.0.0.1")
    except BaseException:
        connection.close()
        raise
