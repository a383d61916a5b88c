"""What may be shown of settings: passwords must not stand in the list of processes, nor in a log."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import setproctitle

OPTION = "--ss-pass"
SECRETS = ("ss_pass", "ss_secret", "admin_pass")
LOGIN = re.compile(r"://[^/\s]*@")
"""The log-in in a URL."""


class Settings(Namespace):
    """The settings of a command. Printing them shows no secret."""

    def _get_kwargs(self) -> list[tuple[str, Any]]:
        return [(name, "***" if name in SECRETS and value else value) for name, value in vars(self).items()]

    def __repr__(self) -> str:
        return LOGIN.sub("://***@", super().__repr__())


def hide_secrets(program: str, argv: Sequence[str] | None = None) -> None:
    """Write the process title anew, passwords masked: an entry point calls this before it parses its options.

    `/proc/PID/cmdline` holds no secret from then on. From exec to this call it does, which is why
    `--ss-pass-file` is better.
    """
    title = " ".join([program, *masked(sys.argv[1:] if argv is None else argv)])
    setproctitle.setproctitle(title.encode(errors="replace").decode())


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
