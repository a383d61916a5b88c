"""HTTP on gevent's pywsgi, with the bounds that it lacks: how large, how slow and how many its clients may be."""

from __future__ import annotations

import contextlib
import json
import logging
import resource
import socket
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import gevent
from gevent import pywsgi
from gevent.pool import Pool
from gevent.socket import socket as GeventSocket

from geventjob.log import SELDOM
from geventjob.server.http.head import origin_form, parse_head
from geventjob.server.http.input import Input
from geventjob.server.http.room import GONE
from geventjob.server.http.unheard import Unheard
from geventjob.server.problem import RETRY_AFTER, Problem

log = logging.getLogger(__name__)

KNOW = "geventjob.know"
"""Key in the WSGI environment: what the application calls once it knows that a user sends the request."""
ALWAYS = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
"""Headers of every answer: what is answered is for one caller, and is what its type says."""


ESTABLISHED = 1
"""The state of a TCP connection that is open both ways (linux/tcp.h)."""


@dataclass(frozen=True)
class Limits:
    """Times in seconds."""

    idle: float = 75.0
    """How long a connection may wait for its next request, and a blocked read or write for its client."""
    first: float = 10.0
    """The same of a connection that nobody has logged in on."""
    head: float = 10.0
    """How long the first line and the headers may take to come."""
    head_size: int = 32 * 1024
    """Bytes of the headers."""
    request: float = 60.0
    """How long the answer to one request may take, body and all."""
    connections: int = 2_000
    """How many connections are served at once; more wait to be accepted."""
    strangers: int = 200
    """How many of them may be those of nobody who has logged in."""
    kept: float = 0.9
    """The part of them above which a connection is closed after its answer, so that idle ones leave room."""
    leftover: int = 16 << 20
    """Bytes of a refused body that are read before the connection is closed, so that the client sees the answer."""
    linger: float = 2.0
    """How long that may take."""


class SlowClient(OSError):
    """The head of a request did not come in time."""


class Server(pywsgi.WSGIServer):
    """Serves `application` until `finish`."""

    def __init__(self, listener: Any, application: Any, limits: Limits | None = None) -> None:
        """`listener`: (host, port), or a socket that is bound."""
        self.limits = limits or Limits()
        self.waiting: dict[Handler | Unheard, bool] = {}
        """The connections that wait for their client, those that have waited longest first: True where it is between
        two requests."""
        self.strangers = 0
        """How many connections are served that nobody has logged in on."""
        self.finishing = False
        self._handlers = Pool(self.limits.connections)
        self._unheard = 0
        super().__init__(
            listener,
            application,
            spawn=self._handlers,
            log=None,
            error_log=logging.getLogger("geventjob.server.http"),
            handler_class=Handler,
        )
        base: Any = self
        base.full = self._is_full

    @property
    def crowded(self) -> bool:
        """Whether connections are closed after their answer."""
        return self._connections > self.limits.kept * self.limits.connections

    @property
    def _connections(self) -> int:
        return len(self._handlers) + self._unheard

    def _is_full(self) -> bool:
        return self._connections >= self.limits.connections

    def update_environ(self) -> None:
        """Does without the DNS look-up of its base class."""
        self.environ.setdefault("SERVER_NAME", str(self.address[0]))
        self.environ.setdefault("SERVER_PORT", str(self.address[1]))

    def do_read(self) -> Any:
        """Accept a connection as its bare descriptor; None when no connection waits."""
        listener: Any = self.socket
        try:
            return listener._accept()
        except BlockingIOError:
            return None

    def do_handle(self, descriptor: Any, address: Any) -> None:
        """Wait for the first byte of this connection, and handle it then."""
        base: Any = self

        def end(connection: Unheard, has_spoken: bool) -> None:
            self.waiting.pop(connection)
            self.strangers -= 1
            self._unheard -= 1
            if has_spoken:
                connection.release()
                listener = self.socket
                sock = GeventSocket(listener.family, listener.type, listener.proto, fileno=descriptor)
                super(Server, self).do_handle(sock, address)
            else:
                connection.close()
                base._start_accepting_if_started()

        self.waiting[Unheard(self.loop, descriptor, self.limits.first, end)] = True
        self.strangers += 1
        self._unheard += 1
        self.make_room()

    def make_room(self) -> None:
        """Where there are too many connections, close the one that has waited longest for its client."""
        if self.strangers > self.limits.strangers:
            longest = next((handler for handler in self.waiting if handler.stranger), None)
        elif self._is_full():
            longest = next(iter(self.waiting), None)
        else:
            return
        if longest is not None:
            longest.hang_up(at_once=True)

    def finish(self, timeout: float) -> None:
        """Accept nothing new, answer what is under way, `timeout` seconds at most, and close every connection."""
        self.finishing = True
        self.close()
        for handler in [handler for handler, is_between in self.waiting.items() if is_between]:
            handler.hang_up()
        self._handlers.join(timeout=timeout)
        self._handlers.kill(timeout=1)


class Handler(pywsgi.WSGIHandler):
    """One connection."""

    server: Server
    stranger = True
    """Whether nobody has logged in on it."""
    _head: gevent.Timeout | None = None
    _body: Input | None = None

    def handle(self) -> None:
        self.server.strangers += 1
        self.server.make_room()
        try:
            # Else head and body, two segments, cost the client's delayed acknowledgement: 44 ms (FINDINGS §7).
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.settimeout(self.server.limits.first)
            super().handle()
        except OSError as error:
            log.debug("connection from %s: %s", self.client_address, error, extra=SELDOM)
        finally:
            self._end_head()
            self.server.waiting.pop(self, None)
            self.server.strangers -= self.stranger

    def know(self) -> None:
        """Somebody has logged in on this connection."""
        if self.stranger:
            self.stranger = False
            self.server.strangers -= 1
            self.socket.settimeout(self.server.limits.idle)

    def is_gone(self) -> bool:
        """Whether the client has closed the connection, or its half of it."""
        state: int = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        return state != ESTABLISHED

    def hang_up(self, *, at_once: bool = False) -> None:
        """Let the handler see the end of the connection, behind what has come already unless `at_once`."""
        self.server.waiting.pop(self, None)
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR if at_once else socket.SHUT_RD)

    def await_client(self, is_between: bool = False) -> None:
        """From now on the connection waits for its client, until `end_wait`; perhaps between two requests."""
        self.server.waiting[self] = is_between

    def end_wait(self) -> None:
        self.server.waiting.pop(self, None)

    # --- the head of a request

    def read_requestline(self) -> str:
        self.await_client(is_between=True)
        if self.server.finishing or not self.rfile.peek(1):
            return ""
        self.await_client()
        self._head = gevent.Timeout.start_new(
            self.server.limits.head, SlowClient("the head of the request is too slow")
        )
        line: str = super().read_requestline()
        return line

    def handle_one_request(self) -> Any:
        result = super().handle_one_request()
        if isinstance(result, tuple) and result[0] == "414":
            return _refusal(Problem(414, "the first line of the request is too long"))
        return result

    def read_request(self, raw_requestline: str) -> Any:
        try:
            is_read = super().read_request(raw_requestline)
        finally:
            self._end_head()
            self.end_wait()
        self.path = origin_form(str(self.path))
        return is_read

    def _end_head(self) -> None:
        if self._head is not None:
            self._head.close()
            self._head = None

    def MessageClass(self, rfile: Any, *args: Any) -> Any:
        """The headers, which stand next in `rfile`."""
        if self.request_version not in ("HTTP/1.0", "HTTP/1.1"):
            raise Problem(400, f"expected HTTP/1.1, not {str(self.request_version)[:20]!r}")
        head = parse_head(rfile, self.server.limits.head_size)
        hosts = len(head.all("host"))
        if hosts > 1 or (not hosts and self.request_version == "HTTP/1.1"):
            raise Problem(400, f"expected one Host header, not {hosts}")
        return head

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        chunked = self.headers.get("transfer-encoding") is not None
        awaited = (self.headers.get("expect") or "").lower() == "100-continue" and self.request_version != "HTTP/1.0"
        send = self._send_continue if awaited else None
        body = Input(self.rfile, self.content_length, chunked, send, self.await_client, self.end_wait)
        environ["wsgi.input"] = self._body = body
        self.wsgi_input = body  # type: ignore[assignment]
        environ["wsgi.input_terminated"] = True
        environ[KNOW] = self.know
        environ[GONE] = self.is_gone
        return environ

    def _send_continue(self) -> None:
        self.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    # --- the answer

    def run_application(self) -> None:
        limit = gevent.Timeout(self.server.limits.request)
        limit.start()
        try:
            super().run_application()
        except gevent.Timeout as timeout:
            if timeout is not limit:
                raise
            self._give_up()
        finally:
            limit.close()
            self._discard_body()

    def _discard_body(self) -> None:
        """Read the rest of a refused body, so far that the client sees the answer; else the connection ends."""
        limits = self.server.limits
        if self._body is not None and not self._body.discard(limits.leftover, limits.linger):
            self.close_connection = True

    def _give_up(self) -> None:
        log.warning("gave up after %g s: %s", self.server.limits.request, self.requestline, extra=SELDOM)
        self._fail(Problem(503, f"this took longer than {self.server.limits.request:g} seconds"), RETRY_AFTER)

    def _fail(self, problem: Problem, retry_after: int | None = None) -> None:
        """Answer this if nothing was answered yet, and end the connection."""
        self.close_connection = True
        if not self.headers_sent:
            body = _body(problem)
            more = [] if retry_after is None else [("Retry-After", str(retry_after))]
            self.start_response(_status(problem), [*_headers(body), *more])
            self.write(body)

    def log_request(self) -> None:
        """Nothing: pywsgi would format a line first, and throw it away then."""

    def _write_with_headers(self, data: bytes) -> None:
        """Head and body leave in one call where they can: each costs as much as half of an answer."""
        self.headers_sent = True
        self.finalize_headers()
        base: Any = self
        head = b"\r\n".join([b"HTTP/1.1 " + base.status, *map(b": ".join, base.response_headers), b"", b""])
        if self.response_use_chunked:
            base._sendall(head)
            base._write(data)
        else:
            base._sendall(head + data)

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        unsent = self._body is not None and self._body.awaited and not self._body.ended
        if self.close_connection or self.server.finishing or self.server.crowded or unsent:
            headers = [*headers, ("Connection", "close")]
        return super().start_response(status, [*headers, *ALWAYS], exc_info)

    # --- what goes wrong

    def _handle_client_error(self, ex: Exception) -> tuple[str, bytes]:
        if isinstance(ex, SlowClient):
            problem = Problem(408, str(ex))
        elif isinstance(ex, Problem):
            problem = ex
        else:
            problem = Problem(400, "this is no HTTP request")
        log.info("bad request from %s: %s (%s)", self.client_address, problem.message, type(ex).__name__, extra=SELDOM)
        return _refusal(problem)

    def _send_error_response_if_possible(self, error_code: int) -> None:
        with contextlib.suppress(OSError):
            self._fail(Problem(error_code, "this is no HTTP request" if error_code == 400 else "unexpected error"))

    def _log_error(self, t: Any, v: Any, tb: Any) -> None:
        if not issubclass(t, gevent.GreenletExit):
            log.error("unexpected error in %s", self.requestline, exc_info=(t, v, tb), extra=SELDOM)


def allow_files(wanted: int) -> None:
    """Raise the soft limit of open files to hold that many connections, as far as the hard one lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = wanted + 200 if hard == resource.RLIM_INFINITY else min(hard, wanted + 200)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))


def _body(problem: Problem) -> bytes:
    return json.dumps(problem.body()).encode()


def _status(problem: Problem) -> str:
    return f"{problem.status} {HTTPStatus(problem.status).phrase}"


def _headers(body: bytes) -> list[tuple[str, str]]:
    return [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]


def _refusal(problem: Problem) -> tuple[str, bytes]:
    """(status, whole response) for a request that never reached the application; its connection is closed."""
    status = _status(problem)
    body = _body(problem)
    lines = [f"HTTP/1.1 {status}", *map(": ".join, [*_headers(body), *ALWAYS]), "Connection: close", "", ""]
    return status, "\r\n".join(lines).encode("latin-1") + body
