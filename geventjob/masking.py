"""Masking of secrets in text that is shown: a password stands neither in the list of processes nor in a log.

This module imports nothing heavy: an entry point masks its command line before it loads anything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

OPTION = "--ss-pass"
LOGIN = re.compile(r"://[^/\s]*@")
"""The log-in in a URL."""

SECRET = re.compile("pass|secret|token|credential|api_?key|private", re.IGNORECASE)
"""The names of fields whose values are secrets, as on the page (server/page/words.js)."""
SHORTEST = 4
"""Characters of a secret that is looked for in a text: a shorter one would be found in words."""


def mask_values(text: str, payload: Any) -> str:
    """Replace the values of fields with secret names, wherever they are in a payload, by `***` in a text."""
    for value in sorted(set(_secrets(payload, False)), key=len, reverse=True):
        text = text.replace(value, "***")
    return text


def _secrets(value: Any, named: bool) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _secrets(inner, named or bool(SECRET.search(str(name))))
    elif isinstance(value, list):
        for inner in value:
            yield from _secrets(inner, named)
    elif named and not isinstance(value, bool) and len(text := str(value)) >= SHORTEST and value is not None:
        yield text


def mask_logins(text: str) -> str:
    """Replace the log-in of each URL in a text by `***`."""
    return LOGIN.sub("://***@", text) if "://" in text else text


def mask_arguments(argv: Sequence[str]) -> list[str]:
    """Return command-line arguments with passwords and log-ins of URLs replaced by `***`."""
    shown, previous = [], ""
    for argument in argv:
        if previous == OPTION:
            shown.append("***")
        elif argument.startswith(f"{OPTION}="):
            shown.append(f"{OPTION}=***")
        else:
            shown.append(mask_logins(argument))
        previous = argument
    return shown
