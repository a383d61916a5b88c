"""Documents as rows: the JSON of a document, and columns for searches."""

from __future__ import annotations

from typing import Any

import msgspec

from geventjob.cimi.document import Document
from geventjob.server.store.attributes import NOT_SEARCHED, Path, label

COLUMNS: tuple[Path, ...] = (
    ("id",),
    ("state",),
    ("action",),
    ("created",),
    ("updated",),
    ("targetResource", "href"),
    ("parentJob",),
    ("held", "until"),
    ("expires",),
    ("held", "why"),
    ("held", "on"),
    ("held", "place"),
    ("admitted",),
    ("priority",),
    ("executor",),
)
"""The single attributes with a column of their own; searches read the other single attributes from the JSON."""

PARTS = ("document", "payload", "reports")
"""The columns of which a document is made."""
NAMES = (*map(label, COLUMNS), "access", "terms", *PARTS)
"""The columns of a row, but for the row number and the unique key."""

Values = tuple["str | int | None", ...]

_EMPTY: Document = {}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def values(document: Document, access: str, terms: str) -> Values:
    """Return the values of the columns NAMES, of which the last before PARTS are given.

    The attributes that are not searched have columns of their own, so that searches do not read them: `payload` has the
    input of a job, `reports` all others.
    """
    payload = reports = None
    rest = document
    if not NOT_SEARCHED.isdisjoint(document):
        rest = document.copy()
        large = {name: rest.pop(name) for name in NOT_SEARCHED & document.keys()}
        payload = _encode(large.pop("payload")).decode() if "payload" in large else None
        reports = _encode(large).decode() if large else None
    get = document.get
    held = get("held", _EMPTY)
    return (
        document["id"],
        get("state"),
        get("action"),
        get("created"),
        get("updated"),
        get("targetResource", _EMPTY).get("href"),
        get("parentJob"),
        held.get("until"),
        get("expires"),
        held.get("why"),
        held.get("on"),
        held.get("place"),
        get("admitted"),
        get("priority"),
        get("executor"),
        access,
        terms,
        _encode(rest).decode(),
        payload,
        reports,
    )


def document(json: str, payload: str | None, reports: str | None) -> Document:
    """Return the document of the columns PARTS."""
    found: Document = _decode(json)
    if payload is not None:
        found["payload"] = msgspec.json.decode(payload)
    if reports is not None:
        found.update(_decode(reports))
    return found
