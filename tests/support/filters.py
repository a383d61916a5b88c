"""Filters as text and as trees, for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from geventjob.server.filter import And, Compare, Date, Filter, Or, Property

# No quotes, and backslashes only in pairs: texts that fit between quotes of either kind.
letters = st.sampled_from([*"abAB01_-%=/ ", "\n", "é", "ß", "\ud7ff", "\ue000", "\U0010ffff", "\\\\", "\\x"])
texts = st.lists(letters, max_size=4).map("".join)


def written(tree: Filter) -> str:
    """Return a text that parses to the tree."""
    if isinstance(tree, (And, Or)):
        word = " and " if isinstance(tree, And) else " or "
        return word.join(f"({written(term)})" if isinstance(term, (And, Or)) else written(term) for term in tree.terms)
    if isinstance(tree, Property):
        return f"property[{value(tree.key)}]{tree.operator}{value(tree.value)}"
    return f"{'/'.join(tree.attribute)}{tree.operator}{value(tree.value)}"


def value(value: Any) -> str:
    """Return the text of a value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, Date):
        return value.text
    if isinstance(value, int):
        return str(value)
    return f'"{value}"' if "'" in value else f"'{value}'"


def trees(leaves: st.SearchStrategy[Compare | Property]) -> st.SearchStrategy[Filter]:
    """Return trees as `parse` makes them: no And is a direct part of an And, and no Or of an Or."""
    return st.recursive(leaves, lambda parts: st.one_of(_joined(And, parts), _joined(Or, parts)), max_leaves=6)


def _joined(kind: Any, parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    other = parts.filter(lambda part: not isinstance(part, kind))
    return st.lists(other, min_size=2, max_size=4).map(lambda terms: kind(tuple(terms)))
