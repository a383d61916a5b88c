"""Request head: first line, target and headers, parsed strictly. Ambiguous framing is refused (request smuggling).

The email parser that pywsgi uses stops at the first line that is not a header: a Content-Length after this line would
be ignored, and the body would become the next request. pywsgi also takes any white space for the blanks of the first
line, and a bare LF for the end of a line, where a proxy may see neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

from geventjob.server.problem import Problem

MAX_HEADERS = 100
"""Most headers of a request."""
_NAME = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_FIRST_LINE = re.compile(rf"{_NAME} [^\x00-\x20\x7f]+ HTTP/[0-9]\.[0-9]\r\n")
_LINE = re.compile(rf"({_NAME}):[ \t]*([^\x00\r\n]*?)[ \t]*\r\n".encode())


class Headers:
    """Headers by name, with the interface that pywsgi expects."""

    status = ""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs
        self._by_name = {name.lower(): value for name, value in reversed(pairs)}

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the first header of this name."""
        return self._by_name.get(name.lower(), default)

    getheader = get

    def all(self, name: str) -> list[str]:
        """Return all headers of this name, which is in lower case."""
        return [value for other, value in self._pairs if other.lower() == name]

    def __delitem__(self, name: str) -> None:
        del self._by_name[name]
        self._pairs = [pair for pair in self._pairs if pair[0].lower() != name]

    @property
    def typeheader(self) -> str | None:
        """The Content-Type."""
        return self.get("content-type")

    @property
    def headers(self) -> Iterator[str]:
        """All headers as lines."""
        return (f"{name}: {value}\r\n" for name, value in self._pairs)


def require_first_line(line: str) -> None:
    """Raise Problem 400 unless the first line of a request has its three parts, one blank between, and CRLF."""
    if _FIRST_LINE.fullmatch(line) is None:
        raise Problem(400, "not an HTTP request: the first line is not METHOD TARGET HTTP/1.1")


def parse_headers(rfile: IO[bytes], limit: int) -> Headers:
    """Read the headers and the empty line after them. Raises Problem 400, 431 (more than `limit` bytes)."""
    pairs: list[tuple[str, str]] = []
    left = limit
    while True:
        line = rfile.readline(left + 1)
        left -= len(line)
        if left < 0 or len(pairs) > MAX_HEADERS:
            raise Problem(431, f"the headers are larger than {limit} bytes, or more than {MAX_HEADERS}")
        if line == b"\r\n":
            return _framed(Headers(pairs))
        match = _LINE.fullmatch(line)
        if match is None:
            raise Problem(400, "a line of the headers is not a header")
        pairs.append((match[1].decode(), match[2].decode("latin-1")))


def _framed(head: Headers) -> Headers:
    """Return the headers if they define the end of the body in one way; a proxy might otherwise see another end.

    Raises Problem 400.
    """
    lengths, codings = head.all("content-length"), head.all("transfer-encoding")
    if codings and ([coding.lower() for coding in codings] != ["chunked"] or lengths):
        raise Problem(400, "Transfer-Encoding can only be chunked, and has no Content-Length beside it")
    if len(lengths) > 1 or (lengths and not re.fullmatch("[0-9]{1,18}", lengths[0])):
        raise Problem(400, "Content-Length is not a number of bytes")
    return head


_ABSOLUTE = re.compile(r"https?://[^/?#]+(.*)", re.IGNORECASE | re.DOTALL)


def origin_form(target: str) -> str:
    """Return the target of a request without scheme and host, which a client may send as to a proxy (RFC 9112 §3.2).

    Raises Problem 400 for a target that is neither a path nor such an address.
    """
    if match := _ABSOLUTE.fullmatch(target):
        target = match[1] if match[1].startswith("/") else "/" + match[1]
    if not target.startswith("/") and target != "*":
        raise Problem(400, "the target of the request is not a path")
    return target
