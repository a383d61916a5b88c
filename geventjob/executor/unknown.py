"""Actions that this executor does not know: somebody else's, or nobody's (DESIGN §5.8)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from geventjob.clock import boottime
from geventjob.coordination.base import CoordinationAway
from geventjob.plugins import Actions

Members = Callable[[], Mapping[str, Mapping[str, Any]]]


class UnknownActions:
    """Tells for how long no live executor has announced an action."""

    def __init__(self, executors: Members, grace: float) -> None:
        """`grace`: seconds without anybody announcing an action until its jobs fail."""
        self._executors = executors
        self._grace = grace
        self._announced: frozenset[str] = frozenset()
        self._looked = float("-inf")
        self._nobody_since: dict[str, float] = {}

    def hopeless(self, action: str) -> bool:
        """Whether nobody has announced the action for all of the grace since this executor first met it."""
        now = boottime()
        self._look(now)
        if action in self._announced:
            self._nobody_since.pop(action, None)
            return False
        return now - self._nobody_since.setdefault(action, now) >= self._grace

    def _look(self, now: float) -> None:
        """At most each second: a queue may hold thousands of such jobs."""
        if now - self._looked < 1:
            return
        self._looked = now
        try:
            members = self._executors().values()
        except CoordinationAway:
            return  # what was announced last still counts
        self._announced = frozenset(action for info in members for action in info.get("actions", ()))


def describe(action: str, actions: Actions) -> str:
    """For the statusMessage: what is missing, and where it was looked for."""
    text = f"no executor knows the action {action!r}; searched: {', '.join(actions.folders) or 'the shipped actions'}"
    failures = "; ".join(f"{file}: {error}" for file, error in actions.failures.items())
    return f"{text}; did not import: {failures}" if failures else text
