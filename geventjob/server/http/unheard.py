"""Connections that have sent nothing yet.

Each holds a watcher and a timer, and no greenlet: 2,000 at once are accepted within 70 ms, and held up everybody for
250 ms when each began with a handler of its own (`python -m bench.hostile 8 idle`).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any


class Unheard:
    """A connection before its first byte."""

    stranger = True
    """Whether nobody has logged in on this connection."""

    def __init__(self, loop: Any, descriptor: int, timeout: float, end: Callable[[Unheard, bool], None]) -> None:
        """Call `end(self, has_spoken)` from the event loop once a byte has come, or after `timeout` seconds."""
        self.descriptor = descriptor
        self._end = end
        self._byte = loop.io(descriptor, 1)
        self._timer = loop.timer(timeout)
        self._byte.start(end, self, True)
        self._timer.start(end, self, False)

    def hang_up(self, *, at_once: bool = True) -> None:
        """Close the connection."""
        self._end(self, False)

    def release(self) -> None:
        """Stop to watch the connection."""
        self._byte.close()
        self._timer.close()

    def close(self) -> None:
        self.release()
        socket.close(self.descriptor)  # gevent's os.close waits for the loop's next turn: seconds, when all is quiet
