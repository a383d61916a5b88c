"""Masking of secrets in text that is shown: a password stands neither in the list of processes nor in a log.

This module imports nothing heavy: an entry point masks its command line before it loads anything else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

OPTION = "--ss-pass"
LOGIN = re.compile(r"://[^/\s]*@")
"""The log-in in a URL."""


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
