"""What all documents have in common: ids, the attributes that every resource carries, and what of them is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from geventjob.cimi.document import Document
from geventjob.clock import cimi_time, now

URI = "http://sixsq.com/slipstream/1/"
"""Prefix of every `resourceURI`, except the entry point's (CIMI.md §1)."""
STOP = "http://schemas.dmtf.org/cimi/2/action/stop"


def new_document(id: str, resource: str, acl: Mapping[str, Any]) -> Document:
    """The attributes that a new document of this resource (`Session`, `User`) begins with."""
    moment = cimi_time(now())
    return {"id": id, "resourceURI": URI + resource, "created": moment, "updated": moment, "acl": acl}


def public(document: Mapping[str, Any]) -> Document:
    """The document without what the server keeps for itself."""
    return {name: value for name, value in document.items() if name[0] != "_"}


def operation(rel: str, href: str) -> dict[str, str]:
    return {"rel": rel, "href": href}


def select_attributes(document: Document, select: Iterable[str] | None) -> Document:
    """The document with the attributes of these paths (`/` between names) only; `id`, `acl`, `resourceURI` always.

    SlipStream leaves `id` out, and then gives operations without a usable href: a fault that we mend.
    """
    if select is None:
        return document
    part: Document = {name: document[name] for name in ("id", "acl", "resourceURI") if name in document}
    for path in select:
        _copy(document, part, path.split("/"))
    return part


def _copy(source: Any, target: Document, path: list[str]) -> None:
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
