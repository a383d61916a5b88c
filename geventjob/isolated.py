"""Command lines that start another program of the package, without modules from the current folder."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, NoReturn

CODE = "import sys; sys.path[:] = filter(None, sys.path); from {module} import main; sys.exit(main())"
"""`python -c` and `-m` put the current folder first in `sys.path`. Their option `-P` needs Python 3.11; `-I` leaves
out the user's site-packages."""


def isolated(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs `main()` of a module with these arguments in `sys.argv`."""
    return [sys.executable, "-c", CODE.format(module=module), *arguments]


def become(module: str, request: Any) -> NoReturn:
    """Become a process that runs `main()` of a module, with the number of a descriptor of the JSON in `sys.argv`.

    The request goes neither by stdin, which the program may read, nor as an argument, which others see.
    """
    fd = os.memfd_create("request", 0)
    os.write(fd, json.dumps(request).encode())
    os.lseek(fd, 0, os.SEEK_SET)
    os.set_inheritable(fd, True)
    sys.stdout.flush()
    command = isolated(module, str(fd))
    os.execv(command[0], command)  # noqa: S606  (our own interpreter)
