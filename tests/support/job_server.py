"""A job server as a real process, and clients that speak plain HTTP."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path
from typing import Any

import requests

from tests.support.fleet import Process, until
from tests.support.ports import free_port


class Caller:
    """A client of the server, with its cookies."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send any request; a path that does not begin with `/` is below `/api/`."""
        path = path if path.startswith("/") else f"/api/{path}"
        return self.http.request(method, self.url + path, timeout=30, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self("GET", path, **options)

    def put(self, path: str, json: Any = None, **options: Any) -> requests.Response:
        return self("PUT", path, json=json, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> requests.Response:
        return self("POST", path, json=json, **options)

    def delete(self, path: str) -> requests.Response:
        return self("DELETE", path)

    def search(self, kind: str, **parameters: Any) -> Any:
        """Search, and return the body of the response, which must be a 200."""
        form = {f"${name}": value for name, value in parameters.items()}
        return good(self("PUT", kind, data=form))

    def login(self, username: str, password: str) -> requests.Response:
        template = {"href": "session-template/internal", "username": username, "password": password}
        return self.post("session", {"sessionTemplate": template})

    def login_by_key(self, key: str, secret: str) -> requests.Response:
        template = {"href": "session-template/api-key", "key": key, "secret": secret}
        return self.post("session", {"sessionTemplate": template})

    def add(self, **job: Any) -> str:
        """Add a job, and return its id."""
        answer = self.post("job", {"action": "nothing", **job})
        assert answer.status_code == 201, answer.text
        id: str = answer.json()["resource-id"]
        return id

    def bulk(self, what: str, **body: Any) -> Any:
        return good(self.post(f"job/bulk-{what}", body))


class JobServer:
    """`geventjob-server` on a port and a data folder of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_file = folder / "server.log"
        self._arguments = arguments
        self.process = self.restart()

    @property
    def password(self) -> str:
        """The password of `super`."""
        return (self.data_dir / "admin-pass").read_text().strip()

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def restart(self, *arguments: str) -> Process:
        """Start the server (again), and wait until it responds."""
        self.process = self.start(*arguments)
        until(lambda: self.answers() or not self.process.running)
        assert self.process.running, self.log
        return self.process

    def start(self, *arguments: str) -> Process:
        """Start a process with the same options, and these."""
        address = ["--host", "127.0.0.1", "--port", str(self.port), "--data-dir", str(self.data_dir)]
        return Process("server", [*address, *self._arguments, *arguments], self.log_file)

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        self.process.kill()

    def answers(self) -> bool:
        try:
            return self.anonymous().get("/healthz").status_code == 200
        except requests.ConnectionError:
            return False

    def anonymous(self) -> Caller:
        return Caller(self.url)

    def login(self, username: str = "super", password: str | None = None) -> Caller:
        """Return a client that is logged in."""
        caller = self.anonymous()
        answer = caller.login(username, password or self.password)
        assert answer.status_code == 201, answer.text
        return caller


def good(answer: requests.Response) -> Any:
    """Return the JSON of a 200."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()


def problem(answer: requests.Response, status: int, *words: str) -> Any:
    """Return the JSON of an error of this status, whose message must contain these words."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert body["status"] == status
    for word in words:
        assert word in body["message"]
    assert "\n" not in body["message"]
    return body


def mode(path: Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def all_of(sock: socket.socket) -> bytes:
    """Return all bytes until the other side closes or resets the connection."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := sock.recv(65536):
            found += part
    return found
