"""Command lines that start another program of the package, without modules from the current folder."""

from __future__ import annotations

import sys

CODE = "import sys; sys.path[:] = filter(None, sys.path); from {module} import main; sys.exit(main())"
"""`python -c` and `-m` put the current folder first in `sys.path`. Their option `-P` needs Python 3.11; `-I` leaves
out the user's site-packages."""


def isolated(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs `main()` of a module with these arguments in `sys.argv`."""
    return [sys.executable, "-c", CODE.format(module=module), *arguments]
