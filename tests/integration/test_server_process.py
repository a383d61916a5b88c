"""The server's command: durability under kill -9, shutdown, and errors at the start."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.support.fleet import Process, fleet, until
from tests.support.job_server import Caller, JobServer, good, mode, problem

Make = Callable[..., JobServer]


def test_what_was_acknowledged_is_there_after_kill_9(own_server: Make) -> None:
    server = own_server()
    callers = [server.login() for _ in range(4)]
    added: list[str] = []

    def add(caller: Caller) -> None:
        while True:
            try:
                added.append(caller.add())
                ids = caller.bulk("add", jobs=[{"action": "a"}] * 5)["results"]
            except requests.RequestException:
                return
            added.extend(result["resource-id"] for result in ids)

    threads = [threading.Thread(target=add, args=(caller,)) for caller in callers]
    for thread in threads:
        thread.start()
    until(lambda: len(added) > 200)
    server.kill()
    for thread in threads:
        thread.join(30)

    server.restart()
    admin = server.login()
    assert all(admin.get(id).status_code == 200 for id in added)
    entries = good(admin.get("queue"))["entries"]
    stored = admin.search("job", last=0)["count"]
    assert entries >= stored >= len(added)


def test_a_session_outlives_a_restart(own_server: Make) -> None:
    server = own_server()
    admin = server.login()
    server.kill()
    server.restart()
    good(admin.get("job"))


def test_the_first_password_is_random_and_private(own_server: Make) -> None:
    server = own_server()
    assert len(server.password) > 20
    assert mode(server.data_dir / "admin-pass") == 0o600
    assert mode(server.data_dir) == 0o700
    assert str(server.data_dir / "admin-pass") in server.log
    assert server.password not in server.log


def test_a_password_file_sets_the_password(own_server: Make, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from the file\n")
    file.chmod(0o600)
    server = own_server("--admin-pass-file", str(file))
    assert not (server.data_dir / "admin-pass").exists()
    admin = server.login(password="from the file")
    server.process.stop()
    server.restart()
    good(admin.get("job"))

    server.process.stop()
    file.write_text("another one")
    server.restart()
    problem(admin.get("job"), 403)
    problem(server.anonymous().login("super", "from the file"), 403)
    server.login(password="another one")
    assert "another one" not in server.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_answers_what_is_under_way(own_server: Make, number: signal.Signals) -> None:
    server = own_server()
    body = b'{"sessionTemplate":{"href":"session-template/internal","username":"nobody","password":"x"}}'
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        head = b"POST /api/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
        sock.sendall(head % len(body) + b"Expect: 100-continue\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 100 ")  # the request is in flight now
        until(lambda: "stopping" in server.log or server.process.signal(number))
        sock.sendall(body)
        answer = b""
        while part := sock.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert server.process.wait() == 0


def refused(server: JobServer, *arguments: str) -> str:
    """Return the only line of a process that does not start."""
    server.log_file = server.folder / "refused.log"
    process = server.start(*arguments)
    assert process.wait() == 2
    (line,) = [line for line in process.log.splitlines() if line.startswith("geventjob-server: ")]
    assert "Traceback" not in process.log
    return line


def test_a_port_in_use(own_server: Make) -> None:
    server = own_server()
    line = refused(server, "--data-dir", str(server.folder / "other"))
    assert str(server.port) in line
    assert server.answers()


def test_a_data_folder_in_use(own_server: Make) -> None:
    server = own_server()
    line = refused(server, "--port", "0")
    assert str(server.process.pid) in line


def test_a_data_folder_that_cannot_be(own_server: Make) -> None:
    server = own_server()
    assert "/dev/null/x" in refused(server, "--port", "0", "--data-dir", "/dev/null/x")


def test_a_free_port_is_told_in_the_log(tmp_path: Path) -> None:
    process = Process("server", ["--port", "0", "--data-dir", str(tmp_path / "data")], tmp_path / "log")
    try:
        found = until(lambda: re.search(r"listens on (http://\S+)", process.log))
        assert requests.get(f"{found[1]}/healthz", timeout=5).text == "ok"
    finally:
        process.kill()


def test_sigusr1_tells_what_it_does(own_server: Make) -> None:
    server = own_server()
    server.process.signal(signal.SIGUSR1)
    until(lambda: "greenlets" in server.log)
    assert server.answers()


def test_the_base_uri_is_the_configured_one(own_server: Make) -> None:
    server = own_server("--base-uri", "https://jobs.example")
    for headers in ({}, {"Host": "evil.example"}, {"X-Forwarded-Host": "evil.example"}):
        entry = server.anonymous().get("cloud-entry-point", headers=headers).json()
        assert entry["baseURI"] == "https://jobs.example/api/"
    own = {"Origin": "https://jobs.example"}
    admin = server.login()
    for cookie in admin.http.cookies:
        assert cookie.secure
        cookie.secure = False  # this client speaks plain HTTP, as a proxy with TLS does to the server
    assert admin.post("job", {"action": "nothing"}, headers=own).status_code == 201


def test_an_upgrade_of_the_store_asks_systemd_for_more_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fleet(tmp_path) as made, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        server = made.server()
        id = made.client().add("job", {"action": "copy", "tags": ["x"]})
        server.stop()
        with contextlib.closing(sqlite3.connect(made.data_dir / "store.db")) as store, store:
            store.execute("UPDATE job SET access = ''")  # as rows of older versions: without the id of a list
            store.execute("DELETE FROM totals WHERE kind = 'job'")
            store.execute("PRAGMA user_version = 6")
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
        made.server()
        told = list(iter(lambda: manager.recv(4096), b"READY=1"))
        assert b"EXTEND_TIMEOUT_USEC=300000000\nSTATUS=upgrade of the store: job 0 of 1, 0 s" in told
        found = made.client().search("job", filter="tags='x'")["jobs"]
        assert [job["id"] for job in found] == [id]
