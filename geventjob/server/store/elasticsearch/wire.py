"""Requests to the nodes of a cluster, each of which ends in time.

Of the client library this takes the transport alone: nodes, connections, which of them are dead. Bodies are bytes on
both sides, encoded and decoded once, where they are understood; and plain `application/json` is what every version of
Elasticsearch answers, where the headers of the library's other half bind a client to certain servers.
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
"""Requests under way at once: to each node there are so many connections at most (the library's own default is 10)."""
BUSY = frozenset({429, 502, 503, 504})
"""Answers after which the same request is made again while there is time."""
PAUSE, LONGEST_PAUSE = 0.05, 0.5
"""Seconds before it is, doubling."""
SLACK = 0.25
"""Seconds past its deadline after which a request ends whatever its node does, such as to answer byte by byte."""

JSON = {"accept": "application/json", "content-type": "application/json"}
LINES = {"accept": "application/json", "content-type": "application/x-ndjson"}


Content = TypeVar("Content")


class Reason(msgspec.Struct):
    """Why Elasticsearch has not done something."""

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
    """What came back, whatever the status."""

    status: int
    data: bytes

    @property
    def good(self) -> bool:
        return self.status < 300

    @property
    def reason(self) -> Reason:
        """Why it is not good."""
        try:
            error = msgspec.json.decode(self.data, type=_ErrorBody).error
        except msgspec.DecodeError:
            error = self.data[:100].decode(errors="replace")
        return error if isinstance(error, Reason) else Reason(f"HTTP {self.status}", error)

    def read(self, decoder: Callable[[bytes], Content]) -> Content:
        """Its content. Raises StoreAway if it is not what Elasticsearch would say: something else has answered."""
        try:
            return decoder(self.data)
        except msgspec.DecodeError as error:
            raise StoreAway(f"what answered is no Elasticsearch, or one that fails: {error}") from None


class Wire:
    """A cluster's nodes behind one method, `ask`."""

    def __init__(
        self,
        hosts: Sequence[str],
        *,
        user: str | None = None,
        password: str | None = None,
        api_key: str | None = None,
        ca: str | None = None,
    ) -> None:
        """`hosts` as HOST:PORT or URLs; with `ca`, a PEM file, those without a scheme are https.

        Raises StoreError for what is no host, and for two ways to log in.
        """
        login = _login(user, password, api_key)
        self._name = f"Elasticsearch at {','.join(map(_shown, hosts))}"
        self._nodes = len(hosts)
        self._away = False
        self._transport = Transport(
            [_node(host, login, ca) for host in hosts],
            serializers={"application/json": _Bytes(), "application/x-ndjson": _Bytes(), "text/*": _Bytes()},
            max_retries=0,
            retry_on_status=(),
        )
        logging.getLogger("elastic_transport.node_pool").setLevel(logging.ERROR)  # it tells of each failed request

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
        """The answer of some node. `until` in seconds of boottime().

        A request whose connection breaks is sent to another node, and one that meets a busy cluster is sent again,
        while there is time: it must be one that may be done twice. Raises StoreAway if there is no answer.
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
        try:
            meta, data = self._transport.perform_request(method, path, body=body, headers=headers, request_timeout=left)
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
        return StoreAway(f"{self._name} gave no answer within {seconds:.1f} s")

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
    """Whether writing is forbidden, by an operator or since a disk is almost full: to wait a moment does not help."""
    return "cluster_block" in reason.deepest.type and "read" in (reason.deepest.reason or "")


def refusal(answer: Response) -> StoreError:
    """What it means when a whole request is answered with no."""
    if answer.status in (401, 403):
        return StoreRefused(f"Elasticsearch refuses the log-in, or its rights are not enough ({answer.reason})")
    return StoreRefused(str(answer.reason)) if answer.status < 500 else StoreAway(str(answer.reason))


class _Bytes(Serializer):
    """Leaves bodies as they are."""

    mimetype = "application/json"

    def loads(self, data: bytes) -> bytes:
        return data

    def dumps(self, data: Any) -> bytes:
        assert isinstance(data, bytes)
        return data


def _node(host: str, login: str | None, ca: str | None) -> NodeConfig:
    url = urlsplit(host if "://" in host else f"{'https' if ca else 'http'}://{host}")
    try:
        if url.port is None:
            url = url._replace(netloc=f"{url.netloc}:{PORT}")
        node = url_to_node_config(url.geturl())
    except ValueError:
        raise StoreError(f"{_shown(host)} is no Elasticsearch host: expected HOST:PORT or a URL") from None
    if login and node.headers:
        raise StoreError(f"{_shown(host)} has a log-in in its URL, and another one is given: one is enough")
    own = {"authorization": login} if login else node.headers
    trusted = ca if node.scheme == "https" else None
    return node.replace(headers=own, connections_per_node=CALLS, ca_certs=trusted)


def _login(user: str | None, password: str | None, api_key: str | None) -> str | None:
    """The Authorization header. Raises StoreError."""
    if api_key:
        if user or password:
            raise StoreError("a user and an API key are given for Elasticsearch: one is enough")
        return f"ApiKey {_base64(api_key) if ':' in api_key else api_key}"
    if bool(user) != bool(password):
        raise StoreError("for Elasticsearch a user and a password are needed, or none of them")
    return f"Basic {_base64(f'{user}:{password}')}" if user else None


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _shown(host: str) -> str:
    """Without a log-in."""
    scheme, bars, rest = host.rpartition("://")
    return f"{scheme}{bars}{rest.rpartition('@')[2]}"


def _cause(error: TransportError) -> str:
    said = str(error.errors[0] if error.errors else error.message)[:300]
    return f"no TLS with it ({said})" if isinstance(error, TlsError) else said
