"""`executor.es`: Elasticsearch as actions of SlipStream's engine know it, through the client of today.

That client talks to servers of its own version and of the next. The servers of SlipStream are of version 6: they accept
plain JSON only, and do not name their product in each answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from elastic_transport import HttpHeaders, Urllib3HttpNode
from elastic_transport.client_utils import DEFAULT, DefaultType
from elasticsearch import Elasticsearch

PORT = 9200
PATIENCE = 300.0
"""Seconds that a request may take: a delete by query may take minutes."""
VERSIONED = re.compile(r"application/vnd\.elasticsearch\+([a-z-]+); *compatible-with=[0-9]+")


def connect(hosts: Sequence[str], connections: int) -> OldClient:
    """Return a client for these nodes (`HOST`, `HOST:PORT` or a URL) with so many connections to each. No I/O yet."""
    urls = [_url(host) for host in hosts]
    return OldClient(
        Elasticsearch(urls, connections_per_node=connections, request_timeout=PATIENCE, node_class=PlainNode)
    )


class OldClient:
    """The methods of a client, or of a part of it, with the arguments of version 6.

    `doc_type`, which has no meaning any more, is left out. Answers are plain dicts.
    """

    def __init__(self, current: Any) -> None:
        self._current = current

    def __getattr__(self, name: str) -> OldClient:
        return OldClient(getattr(self._current, name))

    def __call__(self, *args: Any, doc_type: str | None = None, **kwargs: Any) -> Any:
        answer = self._current(*args, **kwargs)
        return getattr(answer, "body", answer)


class Missing:
    """A stand-in for the client where no hosts were given: actions fetch the client and may never use it."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("executor.es is missing: the executor was started without --es-hosts-list")


class PlainNode(Urllib3HttpNode):
    """A node that sends plain JSON to a server of any version, and does not ask for the name of its product."""

    def perform_request(  # type: ignore[no-untyped-def]  # (the type of the answer has no public name)
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ):
        plain = HttpHeaders({name: VERSIONED.sub(r"application/\1", value) for name, value in (headers or {}).items()})
        answer = super().perform_request(method, target, body, plain, request_timeout)
        named = HttpHeaders({**answer.meta.headers, "x-elastic-product": "Elasticsearch"})
        return answer._replace(meta=replace(answer.meta, headers=named))


def _url(host: str) -> str:
    """Return the URL of a node as the client requires it, with a port."""
    url = host if "://" in host else f"http://{host}"
    authority = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    if re.search(r":[0-9]+$", authority):
        return url
    head, _, path = url.partition("://")[2].partition("/")
    scheme = url.partition("://")[0]
    return f"{scheme}://{head}:{PORT}/{path}".rstrip("/")
