"""What may be shown of a command line: passwords must stand neither in the list of processes nor in a log.

Only light modules are imported here: an entry point masks its command line before it loads anything heavy.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

import setproctitle

OPTION = "--ss-pass"
LOGIN = re.compile(r"://[^/\s]*@")
"""The log-in in a URL."""


def mask_early() -> None:
    """Mask the secrets of this process's own command line, if it has any; before the heavy imports of an entry point.

    The secrets can be read in `/proc/PID/cmdline` from exec until this call, as long as Python itself takes to start
    (`docs/security.md`), which is why `--ss-pass-file` is better.
    """
    arguments = sys.argv[1:]
    if masked(arguments) != arguments:
        hide_secrets(os.path.basename(sys.argv[0]), arguments)


def hide_secrets(program: str, argv: Sequence[str] | None = None) -> None:
    """Set the title of the process to its command line with the secrets masked; `argv` is without the program."""
    title = " ".join([program, *masked(sys.argv[1:] if argv is None else argv)])
    setproctitle.setproctitle(title.encode(errors="replace").decode())  # an argument may be no UTF-8


def masked(argv: Sequence[str]) -> list[str]:
    """Return the arguments as they may be shown."""
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
