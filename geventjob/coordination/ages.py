"""The share of takes that goes to the oldest entries, so that no entry waits for ever behind more urgent ones."""

from __future__ import annotations


class AgeShare:
    """Counts the entries that a process takes: each `share`-th is the oldest of the queue, whatever its priority."""

    def __init__(self, share: int) -> None:
        """Begin to count. `share`: 8 means one entry in eight, 1 every entry, 0 none."""
        self._share = share
        self._taken = 0

    def due(self, count: int) -> int:
        """Return how many of the next `count` entries are the oldest ones."""
        return (self._taken + count) // self._share - self._taken // self._share if self._share else 0

    def ready(self, count: int) -> int:
        """Return how many of the oldest entries to keep ready for `count` takes.

        These are more than those due, as some of the oldest entries are taken for their priority before.
        """
        return count // self._share + self._share if self._share else 0

    def count(self, taken: int) -> None:
        """Note that entries were taken."""
        self._taken += taken
