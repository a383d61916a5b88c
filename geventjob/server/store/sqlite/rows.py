"""Documents as rows: the JSON of a document, and columns for searches."""

from __future__ import annotations

from typing import Any

import msgspec

from geventjob.cimi.document import Document
from geventjob.server.store.attributes import NOT_SEARCHED, Path, label, readers, terms

COLUMNS: tuple[Path, ...] = (
    ("id",),
    ("state",),
    ("action",),
    ("created",),
    ("updated",),
    ("targetResource", "href"),
    ("parentJob",),
)
"""The single attributes with a column of their own; searches read the other single attributes from the JSON."""

NAMES = (*map(label, COLUMNS), "readers", "terms", "document", "payload")
"""The columns of a row, but for the row number and the unique key."""

Values = tuple["str | None", ...]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def values(document: Document) -> Values:
    """Return the values of the columns NAMES. The payload has its own column, so that searches do not read payloads."""
    payload = None
    rest = document
    if NOT_SEARCHED in document:
        rest = document.copy()
        payload = _encode(rest.pop(NOT_SEARCHED)).decode()
    get = document.get
    return (
        document["id"],
        get("state"),
        get("action"),
        get("created"),
        get("updated"),
        get("targetResource", {}).get("href"),
        get("parentJob"),
        "".join(map(reader_text, readers(document))),
        _encode(list(terms(document))).decode(),
        _encode(rest).decode(),
        payload,
    )


def document(json: str, payload: str | None) -> Document:
    """Return the document of the columns `document` and `payload`."""
    found: Document = _decode(json)
    if payload is not None:
        found[NOT_SEARCHED] = msgspec.json.decode(payload)
    return found


def reader_text(reader: str) -> str:
    """Return the form of a reader in the column `readers`, delimited so that no reader matches a part of another."""
    escaped = reader.replace("\\", "\\\\").replace("\n", "\\n")
    return f"\n{escaped}\n"
