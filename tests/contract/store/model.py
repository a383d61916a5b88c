"""A model of searches in plain Python, on the documents themselves: no terms, no SQL, no resolving."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from geventjob.cimi.document import Document
from geventjob.server.filter import And, Date, Filter, Or, Property
from geventjob.server.store.base import Query

NUMBERS = ["priority", "progress", "returnCode", "duration", "fence", "attempts", "interruptions", "timeout"]
DATES = ["created", "updated", "timeOfStatusChange", "started"]
BOOLEANS = ["interrupted"]
PROSE = ["name", "description", "statusMessage"]

PERIODS = {
    "2019-04-02": ("2019-04-02T00:00:00.000Z", "2019-04-02T23:59:59.999Z"),
    "2019-04": ("2019-04-01T00:00:00.000Z", "2019-04-30T23:59:59.999Z"),
    "2019-04-02T08:15:30.123Z": ("2019-04-02T08:15:30.123Z",) * 2,
    "2019-04-02T08:15:30.123456+00:00": ("2019-04-02T08:15:30.123Z",) * 2,
    "2019-04-03||-1d/d": ("2019-04-02T00:00:00.000Z", "2019-04-02T23:59:59.999Z"),
}
"""First and last instant of the dates in random filters; tests/unit/test_filter_meaning.py tests the rules."""

Leaf = Any
Path = tuple[str, ...]
COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}


class Refused(Exception):
    """A store must refuse the filter."""


def scalars(value: Any, path: Path) -> list[Any]:
    """Return the values of an attribute; every list on the path is searched."""
    if isinstance(value, list):
        return [found for part in value for found in scalars(part, path)]
    if isinstance(value, dict):
        return scalars(value[path[0]], path[1:]) if path and path[0] in value else []
    return [] if path or value is None else [value]


def exists(value: Any, path: Path) -> bool:
    """Return whether an attribute, or an attribute below, has a value."""
    if isinstance(value, list):
        return any(exists(part, path) for part in value)
    if isinstance(value, dict):
        if path:
            return path[0] in value and exists(value[path[0]], path[1:])
        return any(exists(part, ()) for part in value.values())
    return not path and value is not None


def comparable(value: Any, path: Path) -> Any:
    """Return the form of a value for comparing and sorting: texts as bytes."""
    if len(path) == 1 and path[0] in NUMBERS + BOOLEANS:
        return value
    return (value if isinstance(value, str) else json.dumps(value)).encode()


def values(document: Document, path: Path) -> list[Any]:
    return [comparable(value, path) for value in scalars(document, path)]


def matches(document: Document, tree: Filter) -> bool:
    """Return whether a document matches a filter. Raises Refused."""
    if isinstance(tree, (And, Or)):
        found = [matches(document, term) for term in tree.terms]
        return all(found) if isinstance(tree, And) else any(found)
    if isinstance(tree, Property):
        return compared(document, ("properties", tree.key), tree.operator, tree.value)
    return compared(document, tree.attribute, tree.operator, tree.value)


def compared(document: Document, path: Path, operator: str, value: Leaf) -> bool:
    if path[0] == "payload":
        raise Refused
    if path == ("fulltext",):
        return fulltext(document, operator, value)
    if value is None:
        return exists(document, path) == (operator == "!=")
    return one_of(path, operator, value)(values(document, path))


def one_of(path: Path, operator: str, value: Leaf) -> Callable[[list[Any]], bool]:
    """Return a test of the values of a document: any value fits the comparison; for `!=`, no value is equal."""
    if operator == "!=":
        equal = one_of(path, "=", value)
        return lambda found: not equal(found)
    if path[0] in DATES:
        return date(operator, value)
    if operator == "^=":
        if path[0] in NUMBERS + BOOLEANS:
            raise Refused
        return lambda found: any(one.startswith(value.encode()) for one in found)
    wanted = number(value) if path[0] in NUMBERS else flag(value, operator) if path[0] in BOOLEANS else text(value)
    if operator in ("=", "=="):
        return lambda found: wanted in found
    return lambda found: any(COMPARED[operator](one, wanted) for one in found)


def date(operator: str, value: Leaf) -> Callable[[list[Any]], bool]:
    written = value.text if isinstance(value, Date) else value
    if operator == "^=" or not isinstance(written, str):
        raise Refused
    first, last = period(written)
    if isinstance(value, Date):
        last = first
    if operator in ("=", "=="):
        return lambda found: any(first.encode() <= one <= last.encode() for one in found)
    bound = (first if operator in ("<", ">=") else last).encode()
    return lambda found: any(COMPARED[operator](one, bound) for one in found)


def period(written: str) -> tuple[str, str]:
    if re.fullmatch("[0-9]{4}", written) and written != "0000":
        return f"{written}-01-01T00:00:00.000Z", f"{written}-12-31T23:59:59.999Z"
    if written not in PERIODS:
        raise Refused
    return PERIODS[written]


def number(value: Leaf) -> float:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
        return float(value) if "." in value else int(value)
    raise Refused


def flag(value: Leaf, operator: str) -> bool:
    if operator in COMPARED or value not in (True, False, "true", "false") or type(value) is int:
        raise Refused
    return value in (True, "true")


def text(value: Leaf) -> bytes:
    written = value.text if isinstance(value, Date) else value if isinstance(value, str) else json.dumps(value)
    return written.encode()


def fulltext(document: Document, operator: str, value: Leaf) -> bool:
    if operator != "==" or not words([value]):
        raise Refused
    prose = [document.get(name) for name in PROSE] + list(document.get("properties", {}).values())
    return words([value]) <= words(filter(None, prose))


def words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in re.split(r"\W+", text.casefold()) if word}


def visible(document: Document, viewers: frozenset[str]) -> bool:
    acl = document.get("acl")
    return acl is not None and any(
        f"{one['type']} {one['principal']}" in viewers for one in [acl["owner"], *acl["rules"]]
    )


def found(documents: Iterable[Document], query: Query) -> list[Document]:
    """Return all matches, in order. Raises Refused."""
    matching = [document for document in documents if query.filter is None or matches(document, query.filter)]
    if query.viewers is not None:
        matching = [document for document in matching if visible(document, query.viewers)]
    matching.sort(key=lambda document: document["id"])
    for name, descending in reversed(query.orderby):
        path = tuple(name.split("/"))
        pick = max if descending else min
        have = [(pick(values(one, path)), one) for one in matching if values(one, path)]
        have.sort(key=lambda pair: pair[0], reverse=descending)
        matching = [one for _, one in have] + [one for one in matching if not values(one, path)]
    return matching


def terms(documents: Iterable[Document], name: str) -> Counter[Any]:
    """Return the number of documents for each value."""
    path = tuple(name.split("/"))
    return Counter(value for document in documents for value in set(values(document, path)))
