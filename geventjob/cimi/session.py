"""Requests to a CIMI server as one user: log-in where it is needed, and answers turned into values or errors."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from geventjob.cimi.body import encoded
from geventjob.cimi.document import KEY_LOG_IN, USER_LOG_IN
from geventjob.cimi.errors import (
    CimiError,
    Conflict,
    Forbidden,
    ForeignAnswer,
    Invalid,
    LoginRefused,
    NotFound,
    Refused,
    ServerAway,
)
from geventjob.cimi.transport import HttpAnswer, Request, Transport

T = TypeVar("T")
Pairs = Iterable[tuple[str, str]]

AWAY = frozenset((408, 425, 429))
"""Statuses below 500 that say nothing against the request itself."""
WORDS = 2000
"""Characters of a server's message that are kept."""


class _Login:
    """A session on the server, good until the server refuses it or `until` (monotonic). Its repr shows no cookie."""

    def __init__(self, cookie: str, until: float, id: str | None) -> None:
        self.cookie = cookie
        self.until = until
        self.id = id


class CimiSession:
    """The requests of `Client`. Safe for threads and greenlets; no I/O before the first call."""

    def __init__(self, transport: Transport, template: Mapping[str, str] | None) -> None:
        """Keep the parts.

        `template`: a filled session template (`by_password`, `by_key`), or None to stay anonymous.
        """
        self.transport = transport
        self._template = template
        self._login: _Login | None = None
        self._one_at_a_time = threading.Lock()

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Pairs = (),
        form: Pairs | None = None,
        json: object = None,
        repeatable: bool | None = None,
        check: Callable[[], None] | None = None,
        answer: type[T],
    ) -> T:
        """Send one request to `/api/<path>`, and return the JSON of the answer, checked to be of the type `answer`.

        `json` may be bytes that are JSON already. `repeatable`: whether sending twice is harmless; without it, GET and
        PUT are. `check` is called each time just before the request is sent; an exception from it keeps the request
        back. Raises ServerAway, LoginRefused, Refused (one of its kinds), CimiError.
        """
        body, content_type = _body(form, json)
        target = "/api/" + checked(path) + ("?" + urlencode(list(query)) if query else "")
        if repeatable is None:
            repeatable = method in ("GET", "PUT")
        return _value(self._authorised(Request(method, target, body, content_type, repeatable, check)), answer)

    def log_in_as(self, template: Mapping[str, str] | None) -> None:
        """Use this session template from the next request on. A session of another template ends by its own time."""
        if template != self._template:
            self._template, self._login = template, None

    def log_out(self) -> None:
        """End the session on the server, if there is one. A session left behind ends by its own time."""
        login, self._login = self._login, None
        if login is not None and login.id is not None:
            with contextlib.suppress(CimiError):
                self.transport.send(Request("DELETE", f"/api/{checked(login.id)}"), login.cookie)

    def _authorised(self, request: Request) -> HttpAnswer:
        if self._template is None:
            return self._anonymous(request)
        login = self._login
        if login is None or time.monotonic() >= login.until:
            login = self._renew(login)
        answer = self.transport.send(request, login.cookie)
        if answer.status not in (401, 403) or not _is_ours(answer):
            return answer
        return self.transport.send(request, self._renew(login).cookie)

    def _anonymous(self, request: Request) -> HttpAnswer:
        answer = self.transport.send(request)
        if answer.status in (401, 403) and _is_ours(answer):
            raise LoginRefused(f"{_said(answer).message}: no user was given", status=answer.status)
        return answer

    def _renew(self, seen: _Login | None) -> _Login:
        """Return a login newer than `seen`, which was of no use.

        Of two callers the second takes the login of the first.
        """
        with self._one_at_a_time:
            if self._login is None or self._login is seen:
                self._login = self._log_in()
            return self._login

    def _log_in(self) -> _Login:
        body = msgspec.json.encode({"sessionTemplate": self._template})
        answer = self.transport.send(Request("POST", "/api/session", body, "application/json", repeatable=True))
        if answer.status in (400, 401, 403) and _is_ours(answer):
            raise LoginRefused(f"log-in refused: {_said(answer).message}", status=answer.status)
        if answer.status >= 400:
            raise _away(answer)
        login = _login(answer)
        if login is None:
            raise ServerAway(f"{answer.to} answered {answer.status} and no session: is this a CIMI server?")
        return login


def by_password(user: str, password: str) -> dict[str, str]:
    """Return the session template of a log-in as a user."""
    return {"href": USER_LOG_IN, "username": user, "password": password}


def by_key(key: str, secret: str) -> dict[str, str]:
    """Return the session template of a log-in with an API key."""
    return {"href": KEY_LOG_IN, "key": key, "secret": secret}


def checked(path: str) -> str:
    """Return the id of a resource or collection, quoted for a URL. Raises ValueError for an impossible id."""
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError(f"{path!r} is no id of a resource")
    return quote(path, safe="/")


class _Said(msgspec.Struct):
    """The body of an answer that is no resource. A job's 409 has more fields (docs/job-lifecycle.md)."""

    message: str = ""
    status: Any = None
    id: str | None = msgspec.field(default=None, name="resource-id")
    reason: str | None = None
    job: dict[str, Any] | None = None


def refusal(
    status: int,
    message: str,
    reason: str | None = None,
    job: dict[str, Any] | None = None,
    resource_id: str | None = None,
) -> CimiError:
    """Return the error of an HTTP status: of a whole request, or of one item of a bulk request."""
    if status >= 500 or status in AWAY:
        return ServerAway(message, status=status)
    kinds: Mapping[int, type[Refused]] = {
        400: Invalid,
        401: Forbidden,
        403: Forbidden,
        404: NotFound,
        409: Conflict,
        413: Invalid,
    }
    return kinds.get(status, Refused)(status, message, reason=reason, job=job, resource_id=resource_id)


def _body(form: Pairs | None, json: object) -> tuple[bytes | None, str | None]:
    if form is not None:
        fields = urlencode(list(form)).encode()
        return fields, "application/x-www-form-urlencoded" if fields else None
    if json is None:
        return None, None
    return json if isinstance(json, bytes) else encoded(json), "application/json"


def _value(answer: HttpAnswer, kind: type[T]) -> T:
    if answer.status >= 500 or answer.status in AWAY or (answer.status < 400 and not 200 <= answer.status < 300):
        raise _away(answer)
    if answer.status >= 400:
        raise _refused(answer)
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except msgspec.ValidationError as error:
        raise ServerAway(f"{answer.to} answered {answer.status} in a shape that is not CIMI's: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        start = answer.body[:60].decode(errors="replace")
        raise ServerAway(f"{answer.to} answered {answer.status} and no JSON: {start!r}") from None


def _refused(answer: HttpAnswer) -> CimiError:
    """Return the error of a 4xx. Only a job server's own answer counts as a refusal, but for the size of a request."""
    said = _said(answer)
    if _is_ours(answer):
        message = said.message or f"{answer.to} answered {answer.status}"
        return refusal(answer.status, message, said.reason, said.job, said.id)
    words = f": {said.message}" if said.message else ""
    if answer.status == 413:
        return Invalid(413, f"too large for a proxy on the way: {answer.to} answered 413{words}")
    return ForeignAnswer(
        f"{answer.to} answered {answer.status}, which is not the job server's own answer{words}", status=answer.status
    )


def _is_ours(answer: HttpAnswer) -> bool:
    """Return whether an error has a job server's shape: JSON with the status inside (docs/reference/api.md).

    SlipStream's too.
    """
    try:
        return bool(msgspec.json.decode(answer.body, type=_Said).status == answer.status)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _said(answer: HttpAnswer) -> _Said:
    try:
        said = msgspec.json.decode(answer.body, type=_Said)
    except (msgspec.DecodeError, UnicodeDecodeError):  # a proxy's page
        said = _Said(" ".join(answer.body[:200].decode(errors="replace").split()))
    said.message = said.message[:WORDS]
    return said


def _away(answer: HttpAnswer) -> ServerAway:
    location = answer.headers.get("Location")
    if 300 <= answer.status < 400 and location:
        return ServerAway(
            f"{answer.to} answered {answer.status} and sends us to {location[:WORDS]!r}: no redirect is followed"
        )
    words = _said(answer).message
    message = f"{answer.to} answered {answer.status}" + (f": {words}" if words else "")
    return ServerAway(message, _retry_after(answer), answer.status)


def _retry_after(answer: HttpAnswer) -> float | None:
    """Return the seconds of Retry-After; None if the header is missing or makes no sense."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdecimal() and len(text) < 10:
        return float(text)
    seconds = _moment(text) - _moment(answer.headers.get("Date", ""))
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _moment(text: str) -> float:
    """Return an HTTP date in Unix seconds; NaN for any other text."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return math.nan


def _login(answer: HttpAnswer) -> _Login | None:
    """Return the login in the cookies of an answer, or None.

    The lifetime is the difference of two dates of the server, since the clock of this machine may differ.
    """
    pairs, lives = [], []
    for line in answer.cookies:
        pair, *attributes = (part.strip() for part in line.split(";"))
        pairs.append(pair)
        lives += [_life(a, answer) for a in attributes]
    if not any(pair.partition("=")[2] for pair in pairs):
        return None
    life = min((seconds for seconds in lives if seconds > 0), default=math.inf)
    return _Login("; ".join(pairs), time.monotonic() + life, _said(answer).id)


def _life(attribute: str, answer: HttpAnswer) -> float:
    name, _, value = attribute.partition("=")
    if name.lower() == "max-age" and value.isdecimal():
        return float(value)
    if name.lower() == "expires":
        return _moment(value) - _moment(answer.headers.get("Date", ""))
    return math.nan
