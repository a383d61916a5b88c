"""Requests to fire a distributor now, from the servers to the process that leads it.

A request is a note beside the note of the distributor, which the leader reads each second. A later request replaces one
that was answered or is too old. The leader answers by the key of the request in the distributor's own note (`fires`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from geventjob.clock import unix_milliseconds
from geventjob.coordination.base import Coordination

VALID = 60_000
"""Milliseconds for which a request is valid. Nothing fires late because nobody led when it was asked for."""


@dataclass(frozen=True)
class FireRequest:
    """A request to fire."""

    key: str
    """The text by which a repeated request is known."""
    at: int
    """Time of the request in Unix milliseconds."""
    by: str
    """Name of the user who asks."""


class Requests:
    """The requests to fire one distributor."""

    def __init__(self, distributor: str, coordination: Coordination) -> None:
        self._distributor = distributor
        self._place = f"fire {distributor}"
        self._coordination = coordination

    def look(self) -> FireRequest | None:
        """Return the present request; None without a valid one. Raises CoordinationAway."""
        note = self._coordination.load_note(self._place)
        if not note:
            return None
        request = FireRequest(note["key"], note["at"], note["by"])
        return request if abs(unix_milliseconds() - request.at) < VALID else None

    def answer(self, key: str) -> dict[str, Any] | None:
        """Return what the request of this key has made; None before its answer. Raises CoordinationAway."""
        note = self._coordination.load_note(self._distributor) or {}
        made: dict[str, Any] | None = note.get("fires", {}).get(key)
        return made

    def ask(self, key: str, by: str) -> None:
        """Leave a request, unless another one waits for its answer: call again. Raises CoordinationAway."""
        present = self.look()
        if present is None or (present.key != key and self.answer(present.key) is not None):
            self._coordination.save_note(self._place, asdict(FireRequest(key, unix_milliseconds(), by)))
