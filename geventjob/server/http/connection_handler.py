"""One connection: gevent's pywsgi handler, with bounds on slow clients and strict framing of requests."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
from typing import TYPE_CHECKING, Any

import gevent
from gevent import pywsgi
from gevent.socket import socket as GeventSocket
from gevent.ssl import SSLContext

from geventjob.log import SELDOM
from geventjob.server.http import tls
from geventjob.server.http.body_stream import BodyStream
from geventjob.server.http.early_response import SECURITY_HEADERS, headers_and_body, status_of, whole_response
from geventjob.server.http.environ import AUTHENTICATED, CLIENT_GONE, STREAMING
from geventjob.server.http.request_head import origin_form, parse_headers, require_first_line
from geventjob.server.problem import RETRY_AFTER, Problem

if TYPE_CHECKING:
    from geventjob.server.http.server import HttpServer

log = logging.getLogger(__name__)

ESTABLISHED = 1
"""State of a TCP connection that is open in both directions (linux/tcp.h)."""


STREAM_BUFFER = 128 * 1024
"""Bytes of a stream that the kernel keeps for a client that does not read."""


class SlowClient(OSError):
    """The head of a request did not arrive in time."""


class ClientGone(OSError):
    """The client does not take the response: it has closed the connection, does not read, or failed in TLS."""


class ConnectionHandler(pywsgi.WSGIHandler):
    """Serves the requests of one connection, one after another."""

    server: HttpServer
    is_anonymous = True
    """Whether no user has authenticated on the connection."""
    _head_timeout: gevent.Timeout | None = None
    _request_timeout: gevent.Timeout | None = None
    _body: BodyStream | None = None

    def handle(self) -> None:
        """Serve requests until the connection ends."""
        connections = self.server.connections
        connections.anonymous += 1
        connections.make_room()
        try:
            # Without TCP_NODELAY a response in two segments waits for the client's delayed acknowledgement: 44 ms.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.socket.settimeout(self.server.limits.anonymous_idle)
            if self.server.tls is not None:
                self._begin_tls(self.server.tls)
            super().handle()
        except OSError as error:
            log.debug("connection from %s: %s", self.client_address, error, extra=SELDOM)
        finally:
            self._end_head_timeout()
            connections.end_wait(self)
            connections.anonymous -= self.is_anonymous

    def _begin_tls(self, context: SSLContext) -> None:
        """Carry out the handshake, which counts as the head of a request, in this greenlet. Raises OSError."""
        self.socket = tls.wrapped(self.socket, context)
        self.rfile = self.socket.makefile("rb", -1)
        self._wait()
        try:
            with gevent.Timeout(self.server.limits.head, SlowClient("the TLS handshake is too slow")):
                tls.shake_hands(self.socket)
        except BaseException:
            self.socket.close()
            raise
        finally:
            self._end_wait()

    def mark_authenticated(self) -> None:
        """Grant the connection the limits of an authenticated user."""
        if self.is_anonymous:
            self.is_anonymous = False
            self.server.connections.anonymous -= 1
            self.socket.settimeout(self.server.limits.idle)

    def is_client_gone(self) -> bool:
        """Return whether the client has closed the connection, or its sending half."""
        state: int = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        return state != ESTABLISHED

    def begin_stream(self) -> None:
        """Let the response last as long as its client reads: without the time limit of a request, little buffered."""
        self.close_connection = True
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STREAM_BUFFER)
        if self._request_timeout is not None:
            self._request_timeout.close()

    def hang_up(self, *, at_once: bool = False) -> None:
        """Shut the connection down: after the bytes that have arrived, or `at_once`."""
        self.server.connections.end_wait(self)
        with contextlib.suppress(OSError):
            # The method of TLS sockets would go on without TLS.
            GeventSocket.shutdown(self.socket, socket.SHUT_RDWR if at_once else socket.SHUT_RD)

    def _wait(self) -> None:
        self.server.connections.wait(self)

    def _end_wait(self) -> None:
        self.server.connections.end_wait(self)

    # --- the head of a request

    def read_requestline(self) -> str:
        """Return the first line of the next request; empty at the end of the connection."""
        connections = self.server.connections
        connections.wait(self, between_requests=True)
        if connections.is_draining or not self.rfile.peek(1):
            return ""
        connections.wait(self)
        self._head_timeout = gevent.Timeout.start_new(
            self.server.limits.head, SlowClient("the head of the request is too slow")
        )
        line: str = super().read_requestline()
        return line

    def handle_one_request(self) -> Any:
        """Replace the text of a 414 from pywsgi with a JSON body."""
        result = super().handle_one_request()
        if isinstance(result, tuple) and result[0] == "414":
            return whole_response(Problem(414, "the first line of the request is too long"))
        return result

    def read_request(self, raw_requestline: str) -> Any:
        """Parse the head of a request. Raises Problem 400, 431, SlowClient."""
        try:
            require_first_line(raw_requestline)
            is_read = super().read_request(raw_requestline)
        finally:
            self._end_head_timeout()
            self._end_wait()
        self.path = origin_form(str(self.path))
        return is_read

    def _end_head_timeout(self) -> None:
        if self._head_timeout is not None:
            self._head_timeout.close()
            self._head_timeout = None

    def MessageClass(self, rfile: Any, *args: Any) -> Any:
        """Return the headers that come next in `rfile`. Raises Problem 400, 431."""
        if self.request_version not in ("HTTP/1.0", "HTTP/1.1"):
            raise Problem(400, f"expected HTTP/1.1, not {str(self.request_version)[:20]!r}")
        headers = parse_headers(rfile, self.server.limits.head_size)
        if self.request_version == "HTTP/1.0" and headers.get("transfer-encoding") is not None:
            raise Problem(400, "HTTP/1.0 has no Transfer-Encoding")
        hosts = len(headers.all("host"))
        if hosts > 1 or (not hosts and self.request_version == "HTTP/1.1"):
            raise Problem(400, f"expected one Host header, not {hosts}")
        return headers

    def get_environ(self) -> dict[str, Any]:
        """Return the WSGI environment, with our BodyStream and the keys of `environ.py`."""
        environ: dict[str, Any] = super().get_environ()
        chunked = self.headers.get("transfer-encoding") is not None
        awaited = (self.headers.get("expect") or "").lower() == "100-continue" and self.request_version != "HTTP/1.0"
        send = self._send_continue if awaited else None
        body = BodyStream(self.rfile, self.content_length, chunked, send, self._wait, self._end_wait)
        environ["wsgi.input"] = self._body = body
        self.wsgi_input = body  # type: ignore[assignment]
        environ["wsgi.input_terminated"] = True
        environ["wsgi.url_scheme"] = "http" if self.server.tls is None else "https"
        environ[AUTHENTICATED] = self.mark_authenticated
        environ[CLIENT_GONE] = self.is_client_gone
        environ[STREAMING] = self.begin_stream
        return environ

    def _send_continue(self) -> None:
        self.socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    # --- the response

    def run_application(self) -> None:
        """Run the application within the time limit of a request; answer 503 beyond it."""
        limit = self._request_timeout = gevent.Timeout(self.server.limits.request)
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
        """Read the rest of a refused body within limits, so that the client sees the response."""
        limits = self.server.limits
        if self._body is not None and not self._body.discard(limits.discard_size, limits.discard_time):
            self.close_connection = True

    def _give_up(self) -> None:
        seconds = self.server.limits.request
        log.warning("gave up after %g s: %s", seconds, self.requestline, extra=SELDOM)
        self._fail(Problem(503, f"the request took longer than {seconds:g} seconds", retry_after=RETRY_AFTER))

    def _fail(self, problem: Problem) -> None:
        """End the connection, with this problem as the response unless one has been sent."""
        self.close_connection = True
        if not self.headers_sent:
            headers, body = headers_and_body(problem)
            self.start_response(status_of(problem), headers)
            self.write(body)

    def log_request(self) -> None:
        """Do nothing: pywsgi would format a line only to drop it."""

    def _write_with_headers(self, data: bytes) -> None:
        """Send head and body in one call where possible: each call costs as much as half a response."""
        self.headers_sent = True
        self.finalize_headers()
        base: Any = self
        head = b"\r\n".join([b"HTTP/1.1 " + base.status, *map(b": ".join, base.response_headers), b"", b""])
        if self.response_use_chunked:
            base._sendall(head)
            base._write(data)
        else:
            base._sendall(head + data)

    def _sendall(self, data: bytes) -> None:
        """Send bytes. Raises ClientGone, after which pywsgi ends the connection without a word."""
        base: Any = super()
        try:
            base._sendall(data)
        except OSError as error:
            log.debug("response to %s: %s", self.client_address, error, extra=SELDOM)
            raise ClientGone(errno.EPIPE, str(error)) from None

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        """Add the headers of every response, and `Connection: close` where the connection is to end."""
        unsent = self._body is not None and self._body.awaited and not self._body.ended
        if self.close_connection or self.server.connections.ends_after_response or unsent:
            headers = [*headers, ("Connection", "close")]
        return super().start_response(status, [*headers, *SECURITY_HEADERS], exc_info)

    # --- errors

    def _handle_client_error(self, ex: Exception) -> tuple[str, bytes]:
        if isinstance(ex, SlowClient):
            problem = Problem(408, str(ex))
        elif isinstance(ex, Problem):
            problem = ex
        else:
            problem = Problem(400, "not an HTTP request")
        log.info("bad request from %s: %s (%s)", self.client_address, problem.message, type(ex).__name__, extra=SELDOM)
        return whole_response(problem)

    def _send_error_response_if_possible(self, error_code: int) -> None:
        with contextlib.suppress(OSError):
            self._fail(Problem(error_code, "not an HTTP request" if error_code == 400 else "unexpected error"))

    def _log_error(self, t: Any, v: Any, tb: Any) -> None:
        if not issubclass(t, gevent.GreenletExit):
            log.error("unexpected error in %s", self.requestline, exc_info=(t, v, tb), extra=SELDOM)
