"""Passwords must not stand in the list of processes."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

import setproctitle

OPTION = "--ss-pass"
LOGIN = re.compile(r"://[^/\s]*@")


def hide_secrets(command: str, argv: Sequence[str] | None = None) -> None:
    """Write the process title anew, passwords masked: an entry point calls this before anything else.

    `/proc/PID/cmdline` holds no secret from then on. Between exec and this call it does, which is why
    `--ss-pass-file` is better.
    """
    setproctitle.setproctitle(" ".join([command, *masked(sys.argv[1:] if argv is None else argv)]))


def masked(argv: Sequence[str]) -> list[str]:
    """The arguments as they may be shown."""
    shown, after = [], ""
    for argument in argv:
        if after == OPTION:
            shown.append("***")
        elif argument.startswith(f"{OPTION}="):
            shown.append(f"{OPTION}=***")
        else:
            shown.append(LOGIN.sub("://***@", argument))
        after = argument
    return shown
