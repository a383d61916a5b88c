"""A message that a proxy holds back, so that a test can act at this moment."""

from __future__ import annotations

import threading


class Hold:
    """A hold on the first message with all of these pieces, until `let_go`, or until `drop` with its connection."""

    def __init__(self, *containing: bytes) -> None:
        self.containing = containing
        self.reached = threading.Event()
        """Set when the message came."""
        self.passed_on = threading.Event()
        """Set when it was passed on, for a request: and answered. Its sender may be gone by then."""
        self._over = threading.Event()
        self._dropped = False
        self._once = threading.Lock()

    def matches(self, message: bytes) -> bool:
        """Return whether this is the first message with all pieces."""
        if not all(piece in message for piece in self.containing):
            return False
        with self._once:
            first = not self.reached.is_set()
            self.reached.set()
        return first

    def wait(self) -> None:
        """Wait in the proxy. Raises ConnectionError if the message was dropped."""
        self._over.wait()
        if self._dropped:
            raise ConnectionError("dropped")

    def let_go(self) -> None:
        """Pass the message on, late."""
        self._over.set()

    def drop(self) -> None:
        """Lose the message, and the connection with it."""
        self._dropped = True
        self._over.set()
