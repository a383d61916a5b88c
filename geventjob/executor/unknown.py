"""Actions that this executor does not have, and perhaps no other executor either."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from geventjob.clock import boottime
from geventjob.coordination.base import CoordinationAway
from geventjob.executor.limits import JobLimits
from geventjob.plugins import Actions

Members = Callable[[], Mapping[str, Mapping[str, Any]]]


class UnknownActions:
    """Finds the actions that no live executor has announced for a while."""

    def __init__(self, executors: Members, limits: JobLimits) -> None:
        """Set the limits, of which `unknown_grace` is read at each question: SIGHUP may have renewed the limits."""
        self._executors = executors
        self._limits = limits
        self._announced: frozenset[str] = frozenset()
        self._looked = float("-inf")
        self._unannounced_since: dict[str, float] = {}

    def hopeless(self, action: str) -> bool:
        """Return whether no executor has announced the action for the whole grace, counted from the first question."""
        now = boottime()
        self._look(now)
        if action in self._announced:
            self._unannounced_since.pop(action, None)
            return False
        return now - self._unannounced_since.setdefault(action, now) >= self._limits.unknown_grace

    def _look(self, now: float) -> None:
        """Read the announcements, at most once a second: a queue may hold thousands of jobs of unknown actions."""
        if now - self._looked < 1:
            return
        self._looked = now
        try:
            members = self._executors().values()
        except CoordinationAway:
            return  # the last announcements still count
        self._announced = frozenset(action for info in members for action in info.get("actions", ()))


def describe(action: str, actions: Actions) -> str:
    """Return a statusMessage with the missing action and the places that were searched for it."""
    text = f"no executor knows the action {action!r}; searched: {', '.join(actions.folders) or 'the shipped actions'}"
    failures = "; ".join(f"{file}: {error}" for file, error in actions.failures.items())
    return f"{text}; did not import: {failures}" if failures else text
