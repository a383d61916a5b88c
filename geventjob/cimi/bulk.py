"""The limits of one bulk request (docs/reference/api.md, "Jobs")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from geventjob.cimi.errors import Invalid

COUNT = 1000
"""Most items of one request."""
SIZE = 3_900_000
"""Most bytes of the items of one request: 4 MB, less room for the bytes around the items."""


ROUND = 512
"""Bytes around the items of a request and of its head, which a proxy may count too."""


def pages(items: Sequence[bytes], limit: int | None = None) -> Iterator[Sequence[bytes]]:
    """Cut items, which are JSON already, into pages that one request may hold.

    `limit`: bytes of a whole body, if fewer.
    """
    most = SIZE if limit is None else min(SIZE, limit - ROUND)
    start = size = 0
    for at, item in enumerate(items):
        if at - start == COUNT or (size + len(item) > most and at > start):
            yield items[start:at]
            start, size = at, 0
        size += len(item) + 1
    if start < len(items):
        yield items[start:]


def oversize(item: bytes) -> Invalid | None:
    """Return the refusal of an item that no request may hold, so that the item fails alone; else None."""
    if len(item) <= SIZE:
        return None
    return Invalid(413, f"{len(item)} bytes: one item of a bulk request may have {SIZE}")
