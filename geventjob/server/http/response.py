"""Responses: JSON for all resources but `/healthz`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import falcon
import gevent
import msgspec

from geventjob.server.http.request_body import JSON
from geventjob.server.http.spool import MAX_RESPONSE, set_body, too_large
from geventjob.server.problem import Problem

BYTES_PER_TURN = 64 * 1024
"""Bytes that are encoded between two turns of the event loop, some ms."""
MARGIN = 1 << 20
"""Bytes that are kept for the rest of a response, and for the stand-ins of items that do not fit."""
ITEM_OVERHEAD = 1024
"""Bytes that each item counts in addition to its size."""

_encode = msgspec.json.Encoder().encode


class EncodedItems(list[bytes]):
    """The items of a list, each encoded as JSON."""


def set_json(resp: falcon.Response, value: Any, status: int = 200) -> None:
    """Set the response to this value. Raises Problem 413 if the response is too large, 503 (`spool.set_body`)."""
    resp.status = status
    resp.content_type = JSON
    set_body(resp, _parts(value))


def _parts(value: Any) -> Sequence[bytes]:
    """Return the JSON of this value in parts: joining 32 MB would hold the event loop."""
    lists = (
        {name: part for name, part in value.items() if isinstance(part, EncodedItems)}
        if isinstance(value, dict)
        else {}
    )
    if not lists:
        return [_encode(value)]
    head = _encode({name: part for name, part in value.items() if name not in lists})[:-1]
    parts = [head]
    for name, items in lists.items():
        parts += [b"," if parts != [b"{"] else b"", _encode(name), b":["]
        for place, item in enumerate(items):
            parts += [b",", item] if place else [item]
        parts.append(b"]")
    return [*parts, b"}"]


def encode_items(items: Iterable[Any], full: Callable[[], Any] | None = None) -> EncodedItems:
    """Encode the items, with turns of the event loop in between.

    `full` replaces each item that does not fit into the response. Without `full`, raises Problem 413.
    """
    encoded, left, since = EncodedItems(), MAX_RESPONSE - MARGIN, 0
    for item in items:
        data = _encode(item if left >= 0 or full is None else full())
        left -= len(data)
        if left < 0:
            if full is None:
                raise too_large()
            data = _encode(full())
        encoded.append(data)
        since += len(data) + ITEM_OVERHEAD
        if since > BYTES_PER_TURN:
            since = 0
            gevent.sleep(0)
    return encoded


def set_result(resp: falcon.Response, id: str, what: str, status: int = 200) -> None:
    """Set the response to a result: `job/… created`, `job/… deleted`.

    The Location of a new resource is relative, as in SlipStream.
    """
    if status == 201:
        resp.set_header("Location", id)
    set_json(resp, result_of(id, what, status), status)


def result_of(id: str, what: str, status: int) -> dict[str, Any]:
    """Return the body of a result; an item of a bulk request has the same."""
    return {"status": status, "message": f"{id} {what}", "resource-id": id}


def set_problem(resp: falcon.Response, problem: Problem) -> None:
    """Set the response to a problem."""
    if problem.retry_after is not None:
        resp.set_header("Retry-After", str(problem.retry_after))
    if problem.close:
        resp.set_header("Connection", "close")
    set_json(resp, problem.body(), problem.status)
