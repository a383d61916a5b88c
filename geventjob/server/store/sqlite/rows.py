"""A document as a row: its JSON, and beside it what searches look at."""

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
"""The single attributes with a column of their own; the others are read out of the JSON."""

NAMES = (*map(label, COLUMNS), "readers", "terms", "document", "payload")
"""The columns that a document becomes."""

Values = tuple["str | None", ...]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def values(document: Document) -> Values:
    """What stands in the columns NAMES. The payload is apart, so that a search does not read through it."""
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
    """The document of these two columns."""
    found: Document = _decode(json)
    if payload is not None:
        found[NOT_SEARCHED] = msgspec.json.decode(payload)
    return found


def reader_text(reader: str) -> str:
    """A reader as it stands among the others in their column, where no part of it can be taken for another."""
    escaped = reader.replace("\\", "\\\\").replace("\n", "\\n")
    return f"\n{escaped}\n"
