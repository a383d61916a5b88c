"""The parser of filters (grammar.lark); parsing takes linear time and no recursion."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, cast

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken, v_args

from geventjob.server.filter.tree import And, Compare, Date, Filter, FilterError, Operator, Or, Property, Value, flat

LENGTH = 64 * 1024
"""Longest filter, in bytes."""
COMPARISONS = 1_000
"""Most comparisons of a filter; parsing that many takes some 50 ms."""
GREATEST = 2**63 - 1
"""The greatest number in a filter: stores have signed integers of 64 bits."""

_OPERATOR = re.compile(r""""[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*'|([!<>^=]=?)""", re.DOTALL)
"""A quoted text, or an operator (group 1) outside of quotes."""
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_WORDS = {"true": True, "false": False, "null": None}
_EXPECTED = {
    "EQUALITY": "= !=",
    "RANGE": "< <= > >=",
    "MATCH": "^= ==",
    "INT": "a number",
    "DATE": "a date",
    "STRING": "a quoted text",
    "TRUE": "true",
    "FALSE": "false",
    "NULL": "null",
    "PATH": "the name of an attribute",
    "RSQB": "']'",
}


def parse(text: str) -> Filter:
    """Parse a filter. In the result, no And is a direct part of an And, and no Or of an Or.

    Raises FilterError with a message that has the position, the text found there and the text expected.
    """
    try:
        length = len(text.encode())
    except UnicodeEncodeError as error:
        raise FilterError(f"position {_place(error.start)}: half of a surrogate pair is not a character") from None
    if length > LENGTH:
        raise FilterError(f"the filter has {length} bytes: {LENGTH} at most")
    if sum(1 for match in _OPERATOR.finditer(text) if match[1]) > COMPARISONS:
        raise FilterError(f"the filter has more than {COMPARISONS} comparisons")
    try:
        return flat(cast(Filter, _parser().parse(text)))
    except UnexpectedInput as error:
        raise FilterError(_explained(error, text)) from None


@v_args(inline=True)
class _Tree(Transformer[Token, Filter]):
    """Builds the tree: the parser calls the method of a rule with the parts of the rule."""

    def either(self, left: Filter, right: Filter) -> Filter:
        return Or((left, right))

    def both(self, left: Filter, right: Filter) -> Filter:
        return And((left, right))

    def compare(self, attribute: Token, operator: Token, value: Token) -> Filter:
        return Compare(tuple(attribute.split("/")), cast(Operator, str(operator)), _value(value))

    def turned(self, value: Token, operator: Token, attribute: Token) -> Filter:
        turned = _TURNED.get(operator, str(operator))
        return Compare(tuple(attribute.split("/")), cast(Operator, turned), _value(value))

    def property(self, _: Token, key: Token, operator: Token, value: Token) -> Filter:
        return Property(cast(str, _value(key)), cast(Any, str(operator)), cast("str | None", _value(value)))


def _value(token: Token) -> Value:
    if token.type == "STRING":
        return str(token[1:-1])
    if token.type == "DATE":
        return Date(str(token))
    return _number(token) if token.type == "INT" else _WORDS[token]


def _number(token: Token) -> int:
    digits = token.lstrip("0") or "0"
    if len(digits) > 19 or int(digits) > GREATEST:
        raise FilterError(f"position {_place(token.start_pos)}: the number {_cut(token)} is above {GREATEST}")
    return int(digits)


def _explained(error: UnexpectedInput, text: str) -> str:
    """Return a message with the position, the text found and the text expected, for a user."""
    place = error.pos_in_stream or 0
    expected: set[str] = set()
    if isinstance(error, UnexpectedToken):
        expected = error.expected
        place = len(text) if error.token.type == "$END" else place
    elif isinstance(error, UnexpectedCharacters):
        expected = error.allowed
    rest = text[place:]
    if rest[:1] in ("'", '"') and "STRING" in expected:
        return f"position {_place(place)}: the text that begins with {_cut(rest)} has no closing {rest[0]}"
    found = _cut(rest.split()[0]) if rest.strip() else "the end"
    return f"position {_place(place)}: found {found}, expected {_wanted(expected, error)}"


def _wanted(expected: set[str], error: UnexpectedInput) -> str:
    if "LPAR" in expected:
        return "a comparison such as state='QUEUED'"
    if expected & {"AND", "OR", "RPAR", "$END"}:
        stack = getattr(getattr(error, "state", None), "value_stack", ())
        is_open = any(isinstance(part, Token) and part.type == "LPAR" for part in stack)
        return "'and', 'or' or " + ("')'" if is_open else "the end")
    words = [words for name, words in _EXPECTED.items() if name in expected]
    if "EQUALITY" in expected:
        return " ".join(words)
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _place(index: int | None) -> int:
    """Return the position for a message, counted from 1."""
    return (index or 0) + 1


def _cut(text: str) -> str:
    return text if len(text) <= 20 else text[:20] + "…"


@cache
def _parser() -> Lark:
    """Return the parser. Its tables take some 50 ms: the first filter pays for them, not each start of a server."""
    return Lark.open("grammar.lark", rel_to=__file__, parser="lalr", transformer=_Tree())
