"""HTTP with one service at one or several addresses: bounded in time and size, no redirects, no monkey-patching."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from functools import partial
from http.client import HTTPException
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

import requests
import requests.adapters
import urllib3.exceptions
from requests.utils import get_environ_proxies

from geventjob.cimi.connections import CHUNK, KeptConnections, NoConnection
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


@dataclass(frozen=True)
class Request:
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


@dataclass(frozen=True)
class HttpAnswer:
    """An answer of any status. `to` names the request in words: `PUT http://host/api/job`."""

    to: str
    status: int
    headers: Mapping[str, str] | Message
    cookies: tuple[str, ...]
    """The Set-Cookie lines as they are. A cookie jar would drop cookies by the clock of this machine."""
    body: bytes


class _Checked(BytesIO):
    """A body that is checked as it leaves, when a connection exists and half the request may be sent already.

    Finding a connection may take long, above all if the process is stopped meanwhile. No server obeys a request whose
    body does not end.
    """

    def __init__(self, body: bytes, check: Callable[[], None]) -> None:
        super().__init__(body)
        self._check = check

    def read(self, size: int | None = -1, /) -> bytes:
        part = super().read(size)
        if part:  # an empty part: the body has left
            self._check()
        return part


class Transport:
    """A pool of connections. It stays with an address that answers, and moves to the next when an address fails."""

    def __init__(
        self, url: str, *, ca: str | None, insecure: bool, connections: int, timeout: tuple[float, float]
    ) -> None:
        self.addresses = addresses(url)
        self._current = 0
        self._timeout = timeout
        self._verify: bool | str = False if insecure else ca or True
        self._proxies: dict[str, dict[str, str]] = {}
        self._connections = connections
        self._connect()
        _open.add(self)
        if insecure:
            warnings.filterwarnings("ignore", category=urllib3.exceptions.InsecureRequestWarning)

    def _connect(self) -> None:
        """Begin with a new pool, also in a forked child: two processes cannot share a connection."""
        self._adapter = requests.adapters.HTTPAdapter(len(self.addresses), self._connections, pool_block=True)
        self._plain = {
            address: KeptConnections(address, self._connections, self._timeout)
            for address in self.addresses
            if address.startswith("http:") and not self._proxies_for(address)
        }

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
        self._adapter.close()
        for connections in self._plain.values():
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
        if address in self._plain:
            return self._exchange_plainly(address, request, cookie, to)
        try:
            response = self._adapter.send(
                _prepared(address, request, cookie),
                stream=True,
                timeout=self._timeout,
                verify=self._environment_ca() if self._verify is True else self._verify,
                proxies=self._proxies_for(address),
            )
            try:
                body = self._read(response.raw, to)
            finally:
                response.close()
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise self._failure(address, to, error) from error
        cookies = tuple(response.raw.headers.getlist("Set-Cookie"))
        return HttpAnswer(to, response.status_code, response.headers, cookies, body)

    def _exchange_plainly(self, address: str, request: Request, cookie: str | None, to: str) -> HttpAnswer:
        """Send a request that needs neither TLS nor a proxy."""
        headers, answering = _headers(request, cookie), False
        send = self._plain[address].send
        try:
            with send(request.method, request.target, headers, request.body or b"", request.check) as (answer, parts):
                answering = True
                body = self._whole(parts, to)
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
        cookies = tuple(answer.headers.get_all("Set-Cookie", ()))
        return HttpAnswer(to, answer.status, answer.headers, cookies, body)

    def _read(self, raw: Any, to: str) -> bytes:
        read = getattr(raw, "read1", raw.read)  # urllib3 before 2.1 can only wait for a whole chunk
        return self._whole(iter(partial(read, CHUNK, decode_content=True), b""), to)

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

    def _failure(self, address: str, to: str, error: Exception) -> ServerAway:
        if isinstance(error, (requests.exceptions.ReadTimeout, urllib3.exceptions.ReadTimeoutError)):
            return ServerAway(f"{to}: no answer within {self._timeout[1]:g} s")
        if isinstance(error, requests.exceptions.ConnectTimeout):
            return _Unreached(f"{address}: no connection within {self._timeout[0]:g} s")
        if error.args and isinstance(error.args[0], urllib3.exceptions.ProtocolError):
            return _Broken(f"{to}: {_reason(error)}")
        if isinstance(error, urllib3.exceptions.ProtocolError):
            return ServerAway(f"{to}: the answer broke off: {_reason(error)}")
        return _Unreached(f"{address}: {_reason(error)}")

    def _environment_ca(self) -> bool | str:
        """Return the certificates of the environment, as a session of requests would use them. `.netrc` is not read."""
        return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True

    def _proxies_for(self, address: str) -> dict[str, str]:
        if address not in self._proxies:
            self._proxies[address] = {} if on_this_machine(address) else get_environ_proxies(address)
        return self._proxies[address]


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
    return headers


def _prepared(address: str, request: Request, cookie: str | None) -> requests.PreparedRequest:
    headers = _headers(request, cookie)
    body = _Checked(request.body, request.check) if request.body and request.check else request.body
    return requests.Request(request.method, address + request.target, headers=headers, data=body).prepare()


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
