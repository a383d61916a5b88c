"""Requests to the nodes of a cluster, each with a deadline.

Only the transport of the client library is used: nodes, connections, and the detection of dead nodes. Bodies pass as
bytes, encoded and decoded once by the callers. The content type is plain `application/json`, which every version of
Elasticsearch accepts; the API half of the library sends headers that bind a client to certain versions of the server.
"""

from __future__ import annotations

import base64
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, Union
from urllib.parse import urlsplit

import gevent
import msgspec
from elastic_transport import ConnectionTimeout, NodeConfig, Serializer, TlsError, Transport, TransportError
from elastic_transport.client_utils import url_to_node_config

from geventjob.clock import boottime
from geventjob.server.store.base import StoreAway, StoreError, StoreRefused

log = logging.getLogger(__name__)

PORT = 9200
CALLS = 24
"""Most connections to each node, and so requests in progress (the default of the library is 10)."""
BUSY = frozenset({429, 502, 503, 504})
"""Statuses after which a request is sent again, until the deadline."""
PAUSE, LONGEST_PAUSE = 0.05, 0.5
"""First and longest pause before a request is sent again, in seconds; pauses double."""
SLACK = 0.25
"""Seconds after the deadline at which a request is cut off: a node may answer byte by byte, which resets time-outs."""

JSON = {"accept": "application/json", "content-type": "application/json"}
LINES = {"accept": "application/json", "content-type": "application/x-ndjson"}


Content = TypeVar("Content")


class Reason(msgspec.Struct):
    """The reason of an error of Elasticsearch."""

    type: str = ""
    reason: Union[str, None] = None
    root_cause: list[Reason] = []

    @property
    def deepest(self) -> Reason:
        return self.root_cause[0] if self.root_cause else self

    def __str__(self) -> str:
        return f"{self.deepest.type}: {(self.deepest.reason or '')[:300]}"


class _ErrorBody(msgspec.Struct):
    error: Union[Reason, str] = ""


class Response(NamedTuple):
    """The answer to a request, of any status."""

    status: int
    data: bytes

    @property
    def good(self) -> bool:
        return self.status < 300

    @property
    def reason(self) -> Reason:
        """The reason in the body of an error."""
        try:
            error = msgspec.json.decode(self.data, type=_ErrorBody).error
        except msgspec.DecodeError:
            error = self.data[:100].decode(errors="replace")
        return error if isinstance(error, Reason) else Reason(f"HTTP {self.status}", error)

    def read(self, decoder: Callable[[bytes], Content]) -> Content:
        """Decode the body. Raises StoreAway for a body that Elasticsearch would not send."""
        try:
            return decoder(self.data)
        except msgspec.DecodeError as error:
            raise StoreAway(f"the server that answered is not Elasticsearch, or fails: {error}") from None


class Wire:
    """The nodes of a cluster, behind one method, `ask`."""

    def __init__(
        self,
        hosts: Sequence[str],
        *,
        user: str | None = None,
        password: str | None = None,
        api_key: str | None = None,
        ca: str | None = None,
    ) -> None:
        """Set up the nodes and credentials.

        `hosts`: HOST:PORT or URLs. `ca`: a PEM file of authorities; with `ca`, hosts without a scheme are https. Raises
        StoreError for a malformed host and for contradictory credentials.
        """
        self._login: Mapping[str, str] = {}
        self.log_in(user, password, api_key)
        self._name = f"Elasticsearch at {','.join(map(_shown, hosts))}"
        self._nodes = len(hosts)
        self._away = False
        self._transport = Transport(
            [_node(host, bool(self._login), ca) for host in hosts],
            serializers={"application/json": _Bytes(), "application/x-ndjson": _Bytes(), "text/*": _Bytes()},
            max_retries=0,
            retry_on_status=(),
        )
        logging.getLogger("elastic_transport.node_pool").setLevel(logging.ERROR)  # logs each failed request

    def log_in(self, user: str | None = None, password: str | None = None, api_key: str | None = None) -> None:
        """Use these credentials from the next request on. Raises StoreError for contradictory credentials."""
        login = _login(user, password, api_key)
        self._login = {"authorization": login} if login else {}

    def close(self) -> None:
        self._transport.close()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        until: float,
        headers: Mapping[str, str] = JSON,
    ) -> Response:
        """Send a request to a node, and return the answer. `until`: deadline in seconds of boottime().

        After a broken connection the request is sent to another node, and after an answer of `BUSY` again, until the
        deadline; so the request must be idempotent. Raises StoreAway if no node answers.
        """
        broken, pause = 0, PAUSE
        while True:
            try:
                answer = self._once(method, path, body, until, headers)
            except StoreAway as error:
                broken += 1
                if broken > self._nodes or boottime() > until:
                    raise self._gone(error) from None
                continue
            if answer.status not in BUSY or blocked(answer.reason):
                self._back()
                return answer
            if boottime() + pause > until:
                raise self._gone(StoreAway(f"{self._name}: {answer.status}, {answer.reason}"))
            gevent.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
            pause = min(2 * pause, LONGEST_PAUSE)

    def _once(self, method: str, path: str, body: bytes | None, until: float, headers: Mapping[str, str]) -> Response:
        left = max(until - boottime(), 0.001)
        limit = gevent.Timeout.start_new(left + SLACK)
        sent = {**headers, **self._login}
        try:
            meta, data = self._transport.perform_request(method, path, body=body, headers=sent, request_timeout=left)
        except gevent.Timeout as timeout:
            if timeout is not limit:
                raise
            raise self._late(left) from None
        except ConnectionTimeout:
            raise self._late(left) from None
        except TransportError as error:
            raise StoreAway(f"{self._name}: {_cause(error)}") from None
        finally:
            limit.close()
        return Response(meta.status, data or b"")

    def _late(self, seconds: float) -> StoreAway:
        return StoreAway(f"{self._name} did not answer within {seconds:.1f} s")

    def _gone(self, error: StoreAway) -> StoreAway:
        if not self._away:
            log.warning("%s", error)
        self._away = True
        return error

    def _back(self) -> None:
        if self._away:
            log.info("%s answers again", self._name)
        self._away = False


def blocked(reason: Reason) -> bool:
    """Return whether an operator, or an almost full disk, has blocked writes: a repeated request does not help then."""
    return "cluster_block" in reason.deepest.type and "read" in (reason.deepest.reason or "")


def refusal(answer: Response) -> StoreError:
    """Return the store error for a request that failed as a whole."""
    if answer.status in (401, 403):
        return StoreRefused(
            f"Elasticsearch refuses the credentials, or their privileges do not suffice ({answer.reason})"
        )
    return StoreRefused(str(answer.reason)) if answer.status < 500 else StoreAway(str(answer.reason))


class _Bytes(Serializer):
    """Serializer that passes bodies through as bytes."""

    mimetype = "application/json"

    def loads(self, data: bytes) -> bytes:
        return data

    def dumps(self, data: Any) -> bytes:
        assert isinstance(data, bytes)
        return data


def _node(host: str, has_login: bool, ca: str | None) -> NodeConfig:
    url = urlsplit(host if "://" in host else f"{'https' if ca else 'http'}://{host}")
    try:
        if url.port is None:
            url = url._replace(netloc=f"{url.netloc}:{PORT}")
        node = url_to_node_config(url.geturl())
    except ValueError:
        raise StoreError(f"{_shown(host)} is not an Elasticsearch host: expected HOST:PORT or a URL") from None
    if has_login and node.headers:
        raise StoreError(
            f"{_shown(host)} has credentials in its URL, and other credentials are given: give one of them"
        )
    trusted = ca if node.scheme == "https" else None
    return node.replace(connections_per_node=CALLS, ca_certs=trusted)


def _login(user: str | None, password: str | None, api_key: str | None) -> str | None:
    """Return the Authorization header, if any. Raises StoreError for contradictory credentials."""
    if api_key:
        if user or password:
            raise StoreError("both a user and an API key are given for Elasticsearch: give one of them")
        return f"ApiKey {_base64(api_key) if ':' in api_key else api_key}"
    if bool(user) != bool(password):
        raise StoreError("Elasticsearch needs both a user and a password, or neither")
    return f"Basic {_base64(f'{user}:{password}')}" if user else None


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _shown(host: str) -> str:
    """Return the host without credentials."""
    scheme, bars, rest = host.rpartition("://")
    return f"{scheme}{bars}{rest.rpartition('@')[2]}"


def _cause(error: TransportError) -> str:
    said = str(error.errors[0] if error.errors else error.message)[:300]
    return f"TLS failed ({said})" if isinstance(error, TlsError) else said
