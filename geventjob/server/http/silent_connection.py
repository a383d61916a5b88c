"""Connections before their first byte.

Each costs a watcher and a timer, and no greenlet. With a handler for each, 2,000 idle connections raised the p99 of
`/healthz` from 25 ms to 197 ms (`python -m bench.hostile 8 idle`, docs/decisions/0021-what-one-request-may-cost.md).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any


class SilentConnection:
    """An accepted connection that has sent nothing."""

    is_anonymous = True

    def __init__(
        self, loop: Any, descriptor: int, timeout: float, end: Callable[[SilentConnection, bool], None]
    ) -> None:
        """Call `end(self, has_spoken)` from the event loop at the first byte, or after `timeout` seconds."""
        self.descriptor = descriptor
        self._end = end
        self._byte = loop.io(descriptor, 1)
        self._timer = loop.timer(timeout)
        self._byte.start(end, self, True)
        self._timer.start(end, self, False)

    def hang_up(self, *, at_once: bool = True) -> None:
        """End the wait without a byte: `end(self, False)` closes the connection."""
        self._end(self, False)

    def release(self) -> None:
        """Stop watching the connection and leave the descriptor open."""
        self._byte.close()
        self._timer.close()

    def close(self) -> None:
        """Stop watching the connection and close the descriptor."""
        self.release()
        socket.close(self.descriptor)  # gevent's os.close waits for the loop's next turn: seconds on a quiet server
