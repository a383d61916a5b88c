"""The title of the process: its command line, as the list of processes shows it, with secrets masked.

This module imports nothing heavy: an entry point masks its command line before it loads anything else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from geventjob.masking import mask_arguments


def mask_early() -> None:
    """Mask the secrets in the command line of this process, if there are any, before an entry point's heavy imports.

    Secrets can be read in `/proc/PID/cmdline` from exec until this call, which takes as long as the start of Python
    (`docs/security.md`). `--ss-pass-file` avoids the gap.
    """
    arguments = sys.argv[1:]
    if mask_arguments(arguments) != arguments:
        hide_secrets(os.path.basename(sys.argv[0]), arguments)


def hide_secrets(program: str, argv: Sequence[str] | None = None) -> None:
    """Set the title of the process to its command line with secrets masked; `argv` is without the program."""
    import setproctitle  # loads logging, which a command without secrets does without

    title = " ".join([program, *mask_arguments(sys.argv[1:] if argv is None else argv)])
    setproctitle.setproctitle(title.encode(errors="replace").decode())  # an argument may not be UTF-8
