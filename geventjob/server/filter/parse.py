"""The text of a filter to its tree, in time linear in the text and without recursion (grammar.lark)."""

from __future__ import annotations

import re
from typing import Any, cast

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken, v_args

from geventjob.server.filter.tree import And, Compare, Date, Filter, FilterError, Operator, Or, Property, Value, flat

LENGTH = 64 * 1024
"""Bytes of the longest filter."""
COMPARISONS = 1_000
"""The most comparisons of a filter, which is some 50 ms of work."""
GREATEST = 2**63 - 1
"""The greatest number in a filter: what the stores keep in 64 bits."""

_OPERATOR = re.compile(r""""[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*'|([!<>^=]=?)""", re.DOTALL)
"""A text, or an operator outside of texts."""
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
    """The tree of a CIMI filter (CIMI.md §5), each And and Or as flat as it can be.

    Raises FilterError, whose message says where what stands and what was expected.
    """
    try:
        length = len(text.encode())
    except UnicodeEncodeError as error:
        raise FilterError(f"position {_place(error.start)}: half of a surrogate pair is no character") from None
    if length > LENGTH:
        raise FilterError(f"the filter has {length} bytes: {LENGTH} at most")
    if sum(1 for match in _OPERATOR.finditer(text) if match[1]) > COMPARISONS:
        raise FilterError(f"the filter has more than {COMPARISONS} comparisons")
    try:
        return flat(cast(Filter, _parser.parse(text)))
    except UnexpectedInput as error:
        raise FilterError(_explained(error, text)) from None


@v_args(inline=True)
class _Tree(Transformer[Token, Filter]):
    """What the parser calls as soon as it has all parts of a rule."""

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
    """For a person: position, what stands there, what could."""
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
    return f"position {_place(place)}: {found} stands where {_wanted(expected, error)} was expected"


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
    """Positions are counted from 1, as people do."""
    return (index or 0) + 1


def _cut(text: str) -> str:
    return text if len(text) <= 20 else text[:20] + "…"


_parser = Lark.open("grammar.lark", rel_to=__file__, parser="lalr", transformer=_Tree())
