"""Attributes that all documents share, and the parts of a document that a client sees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from geventjob.cimi.document import RESOURCE_URI, Document
from geventjob.clock import cimi_time, now


def new_document(id: str, resource: str, acl: Mapping[str, Any]) -> Document:
    """Return the first attributes of a new document of this resource (`Session`, `User`)."""
    time = cimi_time(now())
    return {"id": id, "resourceURI": RESOURCE_URI + resource, "created": time, "updated": time, "acl": acl}


def public(document: Mapping[str, Any]) -> Document:
    """Return the document without the server's private attributes, whose names begin with `_`."""
    return {name: value for name, value in document.items() if name[0] != "_"}


def operation(rel: str, href: str) -> dict[str, str]:
    """Return one entry of a document's `operations`."""
    return {"rel": rel, "href": href}


def select_attributes(document: Document, select: Iterable[str] | None) -> Document:
    """Return the document with the attributes of these paths only; always with `id`, `acl` and `resourceURI`.

    A path has `/` between its names; None selects all attributes. SlipStream leaves `id` out, and its operations then
    lack a usable href (docs/reference/slipstream-quirks.md).
    """
    if select is None:
        return document
    part: Document = {name: document[name] for name in ("id", "acl", "resourceURI") if name in document}
    for path in select:
        _copy(document, part, path.split("/"))
    return part


def _copy(source: Any, target: Document, path: list[str]) -> None:
    """Copy the value at the path, in each item where the path leads through a list."""
    name, rest = path[0], path[1:]
    if not isinstance(source, dict) or name not in source:
        return
    value = source[name]
    if not rest:
        target[name] = value
    elif isinstance(value, list):
        parts = target.setdefault(name, [{} for _ in value])
        for item, part in zip(value, parts, strict=True):
            _copy(item, part, rest)
    else:
        _copy(value, target.setdefault(name, {}), rest)
