"""A document as it stands in its index: whole, and beside it what searches look at (mapping.py has the fields)."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Any, Union

import msgspec

from geventjob.cimi.document import Document
from geventjob.server.store import attributes
from geventjob.server.store.attributes import SINGLE, Path, Type, readers, terms

LONGEST_VALUE, LONGEST_LABEL = 32_000, 600
"""Bytes; together they stay under the 32,766 that a term of Lucene can have."""

decode = msgspec.json.Decoder(dict[str, Any]).decode
encode = msgspec.json.Encoder().encode


class Version(msgspec.Struct, frozen=True):
    """One state of what has an id: a write that names it fails if there has been another."""

    seq: int
    term: int


class KeyClaim(msgspec.Struct, frozen=True):
    """The document by which this one has its unique key."""

    place: str
    version: Version


class IndexedSource(msgspec.Struct):
    """What is read back of an entry of an index."""

    document: msgspec.Raw = msgspec.Raw(b"null")
    key: Union[KeyClaim, None] = None
    born: str = ""
    """The mark of the insert."""
    mark: str = ""
    """That of the last write."""
    dead: Union[str, None] = None
    """Set if this is no document: no document of this id may be made."""
    id: str = ""


def tombstone(since: str) -> bytes:
    """What stands in the place of a document that may not be made."""
    return encode({"dead": since})


def key_entry(id: str, key: str) -> bytes:
    """What stands in the place of a unique key: the document that has it, or is about to."""
    return encode({"id": id, "unique": key})


def source(document: Document, raw: bytes, key: KeyClaim | None, born: str, mark: str) -> bytes:
    """What is sent of a document, whose JSON is `raw`."""
    singles, others = _singles(document), _others(document)
    found = {
        "document": msgspec.Raw(raw),
        "key": key,
        "born": born,
        "mark": mark,
        **singles,
        "values": {known(label): values for label, values in others.items()},
        "paths": _paths(frozenset([*singles, *others])),
        "readers": list(map(cut, readers(document))),
    }
    return encode(found)


def cut(text: str) -> str:
    """A value as it is indexed: one that is too long for that is cut, and told apart from others by a hash."""
    if len(text) * 4 <= LONGEST_VALUE or len(data := text.encode()) <= LONGEST_VALUE:
        return text
    return data[: LONGEST_VALUE - 40].decode(errors="ignore") + blake2b(data, digest_size=20).hexdigest()


def known(label: str) -> str:
    """A label as it is indexed."""
    return _known(label) if len(label) <= 4 * attributes.SHORT else _known.__wrapped__(label)


@lru_cache(4096)
def _known(label: str) -> str:
    data = label.encode()
    return label if len(data) <= LONGEST_LABEL else f"#{blake2b(data, digest_size=20).hexdigest()}"


def field(path: Path) -> str:
    """The field that has the values of an attribute."""
    own = attributes.label(path)
    return own if path in SINGLE else f"values.{known(own)}"


def _singles(document: Document) -> dict[str, Any]:
    """The values of the single attributes, by label."""
    found = {name: value for name, value in document.items() if name in _TOP and value is not None}
    for path in _INNER:
        inner = document.get(path[0])
        if isinstance(inner, dict) and inner.get(path[1]) is not None:
            found[attributes.label(path)] = inner[path[1]]
    return {name: cut(attributes.text(value)) if name in _TEXTS else value for name, value in found.items()}


def _others(document: Document) -> dict[str, list[str]]:
    """The values of the other attributes, by label."""
    values: dict[str, list[str]] = {}
    for term in terms(document):
        label, _, value = term.partition("=")
        values.setdefault(label, []).append(cut(value))
    return values


def _paths(labels: frozenset[str]) -> list[str]:
    """All attributes that have a value, themselves or below."""
    return _few_paths(labels) if sum(map(len, labels)) <= 8 * attributes.SHORT else _few_paths.__wrapped__(labels)


@lru_cache(1024)
def _few_paths(labels: frozenset[str]) -> list[str]:
    """All attributes that have a value, themselves or below; the labels that documents have are few sets."""
    parts = [label.split("/") for label in labels]
    return sorted({known("/".join(names[:depth])) for names in parts for depth in range(1, len(names) + 1)})


_TOP = {path[0] for path in SINGLE if len(path) == 1}
_INNER = [path for path in SINGLE if len(path) > 1]
_TEXTS = {attributes.label(path) for path, type_ in SINGLE.items() if type_ is Type.TEXT}
