"""A small HTTP server whose responses a test decides, for faults that a real server cannot be made to have."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from requests.structures import CaseInsensitiveDict

from geventjob.cimi.document import COOKIE
from tests.support.http_handler import HttpHandler


@dataclass(frozen=True)
class Asked:
    """A request as the server received it."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode())


@dataclass
class Reply:
    """A response."""

    status: int = 200
    json: Any = None
    text: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: Callable[[socket.socket], None] | None = None
    """Writes to the socket, and ends the connection."""


class Answering:
    """A server that responds to each request with `reply(asked)`.

    Log-ins and the cloud entry point have responses of their own, unless `reply` has a true attribute `logins` or
    `entry_point`. `asked` lists the requests, without those for the entry point.
    """

    entry_point: ClassVar[dict[str, Any]] = {
        "resourceURI": "http://schemas.dmtf.org/cimi/2/CloudEntryPoint",
        "geventjob": {"version": "1", "api": 1},
    }

    def __init__(self, reply: Callable[[Asked], Reply]) -> None:
        self.reply = reply
        self.asked: list[Asked] = []
        self.sessions = 0
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    port = 0

    def paths(self) -> list[str]:
        return [f"{asked.method} {asked.path}" for asked in self.asked]

    def login(self, asked: Asked) -> Reply:
        """Respond to a log-in as a real server does; the right password is `secret`."""
        if asked.json["sessionTemplate"]["password"] != "secret":
            return Reply(403, {"status": 403, "message": "invalid credentials for 'alice'"})
        self.sessions += 1
        token = f"{COOKIE}=token=t{self.sessions};Path=/;Expires=Tue, 02 Apr 2030 08:15:30 +0000"
        return Reply(201, {"status": 201, "resource-id": "session/1"}, headers={"Set-Cookie": token})


@contextmanager
def answering(reply: Callable[[Asked], Reply]) -> Iterator[Answering]:
    """Run such a server on a free port within the context."""
    what = Answering(reply)

    class Handler(HttpHandler):
        def setup(self) -> None:
            what.connections += 1
            super().setup()

        def do(self) -> None:
            parts = urlsplit(self.path)
            body = self.body()
            headers = CaseInsensitiveDict(self.headers.items())
            asked = Asked(self.command, parts.path, parse_qs(parts.query), headers, body)
            if asked.path == "/api/cloud-entry-point" and not getattr(reply, "entry_point", False):
                self.answer(Reply(200, what.entry_point))
                return
            what.asked.append(asked)
            login = asked.path == "/api/session" and asked.method == "POST"
            self.answer(what.login(asked) if login and not getattr(reply, "logins", False) else what.reply(asked))

        def answer(self, reply: Reply) -> None:
            if reply.raw:
                reply.raw(self.connection)
                self.close_connection = True
                return
            shaped = reply.json
            if reply.status >= 400 and isinstance(shaped, dict):  # as a job server says it
                shaped = {"status": reply.status, **shaped}
            body = reply.text if reply.text is not None else json.dumps(shaped).encode()
            self.send_response_only(reply.status)
            usual = {"Date": self.date_time_string(), "Content-Length": str(len(body))}
            for name, value in {**usual, **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = do

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 100

    server = Server(("127.0.0.1", 0), Handler)
    what.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield what
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
