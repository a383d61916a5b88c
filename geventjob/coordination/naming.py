"""A name for each process, also where several units were given the same one."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from geventjob.coordination.base import NameInUse

log = logging.getLogger(__name__)


class _Stoppable(Protocol):
    def stop(self) -> None:
        """End what runs."""


Engine = TypeVar("Engine", bound=_Stoppable)


class Numbered(Generic[Engine]):
    """Runs an engine under its name; while another live process has that, under the first free of NAME-2, NAME-3, …"""

    def __init__(self, name: str, make: Callable[[str], Engine]) -> None:
        """`make(name)` makes the engine, which is not started."""
        self._name = name
        self._make = make
        self._stops = 0
        self._engine = make(name)

    def run(self, run: Callable[[Engine, bool], int]) -> int:
        """Return what `run(engine, wait)` returns. `wait`: whether a name in use is to be waited for, since a process
        of this name may have died just now. It raises NameInUse, having closed what it opened."""
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
        """Stop the engine, whatever its name is now. From any greenlet, or the hub."""
        self._stops += 1
        self._engine.stop()
