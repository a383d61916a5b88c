"""The meaning of a filter: a tree of conditions on the searchable part of a document, the same in every store.

docs/reference/filters.md has the rules; attributes.py has the searchable part of a document.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Union

from geventjob.server.filter import And, Compare, Date, Filter, FilterError, Or, Property
from geventjob.server.filter.tree import Operator, Value, fold
from geventjob.server.store.attributes import FULLTEXT, Path, Type, searched, text, type_of, words
from geventjob.server.store.dates import period

Bound = Literal["<", "<=", ">", ">="]
Scalar = Union[str, int, float, bool]


@dataclass(frozen=True)
class Is:
    """The attribute has this value."""

    path: Path
    value: Scalar


@dataclass(frozen=True)
class Within:
    """The attribute has a value within all these bounds. The attribute is never boolean."""

    path: Path
    bounds: tuple[tuple[Bound, Scalar], ...]


@dataclass(frozen=True)
class Begins:
    """The attribute, which has texts, has a value with this prefix."""

    path: Path
    prefix: str


@dataclass(frozen=True)
class Exists:
    """The attribute, or an attribute below, has a value."""

    path: Path


@dataclass(frozen=True)
class Not:
    """The inner condition does not hold. A comparison does not hold if the attribute is missing."""

    condition: Is | Within | Exists


Condition = Union[Is, Within, Begins, Exists, Not, "And[Condition]", "Or[Condition]"]


def resolve(tree: Filter, now: datetime) -> Condition:
    """Return the conditions of a filter; date math starts from `now`.

    Raises FilterError for a value that the attribute cannot have, and for an attribute that is not searched.
    """
    condition: Condition = fold(tree, lambda leaf: _leaf(leaf, now), lambda node, parts: type(node)(tuple(parts)))
    return condition


def _leaf(leaf: Compare | Property, now: datetime) -> Condition:
    if isinstance(leaf, Property):
        return _compared(("properties", leaf.key), leaf.operator, leaf.value, now)
    if not searched(leaf.attribute):
        raise FilterError(f"{_name(leaf.attribute)} is not searched")
    if leaf.attribute == FULLTEXT:
        return _fulltext(leaf.operator, leaf.value)
    return _compared(leaf.attribute, leaf.operator, leaf.value, now)


def _compared(path: Path, operator: Operator, value: Value, now: datetime) -> Condition:
    if value is None:
        return Not(Exists(path)) if operator == "=" else Exists(path)
    if operator == "!=":
        return Not(_equal(path, value, now))
    if operator == "=" or operator == "==":
        return _equal(path, value, now)
    if operator == "^=":
        return _begins(path, value)
    return _within(path, operator, value, now)


def _equal(path: Path, value: Any, now: datetime) -> Is | Within:
    type_ = type_of(path)
    if type_ is not Type.DATE:
        return Is(path, _VALUES[type_](path, value))
    first, last = _period(path, value, now)
    return Is(path, first) if first == last else Within(path, ((">=", first), ("<=", last)))


def _within(path: Path, operator: Bound, value: Any, now: datetime) -> Within:
    type_ = type_of(path)
    if type_ is Type.BOOLEAN:
        raise FilterError(f"{_name(path)} is true or false: < <= > >= do not apply")
    if type_ is not Type.DATE:
        return Within(path, ((operator, _VALUES[type_](path, value)),))
    first, last = _period(path, value, now)
    return Within(path, ((operator, first if operator in ("<", ">=") else last),))


def _begins(path: Path, value: Any) -> Begins:
    if type_of(path) not in (Type.TEXT, Type.TERMS):
        raise FilterError(f"{_name(path)} is not a text: use < and >= instead of ^=")
    return Begins(path, value)


def _fulltext(operator: Operator, value: Value) -> Condition:
    if operator != "==" or not isinstance(value, str):
        raise FilterError("fulltext has one form: fulltext=='some words'")
    wanted = sorted(words(value))
    if not wanted:
        raise FilterError(f"fulltext: no word in {value[:40]!r}")
    each = tuple(Is(FULLTEXT, word) for word in wanted)
    return each[0] if len(each) == 1 else And(each)


def _period(path: Path, value: Any, now: datetime) -> tuple[str, str]:
    if not isinstance(value, (str, Date)):
        raise FilterError(f"{_name(path)} is a date, but {text(value)} is not (quote a year that stands alone)")
    try:
        return period(value, now)
    except FilterError as error:
        raise FilterError(f"{_name(path)}: {error}") from None


def _text(_: Path, value: Any) -> str:
    return value.text if isinstance(value, Date) else text(value)


def _number(path: Path, value: Any) -> int | float:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise FilterError(f"{_name(path)} is a number, but {_text(path, value)[:40]!r} is not")
    if len(value) > 40 or abs(float(value)) >= 2**63:
        raise FilterError(f"{_name(path)}: the number {value[:40]} is too large")
    return float(value) if "." in value else int(value)


def _boolean(path: Path, value: Any) -> bool:
    if value in ("true", "false") or isinstance(value, bool):
        return value in ("true", True)
    raise FilterError(f"{_name(path)} is true or false, but {_text(path, value)[:40]!r} is neither")


_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_VALUES: dict[Type, Callable[[Path, Any], Scalar]] = {
    Type.TEXT: _text,
    Type.TERMS: _text,
    Type.NUMBER: _number,
    Type.BOOLEAN: _boolean,
}


def _name(path: Path) -> str:
    return "/".join(path)[:60]
