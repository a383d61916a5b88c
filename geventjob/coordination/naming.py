"""A name for each process, even where several units of a machine were given the same name."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from geventjob.coordination.base import NameInUse

log = logging.getLogger(__name__)


class _Stoppable(Protocol):
    def stop(self) -> None:
        """Stop the engine."""


Engine = TypeVar("Engine", bound=_Stoppable)


class Numbered(Generic[Engine]):
    """Runs an engine under its name, or under the first free of NAME-2, NAME-3, … while a live process has the name."""

    def __init__(self, name: str, make: Callable[[str], Engine]) -> None:
        """Make the engine by `make(name)`, which does not start it."""
        self._name = name
        self._make = make
        self._stops = 0
        self._engine = make(name)

    @property
    def engine(self) -> Engine:
        """The engine under its present name."""
        return self._engine

    def run(self, run: Callable[[Engine, bool], int]) -> int:
        """Return the result of `run(engine, wait)`; run again under the next name when NameInUse is raised.

        `wait`: whether to wait for a name in use, since a process of this name may have died just now. `run` must close
        what it opened before it raises NameInUse.
        """
        for number in itertools.count(2):
            try:
                return run(self._engine, number == 2)
            except NameInUse as error:
                name = f"{self._name}-{number}"
                log.warning("%s: this process is called %s", error, name)
                self._engine = self._make(name)
                for _ in range(self._stops):
                    self._engine.stop()
        raise AssertionError("numbers do not end")

    def stop(self) -> None:
        """Stop the engine under its present name. May be called from any greenlet or the hub."""
        self._stops += 1
        self._engine.stop()
