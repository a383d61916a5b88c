"""The action that sends one HTTP request. Headers, bodies, and all of a URL but its host are never logged.

Users that may add jobs can make the machine of an executor send requests, also into its own network, except to
networks of `--http-refuse` (`docs/security.md`, "http_request").
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import gevent
import requests
from requests.utils import get_environ_proxies, select_proxy
from urllib3.exceptions import HTTPError

from geventjob import Action, action
from geventjob.config.options import REFUSED
from geventjob.guard import AddressRefused, Guard, GuardedSession, endpoint

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
HARMLESS = {"accept", "accept-language", "content-type", "user-agent"}
"""Headers that follow a redirect to another host."""
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8000}")
OURS = {"content-length", "transfer-encoding", "connection"}
"""Headers that requests sets itself."""
EXCERPT = 200
"""Characters of the answer in the status message."""
CHUNK = 65_536
"""Bytes that are read at once."""
MEGABYTE = 1_000_000


class RequestFailed(Exception):
    """A request without a usable answer. The text holds no secret."""


@dataclass(frozen=True)
class Wanted:
    """A valid payload."""

    url: str
    method: str = "GET"
    headers: dict[str, str] | None = None
    body: str | None = None
    json: Any = None
    timeout: float = 30.0
    expect: int | list[int] | None = None
    max_redirects: int = 5
    max_size: int = MEGABYTE

    def accepts(self, status: int) -> bool:
        """Return whether a status is an expected one."""
        if self.expect is None:
            return 200 <= status < 300
        return status in ([self.expect] if isinstance(self.expect, int) else self.expect)

    @property
    def expected(self) -> str:
        """The expected statuses in words."""
        if self.expect is None:
            return "2xx"
        return str(self.expect) if isinstance(self.expect, int) else " or ".join(map(str, self.expect))


# --- the payload


def wanted(payload: Mapping[str, Any]) -> Wanted:
    """Return the checked payload. Raises ValueError, whose text shows no value of the payload."""
    for name, value in payload.items():
        if name not in CHECKS:
            raise ValueError(f"payload: unknown {name[:50]!r}, expected {', '.join(CHECKS)}")
        accepts, expected = CHECKS[name]
        if not accepts(value):
            raise ValueError(f"payload: {name}: expected {expected}")
    if "url" not in payload:
        raise ValueError("payload: url is missing")
    if "body" in payload and "json" in payload:
        raise ValueError("payload: body and json: expected at most one of them")
    return Wanted(**payload)


def is_url(value: object) -> bool:
    """Return whether a value is an http(s) URL of a host, without a log-in."""
    if not isinstance(value, str) or not value.isprintable() or " " in value or len(value) > 8000:
        return False
    try:
        parts = urlsplit(value)
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
        )
    except ValueError:
        return False


def are_headers(value: object) -> bool:
    """Return whether a value is an object of header names and texts, without headers of OURS."""
    return isinstance(value, dict) and all(
        TOKEN.fullmatch(name) and name.lower() not in OURS and isinstance(text, str) and VALUE.fullmatch(text.strip())
        for name, text in value.items()
    )


def is_number(least: float, most: float, kinds: Any = int) -> Callable[[object], bool]:
    """Return a check for a number from `least` to `most` of these types."""
    return lambda value: isinstance(value, kinds) and not isinstance(value, bool) and least <= value <= most


is_status = is_number(100, 599)


def are_statuses(value: object) -> bool:
    """Return whether a value is an HTTP status or a list of them."""
    return is_status(value) or (isinstance(value, list) and bool(value) and all(map(is_status, value)))


CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "url": (is_url, "http://HOST/… or https://HOST/…, without a log-in in it"),
    "method": (lambda value: value in METHODS, f"one of {' '.join(METHODS)}"),
    "headers": (are_headers, f"an object of header names and texts, without {', '.join(sorted(OURS))}"),
    "body": (lambda value: isinstance(value, str), "a text"),
    "json": (lambda value: True, "JSON"),
    "timeout": (is_number(0.001, 3600, (int, float)), "seconds, above 0 and up to 3600"),
    "expect": (are_statuses, "a status from 100 to 599, or a list of them"),
    "max_redirects": (is_number(0, 20), "a whole number from 0 to 20"),
    "max_size": (is_number(0, 64 * MEGABYTE), f"bytes, a whole number from 0 to {64 * MEGABYTE}"),
}


# --- the request


@dataclass(frozen=True)
class Step:
    """One request: the first, or one after a redirect."""

    method: str
    url: str
    headers: dict[str, str]
    data: bytes | None

    def after(self, status: int, location: str) -> Step:
        """Return the request after a redirect, without headers that must not go to another origin (RFC 9110 §15.4).

        Raises RequestFailed for an invalid location, and for a request with a body to another origin.
        """
        try:
            url = urljoin(self.url, location)
        except ValueError:
            url = ""
        if not is_url(url):
            raise RequestFailed(f"{host(self.url)} redirects to an invalid URL or to one with a log-in")
        headers, method, data = self.headers, self.method, self.data
        if origin(url) != origin(self.url):
            headers = {name: text for name, text in headers.items() if name.lower() in HARMLESS}
        if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
            method, data = "GET", None
            headers = {name: text for name, text in headers.items() if name.lower() != "content-type"}
        if data is not None and origin(url) != origin(self.url):
            raise RequestFailed(f"{host(self.url)} redirects a request with a body to another origin ({status})")
        return Step(method, url, headers, data)


def first(wanted: Wanted) -> Step:
    """Return the first request of a payload."""
    headers = {name: text.strip() for name, text in (wanted.headers or {}).items()}
    data = wanted.body.encode() if wanted.body is not None else None
    if wanted.json is not None:
        data = json.dumps(wanted.json).encode()
        if "content-type" not in {name.lower() for name in headers}:
            headers["Content-Type"] = "application/json"
    return Step(wanted.method, wanted.url, headers, data)


def host(url: str) -> str:
    """Return the part of a URL that may be shown."""
    return urlsplit(url).netloc


def origin(url: str) -> tuple[str, str | None, int]:
    """Return scheme, host and port of a URL."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def send(session: GuardedSession, step: Step, guard: Guard) -> requests.Response:
    """Return one answer, its body still to be read. Raises RequestFailed."""
    try:
        proxies = get_environ_proxies(step.url)
        if select_proxy(step.url, proxies):
            with suppress(socket.gaierror):  # only the proxy knows the name
                guard.addresses(*endpoint(step.url))
        return session.request(
            step.method,
            step.url,
            headers=step.headers,
            data=step.data,
            allow_redirects=False,
            stream=True,
            proxies=proxies,
            verify=os.environ.get("REQUESTS_CA_BUNDLE") or True,
        )
    except requests.exceptions.SSLError:
        raise RequestFailed(f"the certificate of {host(step.url)} is not trusted, or TLS failed") from None
    except requests.RequestException as error:  # the text may hold the URL with its secrets
        raise RequestFailed(f"no answer from {host(step.url)}: {type(error).__name__}") from None
    except AddressRefused as refused:
        raise RequestFailed(str(refused)) from None
    except (ValueError, HTTPError) as error:  # for example an impossible host
        raise RequestFailed(f"{host(step.url)} cannot be asked: {type(error).__name__}") from None


def body(response: requests.Response, most: int) -> bytes:
    """Return the decoded body, of `most` bytes at most. Raises RequestFailed."""
    found = bytearray()
    try:
        for chunk in response.iter_content(CHUNK):
            found += chunk
            if len(found) > most:
                raise RequestFailed(f"the answer of {host(response.url)} is larger than {most} bytes")
    except requests.RequestException as error:
        raise RequestFailed(f"the answer of {host(response.url)} broke off: {type(error).__name__}") from None
    return bytes(found)


def told(response: requests.Response, found: bytes) -> str:
    """Return the answer in a line."""
    text = found[: 4 * EXCERPT].decode(errors="replace") if "\0" not in found[:EXCERPT].decode("latin-1") else ""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split())[:EXCERPT])
    status = f"{response.status_code} {response.reason or ''}".strip()
    return f"{status}, {len(found)} bytes: {line}" if line else f"{status}, {len(found)} bytes"


@action("http_request")
class HttpRequest(Action):
    """An action that sends the HTTP request of its payload.

    The payload holds `url`; optional are `method`, `headers`, `body` or `json`, `timeout` (seconds for the whole
    action), `expect` (a status or a list, by default any 2xx), `max_redirects`, `max_size` (bytes of the answer).
    SUCCESS if the status is an expected one, else FAILED with the status as return code. The status message holds the
    status and the beginning of the answer.
    """

    def do_work(self) -> int:
        """Send the request, and return 0 or the unexpected status. Raises RequestFailed, ValueError."""
        ask = wanted(self.job.payload)
        timeout = gevent.Timeout(ask.timeout)
        try:
            with timeout:
                status, message = self.ask(ask)
        except gevent.Timeout as raised:
            if raised is not timeout:
                raise
            raise RequestFailed(f"no whole answer from {host(ask.url)} within {ask.timeout:g} s") from None
        accepted = ask.accepts(status)
        self.job.set_status_message(message if accepted else f"{message} (expected {ask.expected})")
        return 0 if accepted else status

    def ask(self, ask: Wanted) -> tuple[int, str]:
        """Return the status, and the answer in a line. Raises RequestFailed."""
        settings = self.executor.settings
        servers = getattr(settings, "ss_url", None)
        guard = Guard(getattr(settings, "http_refuse", REFUSED), servers.split(",") if servers else ())
        with GuardedSession(guard) as session:
            session.headers["User-Agent"] = "geventjob"
            response = self.follow(session, ask, guard)
            self.job.set_progress(50)
            return response.status_code, told(response, body(response, ask.max_size))

    def follow(self, session: GuardedSession, ask: Wanted, guard: Guard) -> requests.Response:
        """Return the answer at the end of the redirects, or the first of an expected status. Raises RequestFailed."""
        step = first(ask)
        for left in range(ask.max_redirects, -1, -1):
            response = send(session, step, guard)
            if ask.max_redirects == 0 or ask.accepts(response.status_code) or not response.is_redirect:
                return response
            response.close()  # its body is not read
            if left:
                step = step.after(response.status_code, response.headers["location"])
        raise RequestFailed(f"more than {ask.max_redirects} redirects")
