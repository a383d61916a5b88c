"""Suggestions for misspelt words in errors."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, words: Iterable[str]) -> str:
    """Return `: did you mean WORD?` for the nearest of `words`, or an empty text.

    >>> nearest("sumbit", ["submit", "jobs"]), nearest("x", ["submit", "jobs"])
    (': did you mean submit?', '')
    """
    import difflib  # for errors alone

    found = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f": did you mean {found[0]}?" if found else ""
