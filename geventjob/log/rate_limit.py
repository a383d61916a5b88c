"""The rate limit for log lines that strangers can cause, so that no stranger rotates the log away."""

from __future__ import annotations

import logging
import time

SELDOM = {"seldom": True}
"""`extra` of a log call that strangers can cause: one line of each kind a minute."""


class RateLimit(logging.Filter):
    """A filter that passes one record marked SELDOM of each kind per pause, with the count of those left out."""

    def __init__(self, pause: float = 60.0) -> None:
        """Set the pause in seconds between two records of a kind; the kind is the call's text and its error's type."""
        super().__init__()
        self._pause = pause
        self._kinds: dict[tuple[object, object], tuple[float, int]] = {}
        """Kind → when the next record may be written (`time.monotonic()`), and how many were left out."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record may be written; add the count of records that were left out before."""
        if not getattr(record, "seldom", False):
            return True
        kind = record.msg, record.exc_info[0] if record.exc_info else None
        now = time.monotonic()
        due, left_out = self._kinds.get(kind, (now, 0))
        if now < due:
            self._kinds[kind] = due, left_out + 1
            return False
        self._kinds[kind] = now + self._pause, 0
        if left_out:
            record.msg = f"{record.msg} (and {left_out} more like this since the last line)"
        return True
