"""The tree of a filter. Values keep what the text said; what they mean is told by `geventjob.server.store.resolve`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, Union, cast

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "^=", "=="]


class FilterError(ValueError):
    """The text is no filter, or asks what makes no sense of an attribute; one sentence for who wrote it."""


@dataclass(frozen=True)
class Date:
    """A bare date of any precision, as written: `2019-04`, `2019-04-02`, `2019-04-02T08:15:30.1Z`."""

    text: str


Value = Union[str, int, bool, Date, None]


@dataclass(frozen=True)
class Compare:
    """`attribute operator value`, operands already turned round so that the attribute stands on the left."""

    attribute: tuple[str, ...]
    """Path of names: `targetResource/href` is two."""
    operator: Operator
    value: Value


@dataclass(frozen=True)
class Property:
    """`property['key'] = 'value'`, or `!=`, or null."""

    key: str
    operator: Literal["=", "!="]
    value: str | None


Node = TypeVar("Node")


@dataclass(frozen=True)
class And(Generic[Node]):
    terms: tuple[Node, ...]


@dataclass(frozen=True)
class Or(Generic[Node]):
    terms: tuple[Node, ...]


Filter = Union[Compare, Property, "And[Filter]", "Or[Filter]"]

Result = TypeVar("Result")


def fold(
    tree: Any,
    leaf: Callable[[Any], Result],
    join: Callable[[And[Any] | Or[Any], list[Result]], Result],
) -> Result:
    """The result of a tree from those of its parts, bottom up: filters nest deeper than Python calls may."""
    results: list[Result] = []
    work = [(tree, False)]
    while work:
        node, parts_done = work.pop()
        if not isinstance(node, (And, Or)):
            results.append(leaf(node))
        elif parts_done:
            parts = results[-len(node.terms) :]
            del results[-len(node.terms) :]
            results.append(join(node, parts))
        else:
            work.append((node, True))
            work += [(term, False) for term in reversed(node.terms)]
    return results.pop()


def flat(tree: Filter) -> Filter:
    """The same with each And right within an And, and Or within an Or, taken up into it; in linear time."""
    root: list[Any] = []
    groups: list[tuple[type, list[Any], list[Any], int]] = []
    work: list[tuple[Any, type | None, list[Any]]] = [(tree, None, root)]
    while work:
        node, kind, siblings = work.pop()
        if not isinstance(node, (And, Or)):
            siblings.append(node)
            continue
        if type(node) is not kind:
            kind = type(node)
            terms: list[Any] = []
            groups.append((kind, terms, siblings, len(siblings)))
            siblings.append(None)
            siblings = terms
        work += [(term, kind, siblings) for term in reversed(node.terms)]
    for kind, terms, siblings, place in reversed(groups):
        siblings[place] = kind(tuple(terms))
    return cast(Filter, root[0])
