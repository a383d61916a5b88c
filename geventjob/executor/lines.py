"""The lines of a run that the server does not have yet."""

from __future__ import annotations

from collections import deque
from typing import Any

from geventjob.job.types import LOG_BYTES

LAST = 20
"""Lines that a record of the run shows."""


class Lines:
    """The last lines of a run that the server does not have yet: LOG_BYTES at most."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._last: deque[bytes] = deque(maxlen=LAST)
        self._at = self._end = 0  # bytes of the run before the first line, and up to the last one

    def add(self, line: bytes) -> None:
        """Add a line, and drop the first ones if there are too many."""
        self._lines.append(line)
        self._last.append(line)
        self._end += len(line)
        while self._end - self._at > LOG_BYTES:
            self._at += len(self._lines.popleft())

    def field(self) -> dict[str, Any]:
        """Return the field of an edit that takes the lines to the server; empty without lines."""
        if not self._lines:
            return {}
        return {"log": {"at": self._at, "text": b"".join(self._lines).decode()}}

    def tail(self) -> str:
        """Return the last lines of the run, whether or not the server has them."""
        return b"".join(self._last).decode()

    def sent(self, field: dict[str, Any]) -> None:
        """Drop the lines that this field has taken to the server."""
        end = field["log"]["at"] + len(field["log"]["text"].encode())
        while self._lines and self._at < end:
            self._at += len(self._lines.popleft())
