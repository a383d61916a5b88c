"""How one command starts another: its modules never come from the current folder."""

from __future__ import annotations

import sys

CODE = "import sys; sys.path[:] = filter(None, sys.path); from {module} import main; sys.exit(main())"
"""`python -c` and `-m` put the current folder first in `sys.path`. Its `-P` needs 3.11; `-I` loses the user's site."""


def isolated(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs `main()` of a module, which finds the arguments in `sys.argv`."""
    return [sys.executable, "-c", CODE.format(module=module), *arguments]
