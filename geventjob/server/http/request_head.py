"""The headers of a request, read strictly: what two programs could read in two ways is refused.

The email parser that pywsgi takes stops at the first line that is no header, so that a Content-Length behind it is
not seen and the body becomes the next request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

from geventjob.server.problem import Problem

HEADERS = 100
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*\r?\n")


class Headers:
    """The headers by name, and what else pywsgi asks of them."""

    status = ""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs
        self._by_name = {name.lower(): value for name, value in reversed(pairs)}

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first of this name."""
        return self._by_name.get(name.lower(), default)

    getheader = get

    def all(self, name: str) -> list[str]:
        return [value for other, value in self._pairs if other.lower() == name]

    def __delitem__(self, name: str) -> None:
        del self._by_name[name]
        self._pairs = [pair for pair in self._pairs if pair[0].lower() != name]

    @property
    def typeheader(self) -> str | None:
        return self.get("content-type")

    @property
    def headers(self) -> Iterator[str]:
        """As lines."""
        return (f"{name}: {value}\r\n" for name, value in self._pairs)


def parse_headers(rfile: IO[bytes], limit: int) -> Headers:
    """Read the headers and the empty line after them. Raises Problem 400, 431 (more than `limit` bytes)."""
    pairs: list[tuple[str, str]] = []
    left = limit
    while True:
        line = rfile.readline(left + 1)
        left -= len(line)
        if left < 0 or len(pairs) > HEADERS:
            raise Problem(431, f"the headers are larger than {limit} bytes, or more than {HEADERS}")
        if line in (b"\r\n", b"\n"):
            return _framed(Headers(pairs))
        match = _LINE.fullmatch(line)
        if match is None:
            raise Problem(400, "a line in the headers is no header")
        pairs.append((match[1].decode(), match[2].decode("latin-1")))


def _framed(head: Headers) -> Headers:
    """Where the body ends must be told in one way, else a proxy before us may see it end elsewhere."""
    lengths, codings = head.all("content-length"), head.all("transfer-encoding")
    if codings and ([coding.lower() for coding in codings] != ["chunked"] or lengths):
        raise Problem(400, "Transfer-Encoding can only be chunked, and has no Content-Length beside it")
    if len(lengths) > 1 or (lengths and not re.fullmatch("[0-9]{1,18}", lengths[0])):
        raise Problem(400, "Content-Length is no number of bytes")
    return head


_ABSOLUTE = re.compile(r"https?://[^/?#]+(.*)", re.IGNORECASE | re.DOTALL)


def origin_form(target: str) -> str:
    """The target of a request without scheme and host, which a client may send as it would to a proxy (RFC 9112 §3.2).

    Raises Problem 400 for what is neither that nor a path.
    """
    if match := _ABSOLUTE.fullmatch(target):
        target = match[1] if match[1].startswith("/") else "/" + match[1]
    if not target.startswith("/") and target != "*":
        raise Problem(400, "the target of the request is no path")
    return target
