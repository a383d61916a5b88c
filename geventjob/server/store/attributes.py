"""What a search sees of a document: the same in every store.

- **Single attributes** (`SINGLE`) hold one value of their type at most; the server sees to that. A store compares a
  text by its UTF-8 bytes, a date as the text that it is (always `2019-04-02T08:15:30.123Z`, so that texts compare as
  instants), a number as a number.
- Everything else is a set of **terms**, texts `path=value`, one for each value in the document (`terms`). Lists and
  objects of any depth are flattened into them, so a search on a path is one on a range of terms.
- Who may see a document is a set of **readers** (`readers`).

What is left out, `payload` and what begins with an underscore, is never searched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

import msgspec

Path = tuple[str, ...]
_encode = msgspec.json.Encoder().encode


class Type(Enum):
    """Of the values of an attribute."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    BOOLEAN = "boolean"
    TERMS = "terms"


_NAMES = {
    Type.TEXT: "id resourceURI name description state action executor statusMessage idempotencyKey parentJob "
    "targetResource/href username",
    Type.NUMBER: "priority progress returnCode duration fence attempts interruptions timeout",
    Type.DATE: "created updated timeOfStatusChange started expiry",
    Type.BOOLEAN: "interrupted",
}
SINGLE: Mapping[Path, Type] = {
    tuple(name.split("/")): type_ for type_, names in _NAMES.items() for name in names.split()
}
"""The attributes of all kinds of documents that hold one value at most, with its type; any other has terms."""

FULLTEXT = ("fulltext",)
"""The attribute whose terms are the words of name, description, statusMessage, tags and the values of properties."""
NOT_SEARCHED = "payload"
"""The attribute with the input of a job, which can be large."""


def path_of(name: str) -> Path:
    """Return the path of an attribute that is named with `/` between the parts."""
    return tuple(name.split("/"))


def type_of(path: Path) -> Type:
    """How the values of this attribute compare."""
    return SINGLE.get(path, Type.TERMS)


SHORT = 255
"""Characters of names, and 16 times as many bytes of acls, that are worth remembering: caches are bounded in bytes."""


def searched(path: Path) -> bool:
    """Whether any search can see this attribute."""
    return path[0] != NOT_SEARCHED and not path[0].startswith("_")


def terms(document: Mapping[str, Any]) -> set[str]:
    """All terms of a document."""
    found: set[str] = set()
    for name, value in document.items():
        if name == "acl":
            found |= _of_acl(_encode(value))[1]
        elif name not in _LABELS and searched((name,)):
            _gather(escaped(name), value, found)
    for prose in _prose(document):
        found.update([f"fulltext={word}" for word in words(prose)])
    return found


def readers(document: Mapping[str, Any]) -> frozenset[str]:
    """Who sees the document, as `USER alice` or `ROLE USER`: the owner and whom a rule of its acl names."""
    return _of_acl(_encode(document["acl"]))[0] if "acl" in document else frozenset()


def term(path: Path, text: str) -> str:
    """The term of this text; `term(path, '')` is the beginning of all of that path's."""
    return f"{label(path)}={text}"


def label(path: Path) -> str:
    """A path as it stands in terms."""
    return "/".join(map(escaped, path))


def escaped(name: str) -> str:
    """A name as it stands in a path: without `/` and `=`."""
    return _escaped(name) if len(name) <= SHORT else _escaped.__wrapped__(name)


@lru_cache(4096)
def _escaped(name: str) -> str:
    return _RESERVED.sub(lambda match: f"%{ord(match[0]):02X}", name)


def text(value: Any) -> str:
    """A scalar as a term has it: as JSON writes it, a string without its quotes."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")  # SQLite's JSON ends a text at a NUL
    return msgspec.json.encode(value).decode()


def words(prose: str) -> list[str]:
    """The words of a text: letters, digits and underscores in a row, whatever their case."""
    return _WORD.findall(prose.casefold())


_RESERVED = re.compile("[%/=\0]")
_WORD = re.compile(r"\w+")
_LABELS = frozenset(map(label, SINGLE))


def _of_acl(acl: bytes) -> tuple[frozenset[str], frozenset[str]]:
    return _access(acl) if len(acl) <= SHORT * 16 else _access.__wrapped__(acl)


@lru_cache(256)
def _access(acl: bytes) -> tuple[frozenset[str], frozenset[str]]:
    """The readers and the terms of an acl: most documents share theirs with many."""
    value = msgspec.json.decode(acl)
    principals = [value["owner"], *value.get("rules", ())]
    found: set[str] = set()
    _gather("acl", value, found)
    return frozenset(f"{one['type']} {one['principal']}" for one in principals), frozenset(found)


def _gather(label: str, value: Any, found: set[str]) -> None:
    if label in _LABELS or value is None:
        return
    if isinstance(value, dict):
        for name, part in value.items():
            _gather(f"{label}/{escaped(name)}", part, found)
    elif isinstance(value, list):
        for part in value:
            _gather(label, part, found)
    else:
        found.add(f"{label}={text(value)}")


def _prose(document: Mapping[str, Any]) -> list[str]:
    values = [document.get(name) for name in ("name", "description", "statusMessage")]
    values += document.get("properties", {}).values()
    values += document.get("tags", ())
    return [value for value in values if isinstance(value, str)]
