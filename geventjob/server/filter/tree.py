"""The tree of a filter. Values keep what the text said; how they compare is told in docs/reference and in the stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Union

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "^=", "=="]


class FilterError(ValueError):
    """The text is no filter; the message says where (position, what stands there) and what was expected."""


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


@dataclass(frozen=True)
class And:
    terms: tuple[Filter, ...]


@dataclass(frozen=True)
class Or:
    terms: tuple[Filter, ...]


Filter = Union[Compare, Property, And, Or]
