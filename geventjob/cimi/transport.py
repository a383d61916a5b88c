"""HTTP with one service at one or several addresses: bounded in time and size, no redirects, no monkey-patching."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from http.client import HTTPException
from typing import NamedTuple
from urllib.parse import urlsplit
from weakref import WeakSet

from geventjob import traceparent
from geventjob.cimi.connections import ConnectionPool, KeptConnections, NoConnection
from geventjob.cimi.errors import CimiError, ServerAway

LIMIT = 256 * 1024 * 1024
"""Bytes of an answer that are read at most: a thousand jobs with the largest payload and message."""
TRICKLE = 4
"""A whole answer may take this many times as long as one wait for its next bytes."""


class AnswerTooLarge(CimiError):
    """The answer is longer than LIMIT. A request for less may help, the same request does not."""


class _Unreached(ServerAway):
    """The request was not sent and may go to another address."""


class _Broken(ServerAway):
    """The connection ended before an answer, as an idle connection does that the server has closed."""


class Request(NamedTuple):
    """A request. `target` is the path with its query."""

    method: str
    target: str
    body: bytes | None = None
    content_type: str | None = None
    repeatable: bool = False
    """Whether sending twice has the effect of sending once."""
    check: Callable[[], None] | None = None
    """Called each time just before the request is sent, and with a body also before each part; an exception keeps it
    back."""


class HttpAnswer(NamedTuple):
    """An answer of any status. `to` names the request in words: `PUT http://host/api/job`."""

    to: str
    status: int
    headers: Mapping[str, str] | Message
    cookies: tuple[str, ...]
    """The Set-Cookie lines as they are. A cookie jar would drop cookies by the clock of this machine."""
    body: bytes


class Transport:
    """A pool of connections. It stays with an address that answers, and moves to the next when an address fails."""

    def __init__(
        self, url: str, *, ca: str | None, insecure: bool, connections: int, timeout: tuple[float, float]
    ) -> None:
        self.addresses = addresses(url)
        self._current = 0
        self._timeout = timeout
        self._verify: bool | str = False if insecure else ca or True
        self._most = connections
        self._connect()
        _open.add(self)

    def _connect(self) -> None:
        """Begin with new pools, also in a forked child: two processes cannot share a connection."""
        self._connections = {address: self._connections_to(address) for address in self.addresses}

    def _connections_to(self, address: str) -> ConnectionPool:
        if address.startswith("http:") and (on_this_machine(address) or not _has_proxies()):
            return KeptConnections(address, self._most, self._timeout)
        # Only here: requests takes 50 ms to import, as long as a command that needs nothing of it.
        from geventjob.cimi.requests_connections import RequestsConnections

        return RequestsConnections(address, self._most, self._timeout, self._verify)

    def send(self, request: Request, cookie: str | None = None) -> HttpAnswer:
        """Send a request to the first address in reach, from the present one on, and return the answer.

        Raises ServerAway, AnswerTooLarge.
        """
        failures: list[ServerAway] = []
        for at in self._order():
            for _ in range(2 if request.repeatable else 1):
                try:
                    answer = self._exchange(self.addresses[at], request, cookie)
                except _Unreached as error:
                    failures.append(error)
                    break
                except _Broken as error:
                    failures.append(error)
                    if not request.repeatable:
                        self._leave(at)
                        raise
                except ServerAway:
                    self._leave(at)
                    raise
                else:
                    self._settle(at, answer)
                    return answer
        raise ServerAway("; ".join(dict.fromkeys(map(str, failures)))) from failures[-1]

    def close(self) -> None:
        """Close the idle connections."""
        for connections in self._connections.values():
            connections.close()

    def _order(self) -> Iterator[int]:
        first = self._current
        return ((first + turn) % len(self.addresses) for turn in range(len(self.addresses)))

    def _settle(self, at: int, answer: HttpAnswer) -> None:
        if answer.status >= 500:
            self._leave(at)
        else:
            self._current = at

    def _leave(self, at: int) -> None:
        self._current = (at + 1) % len(self.addresses)

    def _exchange(self, address: str, request: Request, cookie: str | None) -> HttpAnswer:
        to = f"{request.method} {address}{request.target.partition('?')[0]}"
        if request.check:
            request.check()
        headers, answering = _headers(request, cookie), False
        send = self._connections[address].send
        try:
            with send(request.method, request.target, headers, request.body or b"", request.check) as answer:
                answering = True
                body = self._whole(answer.parts, to)
        except NoConnection as error:
            if isinstance(error.__cause__, TimeoutError):
                raise _Unreached(f"{address}: no connection within {self._timeout[0]:g} s") from error
            raise _Unreached(f"{address}: {_reason(error)}") from error
        except TimeoutError as error:
            raise ServerAway(f"{to}: no answer within {self._timeout[1]:g} s") from error
        except (OSError, HTTPException) as error:
            if answering:
                raise ServerAway(f"{to}: the answer broke off: {_reason(error)}") from error
            raise _Broken(f"{to}: {_reason(error)}") from error
        return HttpAnswer(to, answer.status, answer.headers, tuple(answer.cookies), body)

    def _whole(self, parts: Iterator[bytes], to: str) -> bytes:
        body = bytearray()
        deadline = time.monotonic() + TRICKLE * self._timeout[1]
        for part in parts:
            body += part
            if len(body) > LIMIT:
                raise AnswerTooLarge(f"{to}: the answer is longer than {LIMIT // 1024**2} MB")
            if time.monotonic() > deadline:
                raise ServerAway(f"{to}: the answer did not end within {TRICKLE * self._timeout[1]:g} s")
        return bytes(body)


_open: WeakSet[Transport] = WeakSet()  # for the handler of forks


def _after_fork() -> None:
    for transport in list(_open):
        transport.close()
        transport._connect()


os.register_at_fork(after_in_child=_after_fork)


def addresses(url: str) -> list[str]:
    """Return the addresses in a comma-separated list, without trailing slashes. Raises ValueError in words.

    >>> addresses("http://one:8201/, https://two")
    ['http://one:8201', 'https://two']
    """
    found = [part.strip().rstrip("/") for part in url.split(",") if part.strip()]
    if not found:
        raise ValueError("the server's URL is empty: expected http://host:port or https://host")
    for address in found:
        parts = urlsplit(address)
        if parts.username is not None or parts.password is not None:
            raise ValueError("the server's URL holds a user or password: give them by their own options")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{address!r} is no URL of a server: expected http://host:port or https://host")
        _ = parts.port  # raises ValueError in words
    return found


def on_this_machine(address: str) -> bool:
    """Return whether an address is on this machine. No proxy reaches it, whatever the environment says of proxies."""
    host = urlsplit(address).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _headers(request: Request, cookie: str | None) -> dict[str, str]:
    headers = {"Accept": "application/json", "User-Agent": "geventjob"}
    if request.content_type:
        headers["Content-Type"] = request.content_type
    if cookie:
        headers["Cookie"] = cookie
    if trace := traceparent.current():
        headers[traceparent.HEADER] = trace
    return headers


def _has_proxies() -> bool:
    """Return whether the environment names a proxy of any kind."""
    return any(name.lower().endswith("_proxy") for name in os.environ)


def _reason(error: BaseException) -> str:
    """Return the innermost cause in words, without the layers around."""
    inner: BaseException = error
    while True:
        nested = getattr(inner, "reason", None) or next((a for a in inner.args if isinstance(a, BaseException)), None)
        following = nested if isinstance(nested, BaseException) else inner.__cause__
        if following is None:
            break
        inner = following
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
