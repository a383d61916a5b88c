"""The tree of a filter. Values are as written; `geventjob.server.store.resolve` interprets the values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, Union, cast

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "^=", "=="]


class FilterError(ValueError):
    """The filter is malformed, or has a value that an attribute cannot have; the message is a sentence for the user."""


@dataclass(frozen=True)
class Date:
    """An unquoted date of any precision, as written: `2019-04`, `2019-04-02`, `2019-04-02T08:15:30.1Z`."""

    text: str


Value = Union[str, int, bool, Date, None]


@dataclass(frozen=True)
class Compare:
    """`attribute operator value`; the parser swaps the operands of `value operator attribute`."""

    attribute: tuple[str, ...]
    """The names of the path: two for `targetResource/href`."""
    operator: Operator
    value: Value


@dataclass(frozen=True)
class Property:
    """`property['key'] = 'value'`; the operator may be `!=`, the value null."""

    key: str
    operator: Literal["=", "!="]
    value: str | None


Node = TypeVar("Node")


@dataclass(frozen=True)
class And(Generic[Node]):
    """All terms hold."""

    terms: tuple[Node, ...]


@dataclass(frozen=True)
class Or(Generic[Node]):
    """At least one term holds."""

    terms: tuple[Node, ...]


Filter = Union[Compare, Property, "And[Filter]", "Or[Filter]"]

Result = TypeVar("Result")


def fold(
    tree: Any,
    leaf: Callable[[Any], Result],
    join: Callable[[And[Any] | Or[Any], list[Result]], Result],
) -> Result:
    """Compute the result of a tree bottom up, from leaves by `leaf` and from parts by `join`.

    A loop does the work, since filters nest deeper than the call stack of Python.
    """
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
    """Merge each And that is a direct part of an And into the outer And, and each Or likewise; in linear time."""
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
