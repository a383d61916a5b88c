"""The searchable part of a document, the same in every store (docs/decisions/0006-what-a-search-sees.md).

- **Single attributes** (`SINGLE`) have at most one value, of a fixed type; the server checks both. A store compares
  texts by their UTF-8 bytes, numbers as numbers, and dates as texts: dates always have the form
  `2019-04-02T08:15:30.123Z`, so the order of the texts is the order of the instants.
- All other attributes become a set of **terms** (`terms`): texts of the form `path=value`, one for each value in the
  document. Lists and objects of any depth are flattened, so a search on a path is a search on a range of terms.
- **Readers** (`readers`) are the principals that may see the document.

The attributes NOT_SEARCHED and attributes whose names begin with an underscore are never searched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from geventjob.job.attributes import ATTRIBUTES, named
from geventjob.job.attributes import Path as Path
from geventjob.job.attributes import Type as Type

_encode = msgspec.json.Encoder().encode


OTHERS: Mapping[Path, Type] = {("username",): Type.TEXT, ("expiry",): Type.DATE}
"""The type of each attribute with at most one value that other documents than jobs have."""
SINGLE: Mapping[Path, Type] = {
    **{path: type_ for attribute in ATTRIBUTES for path, type_ in attribute.singles.items()},
    **OTHERS,
}
"""The type of each attribute that has at most one value, for all kinds of documents; other attributes have terms."""
FRACTIONS = frozenset(attribute.path for attribute in ATTRIBUTES if attribute.fraction)
"""The attributes whose numbers may have a fraction."""

FULLTEXT = ("fulltext",)
"""The attribute whose terms are the words of the attributes PROSE."""
PROSE = named(lambda attribute: attribute.words)
"""Attributes that hold texts, lists of texts, or objects of texts."""
NOT_SEARCHED = frozenset(named(lambda attribute: attribute.search is None))
"""The attributes that can be large, and are not searched."""


def path_of(name: str) -> Path:
    """Return the path of an attribute that is named with `/` between the parts."""
    return tuple(name.split("/"))


def type_of(path: Path) -> Type:
    """Return the type of the values of an attribute."""
    return SINGLE.get(path, Type.TERMS)


SHORT = 255
"""Longest name in a cache, in characters; an acl may have 16 times as many bytes. So caches are bounded in bytes."""


def searched(path: Path) -> bool:
    """Return whether searches see this attribute."""
    return path[0] not in NOT_SEARCHED and not path[0].startswith("_")


def terms(document: Mapping[str, Any]) -> set[str]:
    """Return all terms of a document."""
    return own_terms(document) | acl_terms(document)


def own_terms(document: Mapping[str, Any], prose: Iterable[str] = PROSE) -> set[str]:
    """Return the terms of a document, but for those of its acl. `prose`: the attributes whose words are terms."""
    found: set[str] = set()
    for name, value in document.items():
        if name not in WITHOUT_TERMS and value is not None and name[:1] != "_":
            _gather(escaped(name), value, found)
    for words_of in _texts(document, prose):
        found.update(word_terms(words_of))
    return found


def acl_terms(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the terms of a document's acl."""
    return _of_acl(_encode(document["acl"]))[1] if "acl" in document else frozenset()


def readers(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the owner and the principals of the acl rules of a document, as `USER alice` or `ROLE USER`."""
    return _of_acl(_encode(document["acl"]))[0] if "acl" in document else frozenset()


def term(path: Path, text: str) -> str:
    """Return the term of a path and a text; `term(path, "")` is the common prefix of all terms of the path."""
    return f"{label(path)}={text}"


def label(path: Path) -> str:
    """Return the form of a path in terms."""
    return "/".join(map(escaped, path))


def escaped(name: str) -> str:
    """Return a name with `%`, `/`, `=` and NUL percent-encoded, for a path in a term."""
    return _escaped(name) if len(name) <= SHORT else _escaped.__wrapped__(name)


@lru_cache(4096)
def _escaped(name: str) -> str:
    return _RESERVED.sub(lambda match: f"%{ord(match[0]):02X}", name)


def text(value: Any) -> str:
    """Return the form of a scalar in terms: the JSON text, without quotes for a string."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")  # SQLite's JSON functions end a text at a NUL
    return msgspec.json.encode(value).decode()


def words(prose: str) -> list[str]:
    """Return the words of a text in lower case: runs of letters, digits and underscores."""
    return _WORD.findall(prose.casefold())


def word_terms(prose: str) -> list[str]:
    """Return the terms of the words of a text."""
    return [f"fulltext={word}" for word in words(prose)]


_RESERVED = re.compile("[%/=\0]")
_WORD = re.compile(r"\w+")
_LABELS = frozenset(map(label, SINGLE))
WITHOUT_TERMS = frozenset({"acl", *NOT_SEARCHED, *(path[0] for path in SINGLE if len(path) == 1)})
"""The attributes without terms of their own: those of an acl are apart."""


def _of_acl(acl: bytes) -> tuple[frozenset[str], frozenset[str]]:
    return _access(acl) if len(acl) <= SHORT * 16 else _access.__wrapped__(acl)


@lru_cache(256)
def _access(acl: bytes) -> tuple[frozenset[str], frozenset[str]]:
    """Return the readers and the terms of an acl in JSON; cached, since many documents share one acl."""
    value = msgspec.json.decode(acl)
    principals = [value["owner"], *value.get("rules", ())]
    found: set[str] = set()
    _gather("acl", value, found)
    return frozenset(f"{one['type']} {one['principal']}" for one in principals), frozenset(found)


def _gather(label: str, value: Any, found: set[str]) -> None:
    """Add the terms of a value that is not null, and whose label is none of a single attribute."""
    if isinstance(value, dict):
        for name, part in value.items():
            inner = f"{label}/{escaped(name)}"
            if part is not None and inner not in _LABELS:
                _gather(inner, part, found)
    elif isinstance(value, list):
        for part in value:
            if part is not None:
                _gather(label, part, found)
    else:
        found.add(f"{label}={text(value)}")


def _texts(document: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return the texts of these attributes, in lists and objects too."""
    values: list[Any] = []
    for name in names:
        value = document.get(name)
        if isinstance(value, dict):
            values += value.values()
        elif isinstance(value, list):
            values += value
        elif value is not None:
            values.append(value)
    return [value for value in values if isinstance(value, str)]
