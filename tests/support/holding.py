"""A message that a proxy keeps back, so that a test can do something at just that moment."""

from __future__ import annotations

import threading


class Hold:
    """Keeps the first message that has all of these pieces in it until it is let go, or dropped with its connection."""

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
        """Whether this is the message, the first that is."""
        if not all(piece in message for piece in self.containing):
            return False
        with self._once:
            first = not self.reached.is_set()
            self.reached.set()
        return first

    def wait(self) -> None:
        """In the proxy. Raises ConnectionError if the message was dropped."""
        self._over.wait()
        if self._dropped:
            raise ConnectionError("dropped")

    def let_go(self) -> None:
        """It goes on its way, late as it is."""
        self._over.set()

    def drop(self) -> None:
        """It is lost."""
        self._dropped = True
        self._over.set()
