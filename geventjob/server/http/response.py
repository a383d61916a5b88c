"""Answers, all of them JSON but the word of `/healthz`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import falcon
import gevent
import msgspec

from geventjob.server.http.request_body import JSON
from geventjob.server.http.spool import LARGEST, set_body, too_large
from geventjob.server.problem import Problem

BREATH = 64 * 1024
"""Bytes that are encoded in one go, some ms: an answer to others needs several turns of the event loop."""
MARGIN = 1 << 20
"""Bytes of an answer besides its items, and of those that it has no room for."""
STEP = 1024
"""Bytes that an item counts for besides its own."""

_encode = msgspec.json.Encoder().encode


class EncodedItems(list[bytes]):
    """The items of a list, each as JSON."""


def set_json(resp: falcon.Response, value: Any, status: int = 200) -> None:
    """Answer this value. Raises Problem 413 where that is too large."""
    resp.status = status
    resp.content_type = JSON
    set_body(resp, _parts(value))


def _parts(value: Any) -> Sequence[bytes]:
    """The JSON of this value, in parts: to copy 32 MB into one piece holds up everybody."""
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
    """These items encoded, with turns for others between them.

    An item that the answer has no room for is `full()` instead. Raises Problem 413 without `full`.
    """
    encoded, left, since = EncodedItems(), LARGEST - MARGIN, 0
    for item in items:
        data = _encode(item if left >= 0 or full is None else full())
        left -= len(data)
        if left < 0:
            if full is None:
                raise too_large()
            data = _encode(full())
        encoded.append(data)
        since += len(data) + STEP
        if since > BREATH:
            since = 0
            gevent.sleep(0)
    return encoded


def set_result(resp: falcon.Response, id: str, what: str, status: int = 200) -> None:
    """`job/… created`, `job/… deleted`; a new one's place is told in Location, relative as in SlipStream."""
    if status == 201:
        resp.set_header("Location", id)
    set_json(resp, result_of(id, what, status), status)


def result_of(id: str, what: str, status: int) -> dict[str, Any]:
    return {"status": status, "message": f"{id} {what}", "resource-id": id}


def set_problem(resp: falcon.Response, problem: Problem) -> None:
    if problem.retry_after is not None:
        resp.set_header("Retry-After", str(problem.retry_after))
    if problem.close:
        resp.set_header("Connection", "close")
    set_json(resp, problem.body(), problem.status)
