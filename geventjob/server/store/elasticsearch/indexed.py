"""Documents in their indexes: the whole document, and the fields for searches (mapping.py)."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Any, Union

import msgspec

from geventjob.cimi.document import Document
from geventjob.server.store import attributes
from geventjob.server.store.attributes import SINGLE, Path, Type, readers, terms

LONGEST_VALUE, LONGEST_LABEL = 32_000, 600
"""Longest indexed value and label, in bytes; together less than the 32,766 bytes of a term in Lucene."""

decode = msgspec.json.Decoder(dict[str, Any]).decode
encode = msgspec.json.Encoder().encode


class Version(msgspec.Struct, frozen=True):
    """The version of a stored document; a write that names a version fails if another write came in between."""

    seq: int
    term: int


class KeyClaim(msgspec.Struct, frozen=True):
    """A claim of a unique key: the id and the version of a document in the index of keys."""

    place: str
    version: Version


class IndexedSource(msgspec.Struct):
    """The fields of an indexed document that the server reads back."""

    document: msgspec.Raw = msgspec.Raw(b"null")
    key: Union[KeyClaim, None] = None
    born: str = ""
    """The mark of the insert: random, and unique for each write."""
    mark: str = ""
    """The mark of the last write."""
    dead: Union[str, None] = None
    """Set in a tombstone: no document with this id can be inserted."""
    id: str = ""


def tombstone(since: str) -> bytes:
    """Return the source of a tombstone, which keeps a document from being inserted."""
    return encode({"dead": since})


def key_entry(id: str, key: str) -> bytes:
    """Return the source of the claim of a unique key by a document, which may not be inserted yet."""
    return encode({"id": id, "unique": key})


def source(document: Document, kept: IndexedSource) -> bytes:
    """Return the source of a document: the fields for searches, and `kept`."""
    singles, others = _singles(document), _others(document)
    found = {
        "document": kept.document,
        "key": kept.key,
        "born": kept.born,
        "mark": kept.mark,
        **singles,
        "values": {known(label): values for label, values in others.items()},
        "paths": _paths(frozenset([*singles, *others])),
        "readers": list(map(cut, readers(document))),
    }
    return encode(found)


def cut(text: str) -> str:
    """Return the indexed form of a value: a value that is too long is cut, and a hash of the whole value appended."""
    if len(text) * 4 <= LONGEST_VALUE or len(data := text.encode()) <= LONGEST_VALUE:
        return text
    return data[: LONGEST_VALUE - 40].decode(errors="ignore") + blake2b(data, digest_size=20).hexdigest()


def known(label: str) -> str:
    """Return the indexed form of a label: a hash if the label is too long."""
    return _known(label) if len(label) <= 4 * attributes.SHORT else _known.__wrapped__(label)


@lru_cache(4096)
def _known(label: str) -> str:
    data = label.encode()
    return label if len(data) <= LONGEST_LABEL else f"#{blake2b(data, digest_size=20).hexdigest()}"


def field(path: Path) -> str:
    """Return the field with the values of an attribute."""
    own = attributes.label(path)
    return own if path in SINGLE else f"values.{known(own)}"


def _singles(document: Document) -> dict[str, Any]:
    """Return the values of the single attributes, by label."""
    found = {name: value for name, value in document.items() if name in _TOP and value is not None}
    for path in _INNER:
        inner = document.get(path[0])
        if isinstance(inner, dict) and inner.get(path[1]) is not None:
            found[attributes.label(path)] = inner[path[1]]
    return {name: cut(attributes.text(value)) if name in _TEXTS else value for name, value in found.items()}


def _others(document: Document) -> dict[str, list[str]]:
    """Return the values of all other attributes, by label."""
    values: dict[str, list[str]] = {}
    for term in terms(document):
        label, _, value = term.partition("=")
        values.setdefault(label, []).append(cut(value))
    return values


def _paths(labels: frozenset[str]) -> list[str]:
    """Return the labels of all paths that lead to a value."""
    return _few_paths(labels) if sum(map(len, labels)) <= 8 * attributes.SHORT else _few_paths.__wrapped__(labels)


@lru_cache(1024)
def _few_paths(labels: frozenset[str]) -> list[str]:
    """Return the labels of all paths that lead to a value; cached, since most documents share few sets of labels."""
    parts = [label.split("/") for label in labels]
    return sorted({known("/".join(names[:depth])) for names in parts for depth in range(1, len(names) + 1)})


_TOP = {path[0] for path in SINGLE if len(path) == 1}
_INNER = [path for path in SINGLE if len(path) > 1]
_TEXTS = {attributes.label(path) for path, type_ in SINGLE.items() if type_ is Type.TEXT}
