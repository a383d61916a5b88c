"""The common part of the HTTP servers in tests."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler


class HttpHandler(BaseHTTPRequestHandler):
    """One kept connection, which ends silently with its client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def body(self) -> bytes:
        """Read the body of the request. Raises ConnectionError if the body breaks off."""
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionError("the request breaks off")
        return body

    def log_message(self, *_: object) -> None:
        """Log nothing."""
