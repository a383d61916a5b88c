"""Values in CIMI filters."""

from __future__ import annotations


def quoted(value: str) -> str:
    """Return a text as a filter holds it.

    Raises ValueError for a text that the language cannot hold (docs/reference/filters.md).

    >>> quoted("it's"), quoted("plain")
    ('"it\\'s"', "'plain'")
    """
    quote = '"' if "'" in value else "'"
    backslashes = len(value) - len(value.rstrip("\\"))
    if quote in value or backslashes % 2:
        raise ValueError(f"{value!r} cannot stand in a filter: it holds both quotes, or ends in a backslash")
    return quote + value + quote
