"""The record of a campaign: one line of JSON for each thing that happened, on the monotonic clock of the machine.

Actions, clients and the campaign append to one file, each line by one write to a file that is opened with O_APPEND: a
line is whole, and is there when the write has returned, whatever kills the writer then. The lines are not synced to
the disk, since the machine itself does not fail.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

Line = dict[str, Any]
"""`at` and `wall` (seconds), `what` happened, and more that depends on `what`."""


class Recorder:
    """Appends lines to the record."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(self, what: str, **more: Any) -> float:
        """Append a line, and return its time."""
        at = time.monotonic()
        os.write(self._file, (json.dumps({"at": at, "wall": time.time(), "what": what, **more}) + "\n").encode())
        return at

    def close(self) -> None:
        os.close(self._file)


def read(path: Path) -> list[Line]:
    """Return all lines in the order of their times."""
    lines: list[Line] = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted(lines, key=lambda line: line["at"])
