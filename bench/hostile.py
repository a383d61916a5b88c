"""The effect of hostile clients on all others: `python -m bench.hostile [seconds] [kind …]`.

For each kind, 20 clients at once for some seconds against a fresh job server over SQLite that holds 10,000 jobs, while
a probe in a process of its own asks `/healthz`, 40 times a second. The goal: p99 of at most 100 ms, a session that
lives, less than 300 MB. All of it stays on 127.0.0.1.
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
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from geventjob.cimi.document import COOKIE
from tests.support.job_server import JobServer

CLIENTS = 20
SECONDS = 9.0
PROBES, EVERY = 4, 0.1
"""How many ask `/healthz` at once, and seconds from one question of each to its next."""
JOBS = 10_000


class Target:
    """The server from the view of a client of one kind."""

    def __init__(self, port: int, cookie: str, admin: str, job: str, until: float) -> None:
        """Keep the cookies of the owner of the jobs and of an administrator. `until`: monotonic seconds."""
        self.port = port
        self.cookie = cookie
        self.admin = admin
        self.job = job
        self.until = until
        self.ids: list[str] = []
        """Jobs that `small_edits` edits, once they are known."""

    @property
    def over(self) -> bool:
        return time.monotonic() > self.until

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        sock.settimeout(30)
        return sock

    def request(self, method: str, path: str, body: bytes = b"", kind: str = "application/json", **more: str) -> bytes:
        head = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", f"Content-Type: {kind}"]
        if more.get("user", "yes") == "yes":
            head.append(f"Cookie: {COOKIE}={more.get('cookie', self.cookie)}")
        return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body

    def ask(self, request: bytes) -> bytes:
        """Return the first 64 KB of the answer."""
        with self.connect() as sock:
            with contextlib.suppress(ConnectionError):
                sock.sendall(request)
            kept = b""
            while part := sock.recv(1 << 18):
                kept += part[: (1 << 16) - len(kept)]
            return kept


Attack = Callable[[Target, int], None]


def anonymous_bodies(target: Target, number: int) -> None:
    """Send a MB of JSON from an anonymous client."""
    body = json.dumps({"action": "a", "payload": {"x": [[0]] * 200_000}}).encode()[: 1 << 20]
    target.ask(target.request("PUT", "/api/job/x", body, user="no"))


def user_bodies(target: Target, number: int) -> None:
    """Send 4 MB of JSON from a user, in a shape that is refused."""
    body = b'{"edits": [' + b"[0]," * ((1 << 20) - 20) + b"0]}"
    target.ask(target.request("POST", "/api/job/bulk-edit", body))


def slow_senders(target: Target, number: int) -> None:
    """Send 20 bodies for each client, a byte at a time."""
    socks = [target.connect() for _ in range(20)]
    for sock in socks:
        sock.sendall(target.request("POST", "/api/session", user="no").replace(b"Length: 0", b"Length: 60000"))
    while not target.over:
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.sendall(b" ")
        time.sleep(0.2)


def idle(target: Target, number: int) -> None:
    """Open 100 silent connections for each client."""
    socks = []
    for _ in range(100):
        with contextlib.suppress(OSError):
            socks.append(target.connect())
    while not target.over:
        time.sleep(0.1)


def slow_readers(target: Target, number: int) -> None:
    """Read a large answer at a KB a second; 3 for each client."""
    socks = [target.connect() for _ in range(3)]
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(target.request("GET", "/api/job"))
    while not target.over:
        for sock in socks:
            sock.setblocking(False)
            with contextlib.suppress(OSError):
                sock.recv(1024)
        time.sleep(1)


def searches(target: Target, number: int) -> None:
    """Request all jobs in one answer."""
    target.ask(target.request("GET", "/api/job"))


def filters(target: Target, number: int) -> None:
    """Search with a filter of 60 KB."""
    term = f"action='a{number}' or "
    filter = term * (60_000 // len(term)) + "action='b'"
    body = b"%24last=0&%24filter=" + filter.encode()
    target.ask(target.request("PUT", "/api/job", body, "application/x-www-form-urlencoded"))


def edits_of_one(target: Target, number: int) -> None:
    """Send 1,000 edits of one job of 200 KB in one request."""
    body = json.dumps({"edits": [{"id": target.job, "set": {"progress": n % 100}} for n in range(1000)]}).encode()
    target.ask(target.request("POST", "/api/job/bulk-edit", body))


def small_edits(target: Target, number: int) -> None:
    """Edit 100 jobs in one request, the most that need no permit; each job has 2 KB."""
    if not target.ids:
        listed = target.ask(target.request("GET", "/api/job?$first=1&$last=100&$select=id"))
        target.ids = sorted({id.decode() for id in re.findall(rb'"(job/[0-9a-f-]{36})"', listed)})
    edits = [{"id": id, "set": {"progress": number}} for id in target.ids]
    target.ask(target.request("POST", "/api/job/bulk-edit", json.dumps({"edits": edits}).encode()))


def small_adds(target: Target, number: int) -> None:
    """Add 20 jobs of 2 KB in one request, the most that need no permit."""
    adds(target, 20)


def large_adds(target: Target, number: int) -> None:
    """Add 100 jobs of 2 KB in one request."""
    adds(target, 100)


def adds(target: Target, number: int) -> None:
    """Add jobs of 2 KB in one request."""
    body = json.dumps({"jobs": [{"action": "a", "payload": {"x": "y" * 2000}}] * number}).encode()
    target.ask(target.request("POST", "/api/job/bulk-add", body, cookie=target.admin))


def bulk_deletes(target: Target, number: int) -> None:
    """Delete all jobs in one request."""
    body = json.dumps({"filter": "action='a'"}).encode()
    target.ask(target.request("POST", "/api/job/bulk-delete", body, cookie=target.admin))


def acls(target: Target, number: int) -> None:
    """Add a job with an acl of 10,000 rules."""
    rules = [{"principal": f"user-{number}-{n}", "type": "USER", "right": "VIEW"} for n in range(10_000)]
    acl = {"owner": {"principal": "alice", "type": "USER"}, "rules": rules}
    target.ask(target.request("PUT", f"/api/{target.job}", json.dumps({"acl": acl}).encode()))


def log_ins(target: Target, number: int) -> None:
    """Log in with a wrong password."""
    template = {"href": "session-template/internal", "username": "super", "password": f"wrong-{number}"}
    body = json.dumps({"sessionTemplate": template}).encode()
    target.ask(target.request("POST", "/api/session", body, user="no"))


KINDS: dict[str, Attack] = {
    attack.__name__.replace("_", "-"): attack
    for attack in (
        anonymous_bodies,
        user_bodies,
        slow_senders,
        idle,
        slow_readers,
        searches,
        filters,
        edits_of_one,
        small_edits,
        small_adds,
        large_adds,
        bulk_deletes,
        acls,
        log_ins,
    )
}


def main(arguments: list[str]) -> None:
    seconds = float(arguments[0]) if arguments else SECONDS
    wanted = arguments[1:] or ["nobody", *KINDS]
    table = Table("20 clients", "requests", "p50 ms", "p99 ms", "max ms", "answered", "RSS MB", "sessions lost")
    with TemporaryDirectory() as folder:
        Path(folder, "seed").mkdir()
        seed = JobServer(Path(folder, "seed"))
        cookies, job = seeded(seed)
        seed.process.stop()
        for kind in wanted:
            shutil.copytree(seed.folder, Path(folder, kind))
            server = JobServer(Path(folder, kind))
            try:
                table.add_row(kind, *measured(server, kind, cookies, job, seconds))
            finally:
                server.process.kill()
    Console(width=120).print(table)


def seeded(server: JobServer) -> tuple[tuple[str, str], str]:
    """Add JOBS jobs; return the cookies of their owner and of the administrator, and the id of a large job."""
    admin = server.login()
    assert admin.post("user", {"username": "alice", "password": "for-tests-only"}).status_code == 201
    mine = {"owner": {"principal": "alice", "type": "USER"}}
    for _ in range(JOBS // 1000):
        admin.bulk("add", jobs=[{"action": "a", "acl": mine, "payload": {"x": "y" * 2000}}] * 1000)
    job = admin.add(action="a", acl=mine, payload={"x": "y" * 200_000})
    owner, administrator = (
        caller.http.cookies.get(COOKIE) for caller in (server.login("alice", "for-tests-only"), admin)
    )
    assert owner is not None
    assert administrator is not None
    return (owner, administrator), job


def measured(server: JobServer, kind: str, cookies: tuple[str, str], job: str, seconds: float) -> list[str]:
    pid = server.process.pid
    lost = len(re.findall("is over, and with it", server.log))
    print(f"{kind}: the server has pid {pid}", file=sys.stderr)
    probe = start("probe", server.port, str(seconds + 1))
    clients = None if kind == "nobody" else start(kind, server.port, str(seconds), *cookies, job)
    (told, _), count = probe.communicate(), "0"
    if clients is not None:
        count = clients.communicate()[0].strip()
    times = sorted(json.loads(told))
    rss = re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]
    place = [times[len(times) // 2], times[int(len(times) * 0.99)], times[-1]]
    lost = len(re.findall("is over, and with it", server.log)) - lost
    return [count, *(f"{1000 * one:.0f}" for one in place), str(len(times)), str(int(rss) // 1024), str(lost)]


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.hostile", "--child", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def probe(port: int, seconds: float) -> None:
    """Print how long each `/healthz` took, the connection included; PROBES ask, so that slow answers are no fewer."""
    target, times = Target(port, "", "", "", time.monotonic() + seconds), []

    def ask(number: int) -> None:
        time.sleep(EVERY * number / PROBES)
        while not target.over:
            begun = time.monotonic()
            with contextlib.suppress(OSError):
                target.ask(target.request("GET", "/healthz", user="no"))
            times.append(time.monotonic() - begun)
            time.sleep(max(0, EVERY - (time.monotonic() - begun)))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(PROBES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(times))


def child(kind: str, port: str, seconds: str, cookie: str = "", admin: str = "", job: str = "") -> None:
    target = Target(int(port), cookie, admin, job, time.monotonic() + float(seconds))
    done = [0] * CLIENTS

    def client(number: int) -> None:
        while not target.over:
            with contextlib.suppress(OSError):
                KINDS[kind](target, number)
                done[number] += 1

    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, target.until + 5 - time.monotonic()))
    print(sum(done), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)  # whatever its clients wait for


if __name__ == "__main__":
    if sys.argv[1:3] == ["--child", "probe"]:
        probe(int(sys.argv[3]), float(sys.argv[4]))
    elif sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main(sys.argv[1:])
